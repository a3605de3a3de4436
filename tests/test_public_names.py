"""Does the front door show what the design promises?"""

from __future__ import annotations

import subprocess
import sys

import pytest

import mezzotint as mz


def test_public_names_are_few_and_all_load() -> None:
    assert len(mz.__all__) <= 25
    for name in mz.__all__:
        assert getattr(mz, name) is not None


def test_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="public names"):
        _ = mz.sparsifi  # type: ignore[attr-defined]


def test_importing_mezzotint_loads_no_room() -> None:
    code = "import sys, mezzotint; print(sorted(m for m in sys.modules if m == 'torch' or m.startswith('mezzotint.')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_layers_load_nothing_large_that_torch_does_not() -> None:
    """SymPy takes a third of the time of ``import torch``; it is for shapes that are symbols alone."""
    code = (
        "import sys, torch; before = {m.partition('.')[0] for m in sys.modules}; import mezzotint; mezzotint.sparsify;"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'sympy', 'onnx', 'rich', 'scipy', 'PIL'} - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
