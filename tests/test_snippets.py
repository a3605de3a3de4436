"""Does the code in README and documentation run? Python blocks as they stand, TOML and command lines as they would.

The Python blocks of a page run one after the other in one namespace, in an empty folder. What a page takes for given
(a ``loader``, a file of the reader's) is made here, once for each page. TOML blocks are laid over the recipe for the
digits and must be a valid configuration. Command lines must be ones that the commands take; those of the tutorial are
run.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mezzotint.cli import COMMANDS
from mezzotint.cli.parser import Parser
from mezzotint.train import RunConfig
from mezzotint.train.table import from_table

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
PAGES = [page for page in PAGES if page.parent.name != "decisions" and "reference" not in page.parts]
#: Pages whose Python is run by tests of their own: it registers operators, or stands for packages that are not there.
ELSEWHERE = {
    "docs/tutorial.md": "below",
    "docs/zh/tutorial.md": "below: its code is that of docs/tutorial.md",
    "docs/howto/operator.md": "tests/ops/test_reference.py",
    "docs/guide/command_line.md": "tests/cli",
    "docs/guide/from_deepsparse.md": "tests/deploy",
}
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)

LOADER = """
import torch
loader = [(torch.randn(8, 3, 32, 32), torch.randint(0, 10, (8,))) for _ in range(2)]
"""
PHOTOS = """
from pathlib import Path
from PIL import Image
for split in ("train", "test"):
    for name in ("cat", "dog"):
        folder = Path("data/photos", split, name)
        folder.mkdir(parents=True)
        Image.new("RGB", (80, 96), "grey").save(folder / "one.jpg")
class ImageFolder(list):
    classes = ["cat", "dog"]
torchvision_dataset = ImageFolder([(Image.new("RGB", (70, 70)), 0), (Image.new("RGB", (70, 70)), 1)])
"""
#: Page -> what its reader has already.
GIVEN = {"README.md": LOADER, "docs/guide/images.md": PHOTOS}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(body) for _, kind, body in found if kind == language]


def place(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def with_blocks(language: str) -> list[Any]:
    return [pytest.param(page, id=place(page)) for page in PAGES if blocks(page, language)]


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # where there is one core
@pytest.mark.parametrize("page", [one for one in with_blocks("python") if one.id not in ELSEWHERE])
def test_python_runs(page: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("snippet")  # a registered one: dataclasses look their module up
    monkeypatch.setitem(sys.modules, "snippet", module)
    namespace = module.__dict__
    exec(compile(GIVEN.get(place(page), ""), "given", "exec"), namespace)
    for number, code in enumerate(blocks(page, "python"), 1):
        with redirect_stdout(io.StringIO()):
            exec(compile(code, f"{place(page)}, block {number}", "exec"), namespace)


def laid_over(base: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in table.items():
        inner = merged.get(key)
        merged[key] = laid_over(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


@pytest.mark.parametrize("page", with_blocks("toml"))
def test_toml_is_a_configuration(page: Path) -> None:
    base = tomllib.loads((ROOT / "configs" / "digits.toml").read_text(encoding="utf-8"))
    for text in blocks(page, "toml"):
        from_table(RunConfig, laid_over(base, tomllib.loads(text)))


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of each ``mezzotint`` command of a page."""
    for body in blocks(page, "console"):
        for line in body.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if line.startswith("$ ") else []
            if "mezzotint" in words and words[0] in ("mezzotint", "torchrun"):
                end = next((place for place, word in enumerate(words) if word in (">", "|", "&&")), len(words))
                yield words[words.index("mezzotint") + 1 : end]


@pytest.mark.parametrize("page", with_blocks("console"))
def test_commands_are_taken(page: Path) -> None:
    for words in command_lines(page):
        command = import_module(f"mezzotint.cli.{COMMANDS[words[0]][0]}")
        parser = Parser(prog=f"mezzotint {words[0]}", summary="as documented", examples="")
        command.add_arguments(parser)
        parser.parse_args(words[1:])


def test_the_chinese_tutorial_has_the_code_of_the_english_one() -> None:
    """But for comments, which are translated; so that the test below runs both."""
    for language in ("console", "toml", "python"):
        ours, theirs = (
            [re.sub(r"  +# .*", "", code) for code in blocks(page, language)]
            for page in (DOCS / "zh" / "tutorial.md", DOCS / "tutorial.md")
        )
        assert ours == theirs


def test_the_tutorial_from_top_to_bottom(own_folder: Path) -> None:
    """Its file is written, its commands are run in their order, then its Python."""
    page = DOCS / "tutorial.md"
    (config,) = blocks(page, "toml")
    (own_folder / "digits.toml").write_text(config.replace("epochs = 20", "epochs = 2"), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for words in command_lines(page):
        command = [sys.executable, "-m", "mezzotint", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    assert (own_folder / "runs" / "digits" / "report.html").is_file()
    namespace: dict[str, Any] = {}
    for code in blocks(page, "python"):
        with redirect_stdout(io.StringIO()) as told:
            exec(compile(code, "docs/tutorial.md", "exec"), namespace)
        assert told.getvalue()
