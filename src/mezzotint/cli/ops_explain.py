"""``mezzotint ops explain``: why is this kernel used? From a run's record, or asked for a layer here and now."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mezzotint.cli.output import console, line
from mezzotint.errors import InputError, NotRegistered, RunError, message, suggest

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mezzotint.cli.layer_decisions import LayerAnswer
    from mezzotint.cli.network import Opened

_DENSITY: Final = 0.1
_BATCH: Final = 32
DTYPES: Final = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that ``explain`` alone has."""
    group = parser.add_argument_group("explain")
    group.add_argument("--op", help="explain one operator of a run only")
    group.add_argument("--dtype", default="float32", choices=DTYPES, help="of the activations (default: float32)")
    group.add_argument("--measure", action="store_true", help="time the candidates on this machine, and store that")
    group.add_argument("--json", action="store_true", help="write one JSON object instead of words")


def run(arguments: argparse.Namespace) -> int:
    """Explain; 0. A run folder without a layer is answered from what the run itself decided."""
    target = Path(arguments.target)
    record = target / "decisions.json"
    if arguments.layer is None and (record.exists() or (target.is_dir() and not _holds_a_checkpoint(target))):
        from mezzotint.kernels.decision import in_words

        records = _of_operator(_decisions(record), arguments.op)
        line(json.dumps(records, indent=1) if arguments.json else "\n".join(in_words(found) for found in records))
        return 0
    return _ask(arguments)


def _holds_a_checkpoint(folder: Path) -> bool:
    return (folder / "state.json").exists() or (folder / "checkpoints").exists()


def _decisions(file: Path) -> list[dict[str, Any]]:
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            message(
                "decisions of the run",
                received=f"{str(file)!r}, which cannot be read ({getattr(error, 'strerror', None) or 'no JSON'})",
                allowed="the folder of a run that has finished an epoch",
                fix="`mezzotint train` writes the file after every epoch.",
            )
        ) from error
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []


def _of_operator(records: list[dict[str, Any]], op: str | None) -> list[dict[str, Any]]:
    """The decisions about one operator, or all of them."""
    known = sorted({str(record.get("op")) for record in records})
    if op is None or op in known:
        return [record for record in records if op in (None, record.get("op"))]
    allowed = f"an operator that the run decided about ({', '.join(known) or 'none'})"
    raise InputError(message("--op", received=op, allowed=allowed, fix=suggest(op, known).strip()))


def _ask(arguments: argparse.Namespace) -> int:
    """Run the layers once and tell what the launcher decided."""
    from rich.progress import track

    from mezzotint.cli import layer_view
    from mezzotint.cli.layer_decisions import answer, input_shapes
    from mezzotint.cli.network import open_network

    density = arguments.density
    if density is None and not Path(arguments.target).exists():
        density = _DENSITY
    opened = open_network(arguments.target, density=density, size=arguments.size)
    names = _chosen(opened, arguments.layer)
    batch, out = arguments.batch or _BATCH, console()
    shapes = input_shapes(opened, names)
    silent = arguments.layer is not None or arguments.json or not out.is_terminal
    found: list[LayerAnswer] = [
        answer(opened, name, (batch, *shapes[name][1:]), arguments.dtype, measure=arguments.measure)
        for name in track(names, "asking", console=out, transient=True, disable=silent)
    ]
    if arguments.json:
        line(json.dumps([one.record() for one in found], indent=1))
    else:
        _print(out, layer_view.layer(found[0]) if arguments.layer else layer_view.network(opened.title, found))
    return 0


def _print(out: Console, shown: RenderableType) -> None:
    """To a terminal with colours; into a pipe or a file without them, and without the blanks that fill tables up."""
    if out.is_terminal:
        out.print(shown)
        return
    with out.capture() as captured:
        out.print(shown)
    line("\n".join(text.rstrip() for text in captured.get().splitlines()))


def _chosen(opened: Opened, layer: str | None) -> list[str]:
    """The layer that is asked for, or all sparse ones, those in a shared module once."""
    from torch import nn

    from mezzotint.sparse.layer import sparse_layers

    names = list(sparse_layers(opened.model))
    if layer is None and names:
        return names
    modules = dict(opened.model.named_modules())
    if layer in names:
        return [layer]
    if isinstance(modules.get(layer or ""), (nn.Conv2d, nn.Linear)) or (layer is None and not names):
        what = f"{layer!r} is dense" if layer else f"{opened.title} has no sparse layer"
        raise InputError(
            f"{what}: PyTorch computes it and chooses inside, there is nothing for the launcher to decide. "
            "Networks built by name become sparse with --density."
        )
    near = suggest(layer or "", names) or f" Layers: {', '.join(names[:6])}{' ...' if len(names) > 6 else ''}"
    raise NotRegistered(f"{opened.title}: no sparse layer {layer!r}; there are {len(names)}.{near}")
