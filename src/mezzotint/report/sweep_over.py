"""What does a setting do? Accuracy against the values of each axis that a sweep has besides method and density."""

from __future__ import annotations

import json
from typing import Final

from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart
from mezzotint.report.numbers import ABSENT, share
from mezzotint.report.sweep import DENSE, Estimate, Group, Sweep, hundredths, with_error, worded
from mezzotint.report.sweep_chart import DENSE_LOOKS, LOOKS, chart_over, line, styles

_MOST_LINES: Final = len(LOOKS)


def against(sweep: Sweep, key: str) -> Chart | None:
    """A chart over the values of the axis ``key``: a line for each combination of everything else."""
    groups = [group for group in sweep.groups if group.accuracy is not None]
    texts = _ordered(dict.fromkeys(text for group in groups for one, text in group.over if one == key))
    if not texts:
        return None
    rows: dict[str, dict[str, Estimate]] = {}
    for group in groups:
        name = _name(sweep, group, key)
        for text in _texts(group, key, texts):
            if group.accuracy is not None:
                rows.setdefault(name, {})[text] = group.accuracy
    dense = [name for name in rows if name.split(" · ")[0] == DENSE]
    others = [name for name in rows if name not in dense]
    looks = styles(dense, DENSE_LOOKS) | styles(others[:_MOST_LINES])
    cells = [[rows[name].get(text) for text in texts] for name in looks]
    found = ((rows[name][text], name, text) for name in others or dense for text in rows[name])
    best, name, text = max(found, key=lambda one: one[0].mean)
    left_out = len(rows) - len(looks)
    return chart_over(
        key,
        [worded(one) for one in texts],
        [line(one, style, row) for (one, style), row in zip(looks.items(), cells, strict=True)],
        [[ABSENT if one is None else with_error(one) for one in row] for row in cells],
        Axis(label="test accuracy", write=share),
        key=f"over-{key}".replace(".", "-"),
        title=f"Test accuracy against {sweep.axes[key]}",
        says=f"Best: {hundredths(best.mean)}, by {name} with {sweep.axes[key]} {worded(text)}.",
        means="Values stand at even distances."
        + (f" The table of all combinations has {left_out} more lines." if left_out else ""),
    )


def _ordered(texts: dict[str, None]) -> list[str]:
    """Values as JSON: numbers rising, everything else as it was asked for."""
    values = {text: json.loads(text) for text in texts}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())
    return sorted(texts, key=lambda text: values[text]) if numbers else list(texts)


def _texts(group: Group, key: str, texts: list[str]) -> list[str]:
    """At which values the group stands: its own; a dense one at all of a key that it does not know."""
    known = dict(group.over).get(key)
    if known is not None:
        return [known]
    return texts if group.method == DENSE else []


def _name(sweep: Sweep, group: Group, key: str) -> str:
    """Everything but the value of ``key``, in words; the density where there are several."""
    method, *settings = sweep.label(group, without=key).split(" · ")
    several = len({one.density for one in sweep.groups if one.method != DENSE}) > 1
    place = f"{method} {group.density:g}" if several and group.method != DENSE else method
    return " · ".join([place, *settings])
