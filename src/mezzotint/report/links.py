"""Where does the page of a run lie, as seen from another page?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

#: Run folder -> address of its page, or None where it has none.
Link = Callable[[Path], str | None]


def nowhere(run: Path) -> str | None:
    """No run has a page."""
    return None


def beside(page: Path) -> Link:
    """Relative addresses, as the file ``page`` sees them, of pages that exist: all can be moved together."""
    here = page.resolve().parent

    def link(run: Path) -> str | None:
        target = run.resolve() / "report.html"
        if not target.is_file():
            return None
        return quote(Path(os.path.relpath(target, here)).as_posix())

    return link
