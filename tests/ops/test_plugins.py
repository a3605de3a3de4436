"""Do operators and kernels of other packages join by entry point, lazily, and does a broken one hinder nobody?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from mezzotint import ops
from mezzotint.cli import main
from mezzotint.errors import NotRegistered
from mezzotint.ops import OpDef, TensorSpec, plugins

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "operator_package"


def rule(inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> TensorSpec:
    found: TensorSpec = inputs["x"]
    return found


def register(name: str) -> None:
    OpDef(name).input("x: T").output("y: T").attr("T: floattype").shape_rule(rule).doc("Of a package.").register()


class Point(EntryPoint):
    """An entry point that runs a function of this file instead of importing a module."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        super().__init__(name=name, value=f"package_{name}.operators", group=plugins.GROUP)
        vars(self)["run"] = run

    def load(self) -> Any:
        return vars(self)["run"]


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(name=function, ...)`` has these packages installed, none of them loaded yet."""

    def install(**packages: Callable[[], None]) -> None:
        points = [Point(name, run) for name, run in packages.items()]
        monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == plugins.GROUP else [])
        monkeypatch.delenv(plugins.CHOICE, raising=False)
        monkeypatch.setattr(plugins, "_done", False)
        monkeypatch.setattr(plugins, "_loaded", [])

    return install


def fails() -> None:
    register("test_half::made")
    raise OSError("libacme.so is missing")


def test_packages_are_loaded_when_somebody_looks_for_what_is_not_there(install: Install) -> None:
    loaded: list[str] = []

    def load() -> None:
        loaded.append("lazy")
        register("test_lazy::copy")

    install(lazy=load)
    ops.get("conv2d")
    assert not loaded, "an operator that is there asks for no package"
    assert ops.get("test_lazy::copy").name == "test_lazy::copy"
    with pytest.raises(NotRegistered):
        ops.get("test_lazy::no")
    assert loaded == ["lazy"], "once"
    assert plugins.loaded() == [plugins.Plugin(name="lazy", distribution="", operators=("test_lazy::copy",))]


def test_packages_are_loaded_when_all_operators_are_asked_for(install: Install) -> None:
    install(listed=lambda: register("test_listed::copy"))
    assert "test_listed::copy" in ops.names()


def test_a_broken_package_is_told_in_one_warning_and_hinders_no_other(install: Install) -> None:
    install(broken=fails, healthy=lambda: register("test_healthy::copy"))
    with pytest.warns(plugins.PluginWarning) as told:
        assert "test_healthy::copy" in ops.names()
    assert len(told) == 1
    for part in ("'broken'", "package_broken.operators raised OSError: libacme.so is missing", plugins.CHOICE):
        assert part in str(told[0].message)
    ops.names()  # the warning is an error here: it does not come again
    with pytest.raises(NotRegistered, match="The package 'broken' is broken, and its operators are missing"):
        ops.get("test_broken::copy")


def test_a_warning_that_is_an_error_keeps_no_package_from_loading(install: Install) -> None:
    install(aa_broken=fails_again, healthy=lambda: register("test_after::copy"))
    with pytest.raises(plugins.PluginWarning, match="'aa_broken'"):
        ops.names()
    assert "test_after::copy" in ops.names()


def fails_again() -> None:
    raise ImportError("No module named 'acme'")


def test_a_package_may_look_up_operators_while_it_loads(install: Install) -> None:
    def load() -> None:
        assert "conv2d" in ops.names()
        register("test_looks_up::copy")

    install(looks_up=load)
    ops.load_plugins()
    assert ops.get("test_looks_up::copy")


@pytest.mark.parametrize(("choice", "expected"), [("", []), ("two", ["two"]), ("one, two", ["one", "two"]), ("x", [])])
def test_the_environment_limits_what_is_loaded(
    choice: str, expected: list[str], install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    install(one=lambda: loaded.append("one"), two=lambda: loaded.append("two"))
    monkeypatch.setenv(plugins.CHOICE, choice)
    ops.load_plugins()
    assert loaded == expected


def test_the_command_line_tells_of_packages(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(cli_broken=fails_again, cli_good=lambda: register("test_cli::copy"))
    assert main(["ops", "list"]) == 0
    told = capsys.readouterr()
    assert "from the package 'cli_good': test_cli::copy" in told.out
    assert told.err.startswith("warning: the operators of the package 'cli_broken' cannot be loaded: ")
    assert "package.py" not in told.err, "one sentence, without the line of the source"
    assert main(["ops", "stubs", "test_cli"]) == 0
    assert "def copy(" in capsys.readouterr().out


# -- the example package ------------------------------------------------------------------------------------------

#: What a user of the example does; with Triton's interpreter in place of a GPU.
PROGRAM = """
import json
import torch
from mezzotint import ops
from mezzotint.kernels import KERNELS, Problem
from mezzotint.ops import plugins

