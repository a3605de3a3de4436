"""Is the documentation true? Every internal link leads somewhere, and the guide leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mezzotint.data.augment import AUGMENTATIONS
from mezzotint.data.augment.mix import MIXES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "csrc").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_guide_to_images_names_every_augmentation_and_mix() -> None:
    guide = (ROOT / "docs" / "guide" / "images.md").read_text(encoding="utf-8")
    missing = [name for name in (*AUGMENTATIONS, *MIXES) if f"`{name}`" not in guide]
    assert not missing, "describe them in docs/guide/images.md"
