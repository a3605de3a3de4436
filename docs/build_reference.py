"""How is the operator reference made? From the declarations: pages in docs/reference, and the typed signatures."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from mezzotint import ops
from mezzotint.ops import page, stubs
from mezzotint.ops.opdef import HOME
from mezzotint.ops.schema import qualified

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "reference" / "operators.md"
PAGES = TARGET.with_suffix("")
STUB = ROOT / "src" / "mezzotint" / "ops" / "calls.pyi"


def own() -> list[str]:
    """The names of mezzotint's own operators: no installed package's, and none that tests have registered."""
    names = [name for name in ops.names() if not name.startswith("test_")]
    return [name for name in names if qualified(name)[0] == HOME and ops.get(name).definition.owner[0] == HOME]


def reference(names: Iterable[str]) -> str:
    """The index's text: one row for each operator of ``names``."""
    parts = [
        "# Operators",
        "",
        "Made by `make docs` from the declarations in `src/mezzotint/ops`, as are the pages behind it; do not edit by",
        "hand. A call through `torch.ops.mezzotint` and one through `mezzotint.ops` are the same. What a declaration",
        "can say, beside TensorFlow's, torch's and ONNX's: [registration](registration.md).",
        "",
        "| operator | kernels | |",
        "|---|---|---|",
    ]
    for name, _, kernels, summary in page.overview(ops.get(name) for name in names):
        parts.append(f"| [{name}](operators/{name}.md) | {kernels} | {summary} |")
    return "\n".join(parts) + "\n"


def files() -> dict[Path, str]:
    """Every generated file and its text."""
    names = own()
    return {
        TARGET: reference(names),
        **{PAGES / f"{name}.md": page.markdown(ops.get(name)) for name in names},
        STUB: stubs.stub(ops.get(name) for name in names),
    }


def stale(made: dict[Path, str]) -> list[Path]:
    """The generated files that say something else, are not there, or should not be."""
    differ = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return sorted([*differ, *(set(PAGES.glob("*.md")) - made.keys())])


def write(made: dict[Path, str]) -> None:
    """Write every file, and remove the pages of operators that are no more."""
    PAGES.mkdir(parents=True, exist_ok=True)
    for path in stale(made):
        if path in made:
            path.write_text(made[path], encoding="utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    found = files()
    if "--check" in sys.argv[1:]:
        wrong = stale(found)
        sys.stdout.writelines(f"{path.relative_to(ROOT)} is not current: run `make docs`\n" for path in wrong)
        sys.exit(1 if wrong else 0)
    write(found)
    sys.stdout.write(f"wrote {len(found)} files, such as {TARGET}\n")
