"""How does the native library behave as a guest in a Python process: instruction sets, errors, memory, forks?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from mezzotint.errors import InputError, NoKernel
from mezzotint.kernels import native, native_layout

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    if native.unavailable() is None:
        native.force_isa(None)


def test_other_types_are_refused() -> None:
    with pytest.raises(InputError, match="float64"):
        native_layout.to_native(torch.zeros(1, 1, 2, 2, dtype=torch.float64))


def test_forcing_an_instruction_set() -> None:
    for name in native.isas():
        native.force_isa(name)
        assert native.isa() == name
    with pytest.raises(InputError, match="portable"):
        native.force_isa("sse9")
    native.force_isa(native.isas()[-1])
    for name in native.isas():
        with native.using_isa(name):
            assert native.isa() == name
        assert native.isa() == native.isas()[-1]
    native.force_isa(None)
    assert native.isa() == os.environ.get("MEZZOTINT_ISA", native.isas()[0])


def test_scratch_is_given_back() -> None:
    x, y, weight = torch.zeros(16, 4, 20, 20), torch.zeros(16, 4, 20, 20), torch.arange(16, dtype=torch.int32)
    attrs = {"weight_shape": (4, 4, 1, 1), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    native.conv2d_output(x, torch.ones(16), weight, None, y, **attrs)
    assert 0 < native.release_scratch() <= 64 << 20
    assert native.release_scratch() == 0


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_problem", "the native library is not built: run `make install` or `pip install .`")
    assert "make install" in str(native.unavailable())
    with pytest.raises(NoKernel, match="make install"):
        native.isa()


CHILD = """
import os, torch
from mezzotint.errors import InputError
from mezzotint.kernels import native, native_layout
try:
    native.isa()
except InputError as error:
    assert "MEZZOTINT_ISA" in str(error) and "portable" in str(error)
else:
    raise SystemExit("a wrong MEZZOTINT_ISA was accepted")
native.force_isa("portable")
torch.set_num_threads(2)
x, y = torch.randn(64, 8, 40, 40), torch.empty(64, 8, 40, 40)
i = torch.arange(64, dtype=torch.int32)
attrs = dict(weight_shape=(8, 8, 1, 1), stride=(1, 1), padding=(0,) * 4, dilation=(1, 1), groups=1)
native.conv2d_output(x, torch.ones(64), i, None, y, **attrs)
child = os.fork()
again = torch.empty_like(y)
native.conv2d_output(x, torch.ones(64), i, None, again, **attrs)
same = bytes(y.numpy()) == bytes(again.numpy())
if child == 0:
    os._exit(0 if same else 1)
assert same and os.waitpid(child, 0)[1] == 0
"""


def test_environment_variable_and_fork() -> None:
    environment = {**os.environ, "MEZZOTINT_ISA": "sse9"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_too_little_memory_is_a_memory_error() -> None:
    x = torch.zeros(1).expand(16, 1 << 22, 1 << 10, 1 << 10)  # one block of images in the native layout: 256 TiB
    indices = torch.zeros(0, dtype=torch.int32)
    shape, stride = (1, 1 << 22, 1, 1), (1 << 10, 1 << 10)
    attrs = {"weight_shape": shape, "stride": stride, "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    with pytest.raises(MemoryError):
        native.conv2d_output(x, torch.zeros(0), indices, None, torch.zeros(16, 1, 1, 1), **attrs)
