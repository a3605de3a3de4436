"""How does a sweep look? One page: accuracy against density, differences to dense, curves, costs, and all runs."""

from __future__ import annotations

from mezzotint.report.links import Link, nowhere
from mezzotint.report.markup import Markup, tag
from mezzotint.report.page import Page, page
from mezzotint.report.sweep import Sweep
from mezzotint.report.sweep_accuracy import accuracy_section, sentence
from mezzotint.report.sweep_costs import costs_section
from mezzotint.report.sweep_curves import curves_section
from mezzotint.report.sweep_runs import runs_section


def sweep_page(sweep: Sweep, link: Link = nowhere) -> str:
    """The page of a sweep. The same records give the same text, byte for byte."""
    return page(sweep_parts(sweep, link))


def sweep_parts(sweep: Sweep, link: Link = nowhere) -> Page:
    """What the page of a sweep consists of; ``link`` gives the addresses of its runs' pages."""
    name = sweep.folder.resolve().name
    sections = (accuracy_section(sweep), curves_section(sweep), costs_section(sweep), runs_section(sweep, link))
    return Page(title=f"{name} · mezzotint sweep", top=_hero(sweep, name), sections=sections)


def _hero(sweep: Sweep, name: str) -> Markup:
    trials = [trial for group in sweep.groups for trial in group.trials]
    done = sum(trial.state == "finished" for trial in trials)
    failed = sum(trial.state == "failed" for trial in trials)
    state = "finished" if done == len(trials) else f"{done} of {len(trials)} runs are finished"
    if failed:
        state += f", {failed} failed"
    return tag(
        "div",
        tag(
            "p",
            "Sweep",
            tag("span", state, class_=f"state {'finished' if done == len(trials) else 'in'}"),
            class_="kicker",
        ),
        tag("h1", name),
        tag("p", sentence(sweep), class_="result"),
        class_="hero",
        id="hero",
    )
