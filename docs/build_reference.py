"""How is the operator reference made? From the declarations: writes docs/reference/operators.md."""

from __future__ import annotations

import sys
from pathlib import Path

from mezzotint import ops

TARGET = Path(__file__).parent / "reference" / "operators.md"


def reference() -> str:
    """The page's text: one section an operator."""
    parts = [
        "# Operators",
        "",
        "Made by `make docs` from the declarations in `src/mezzotint/ops`; do not edit by hand.",
        "A call through `torch.ops.mezzotint` and one through `mezzotint.ops` are the same.",
    ]
    for name in ops.names():
        body = ops.describe(name).split("\n", 1)[1]
        parts += ["", f"## {name}", "", "```text", body, "```"]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET}\n")
