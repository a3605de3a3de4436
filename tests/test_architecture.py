"""Do imports go down only? Reads the imports of every module and holds them against the allowed directions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "mezzotint"

#: Every room may import these.
COMMON = {"errors", "outside", "durable"}
#: Room -> rooms that it may import, beside those and itself.
ALLOWED: dict[str, set[str]] = {
    **{room: set() for room in COMMON},
    "kernels": set(),
    "precision": {"kernels"},
    "data": {"kernels"},
    "models": set(),
    "ops": {"kernels"},
    "sparse": {"ops", "precision"},
    "lowering": {"sparse", "ops", "kernels", "precision"},
    "train": {"data", "models", "sparse", "precision", "lowering", "ops", "kernels"},
    "deploy": {"sparse", "lowering", "ops", "kernels", "data", "models"},
    "report": set(),
    "bench": {"models", "lowering", "sparse", "kernels", "precision", "deploy"},
    "cli": {
        "bench",
        "train",
        "deploy",
        "report",
        "data",
        "lowering",
        "ops",
        "kernels",
        "sparse",
        "precision",
        "models",
    },
}
FORBIDDEN_PACKAGES = {"report": {"torch", "numpy"}}
MODULES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room of a module: its first folder, or its own name."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_rooms(path: Path) -> set[str]:
    """Rooms of mezzotint that a file imports."""
    parts = (name.split(".") for name in imported(path))
    return {part[1] for part in parts if part[0] == "mezzotint" and len(part) > 1} & ALLOWED.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return  # the door: it names every room, and loads them on first use
    upward = imported_rooms(path) - ALLOWED[room] - {room} - COMMON
    assert not upward, f"{room} may not import {sorted(upward)}"
    packages = {name.split(".")[0] for name in imported(path)}
    assert not packages & FORBIDDEN_PACKAGES.get(room, set())


def test_every_room_exists_and_is_filled() -> None:
    for room in ALLOWED:
        files = [path for path in MODULES if room_of(path) == room]
        assert files, f"the room {room} is empty"
        assert any(len(path.read_text(encoding="utf-8")) > 500 for path in files), f"the room {room} is a stub"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_question_it_answers(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert "?" in docstring.split("\n\n")[0], "the first line asks the question that the module answers"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_outgrows_its_question(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
