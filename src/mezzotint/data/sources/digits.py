"""What can be trained on without a download? The 1,797 handwritten digits that come with the package.

Grey 8x8 images of ten classes: 1,437 for training and 360 for testing, from the UCI data set "Optical Recognition of
Handwritten Digits" (E. Alpaydin and C. Kaynak, CC BY 4.0) as scikit-learn carries it. ``data/digits/ATTRIBUTION.txt``
says what was changed.
"""

from __future__ import annotations

from pathlib import Path

from mezzotint.data.source import Kind
from mezzotint.data.sources.idx import open_idx
from mezzotint.data.sources.memory import ArraySource

FOLDER = Path(__file__).resolve().parents[1] / "digits"


def open_digits(path: Path, split: str) -> ArraySource:
    """The embedded digits, uint8 [N, 8, 8, 1] with values floor(v * 255 / 16) of v in 0..16; ``path`` is not used."""
    count = {"train": 1437, "test": 360}.get(split, 0)
    return open_idx(FOLDER, split, description=f"embedded digits ({split}): {count} images 8x8, 10 classes")


def _detects(path: Path) -> bool:
    return False  # never by its files: the name "digits" alone asks for it


KIND = Kind(detects=_detects, open=open_digits, looks_for='the word "digits", the data set inside the package')