op = ops.get("shrink::soft_threshold")
x = torch.randn(37, 5, dtype=torch.float64)
found = {"checks": ops.selfcheck(op, x, threshold=0.3), "plugins": [plugin.label for plugin in plugins.loaded()]}
odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -1.0, 0.5, -0.2])
found["odd"] = [str(value) for value in op(odd, threshold=0.5).tolist()]
found["cpp"] = {}
for dtype in (torch.float32, torch.float64):
    y = torch.randn(1001).to(dtype)
    found["cpp"][str(dtype)] = [
        op.decision(y).kernel.name,
        torch.equal(op.run("cpp", y, threshold=0.25), op.run("torch", y, threshold=0.25)),
    ]
found["half"] = op.decision(x.half()).kernel.name
problem = Problem(op=op.name, device="cuda", dtype=torch.float32, shapes=(("x", (3,)),), attrs=(("threshold", 0.5),))
able, found["refusals"] = KERNELS.candidates(problem)
found["empty"] = list(op(torch.zeros(0, 3)).shape)
try:
    op(x, threshold=-1.0)
except ValueError as error:
    found["negative"] = str(error)
try:
    from shrink import triton_kernel
except ImportError:
    found["triton"] = None
else:
    found["triton"] = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        y = torch.randn(2500).to(dtype)
        out = torch.full_like(y, float("nan"))
        triton_kernel.launch(y, out, 0.25)
        expected = torch.nn.functional.softshrink(y.float(), 0.25).to(dtype)
        found["triton"][str(dtype)] = (out - expected).abs().max().item()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the example package is built and installed."""
    pytest.importorskip("scikit_build_core", reason="the example is built with scikit-build-core")
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    made = subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(target), str(EXAMPLE)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return target


def test_the_example_package_is_built_found_and_right(installed: Path) -> None:
    path = os.pathsep.join([str(installed), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "TRITON_INTERPRET": "1"}
    environment.pop(plugins.CHOICE, None)
    made = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert found["checks"] == ["opcheck", "kernels", "strides", "gradient"]
    assert found["plugins"] == ["'shrink' (mezzotint-shrink 1.0)"]
    assert found["odd"] == ["nan", "inf", "-inf", "-0.5", "0.0", "0.0"]
    assert found["cpp"] == {"torch.float32": ["cpp", True], "torch.float64": ["cpp", True]}
    assert found["half"] == "torch"
    assert found["refusals"]["cpp"] == "it runs on cpu, the tensors are on cuda"
    assert found["refusals"].get("triton", "PyTorch finds no GPU") == "PyTorch finds no GPU"
    assert found["empty"] == [0, 3]
    assert found["negative"] == "soft_threshold: threshold: received -1.0; allowed: a number of at least 0."
    if found["triton"] is None:
        pytest.skip("triton is not installed: its kernel is not tried")
    assert set(found["triton"].values()) == {0.0}
