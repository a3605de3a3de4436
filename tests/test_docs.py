"""Is the documentation true? Every internal link leads somewhere, and the guide leaves nothing out."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mezzotint.data.augment import AUGMENTATIONS
from mezzotint.data.augment.mix import MIXES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "csrc").rglob("*.md")]


def script(name: str) -> Any:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_results_are_those_of_the_files() -> None:
    module = script("build_results")
    assert module.TARGET.read_text(encoding="utf-8") == module.page(), "run `make docs`"


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        str(ROOT / "docs"),
        str(tmp_path),
    ]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="https?:', page), "a page loads from elsewhere"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_guide_to_images_names_every_augmentation_and_mix() -> None:
    guide = (ROOT / "docs" / "guide" / "images.md").read_text(encoding="utf-8")
    missing = [name for name in (*AUGMENTATIONS, *MIXES) if f"`{name}`" not in guide]
    assert not missing, "describe them in docs/guide/images.md"
