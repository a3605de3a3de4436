"""How is the operator reference made? From the declarations: writes docs/reference/operators.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from mezzotint import ops

TARGET = Path(__file__).parent / "reference" / "operators.md"


def reference(names: Iterable[str]) -> str:
    """The page's text: one section for each operator of ``names``."""
    parts = [
        "# Operators",
        "",
        "Made by `make docs` from the declarations in `src/mezzotint/ops`; do not edit by hand.",
        "A call through `torch.ops.mezzotint` and one through `mezzotint.ops` are the same.",
    ]
    for name in names:
        body = ops.describe(name).split("\n", 1)[1]
        parts += ["", f"## {name}", "", "```text", body, "```"]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(reference(ops.names()), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET}\n")
