"""How does one go on from here? The commands, ready to be copied."""

from __future__ import annotations

import shlex

from mezzotint.report.headline import headline
from mezzotint.report.markup import Markup, tag
from mezzotint.report.record import Run
from mezzotint.report.section import Section


def section(run: Run) -> Section:
    """Commands for this run."""
    return Section(
        key="next",
        title="How to go on",
        short="Next",
        lead="Commands for a shell, from the folder in which the run was named.",
        body=tag("dl", *(command(what, text) for what, text in commands(run)), class_="commands"),
    )


def commands(run: Run) -> list[tuple[str, str]]:
    """(what it does, command) of what fits the run's state."""
    name = headline(run).name
    folder = shlex.quote(str(run.folder))
    model = shlex.quote(f"{name}.safetensors")
    program = shlex.quote(f"{name}.pt2")
    follow = [("Watch it train, in a browser", f"mezzotint report {folder} --live")]
    resume = [("Go on where it stopped, bit for bit", f"mezzotint train {folder} --resume")]
    done = [
        ("See what it makes of a picture", f"mezzotint predict {folder} PICTURE.jpg"),
        ("Test it again, or on other images", f"mezzotint eval {folder}"),
        ("Take it elsewhere, sparse", f"mezzotint export {folder} -f safetensors -o {model}"),
        ("Take it elsewhere, as a PyTorch program", f"mezzotint export {folder} -f pt2 -o {program}"),
    ]
    always = [
        ("Lay another run over it", f"mezzotint report {folder} OTHER_RUN -o comparison.html"),
        (
            "Try other densities, three seeds each",
            f"mezzotint sweep {shlex.quote(str(run.folder / 'config.toml'))} --density 1 0.2 0.1 0.05 --seeds 3",
        ),
    ]
    if run.summary is not None:
        return [*done, *always]
    return [*(resume if run.training is False else follow), *always]


def command(what: str, text: str) -> Markup:
    """A command with what it does and a button that copies it."""
    button = tag("button", "Copy", type="button", class_="copy", aria_label=f"Copy: {what}", hidden=True)
    return tag("div", tag("dt", what), tag("dd", tag("code", text), button))
