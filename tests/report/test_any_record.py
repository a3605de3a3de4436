"""Can any JSON in a run folder make the report fail? Records of arbitrary values, and colours that can be read."""

from __future__ import annotations

import base64
import json
import re
import tempfile
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.report import read_run
from mezzotint.report.compare import comparison_page
from mezzotint.report.page import run_page

_SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.integers() | st.floats() | st.text(max_size=4)
_ANY = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_NUMBERS = st.floats(0, 1) | st.integers(0, 1000) | st.floats() | _ANY


def _object(*keys: str, **special: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, _NUMBERS) | special)


def _layers(*keys: str) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(["a", "b.c", "<x>"]), _object(*keys) | _ANY, max_size=3) | _ANY


_MEMORY = ("weights", "gradients", "optimizer", "index")
_ROWS = st.lists(
    _object("step", "epoch", "loss", "accuracy", "lr", "loss_scale", "skipped", kind=st.just("step"))
    | _object(
        "epoch",
        "step",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "nnz",
        "numel",
        "density",
        kind=st.just("epoch"),
        layers=_layers("nnz", "numel", "density"),
    )
    | _object(
        "step", kind=st.just("topology"), layers=_layers("before", "pruned", "grown", "after", "importance", "density")
    )
    | _object(*_MEMORY, kind=st.just("memory"), dense=_object(*_MEMORY) | _ANY)
    | _ANY,
    max_size=8,
)
_TIMES = st.lists(
    _object(
        "step",
        "seconds",
        "images_per_second",
        "waited",
        "tested",
        "epoch",
        phases=st.dictionaries(st.sampled_from(["data", "forward", "<p>", "other"]), _NUMBERS) | _ANY,
    )
    | _ANY,
    max_size=6,
)
_SUMMARY = _object(
    "test_accuracy",
    "epochs",
    "steps",
    "seconds",
    "nnz",
    "numel",
    "density",
    "weight_bytes",
    "optimizer_bytes",
    "index_bytes",
    "dense_weight_bytes",
    "dense_optimizer_bytes",
    "name",
    "precision",
    "method",
)
_DECISIONS = st.lists(
    _object(
        "op",
        "problem",
        "kernel",
        "reason",
        estimates=st.dictionaries(st.text(max_size=3), _NUMBERS, max_size=2),
        milliseconds=_ANY,
        refusals=_ANY,
    )
    | _ANY,
    max_size=3,
)
_BYTES = st.lists(st.integers(0, 255), max_size=9).map(
    lambda values: base64.b64encode(zlib.compress(bytes(values))).decode("ascii")
)
_SIDES = st.lists(st.integers(-1, 3), max_size=4)
_PICTURES = st.dictionaries(
    st.sampled_from(["a", "b.c", "<x>"]),
    _object(
        "nnz",
        "rows",
        "columns",
        "empty_outputs",
        "empty_inputs",
        shape=_SIDES | _ANY,
        share=_BYTES | _ANY,
        age=_BYTES | _ANY,
        born=st.lists(_NUMBERS, max_size=4) | _ANY,
    )
    | _ANY
    | st.just(
        {
            "shape": [2, 3],
            "nnz": 3,
            "rows": 2,
            "columns": 3,
            "share": base64.b64encode(zlib.compress(bytes([0, 99, 1, 15, 0, 3]))).decode("ascii"),
            "age": base64.b64encode(zlib.compress(bytes([0, 255, 0, 7, 9, 1]))).decode("ascii"),
            "born": [2, 1],
        }
    ),
    max_size=3,
)
_PATTERNS = _object(
    "step",
    "updates",
    layers=_PICTURES | _ANY,
    filters=_object("layer", "of", "largest", shape=_SIDES | _ANY, weights=_BYTES | _ANY) | _ANY,
    layout=st.lists(st.text(max_size=8) | st.just("  a: native: x; y"), max_size=3) | _ANY,
)
_PAIRS = _object(
    images=st.lists(st.integers(0, 3), max_size=3),
    right=st.lists(st.integers(0, 3), max_size=3),
    pairs=st.lists(st.lists(st.integers(-1, 3), min_size=2, max_size=4), max_size=3) | _ANY,
    classes=_ANY,
    worst=_ANY,
)
_BAD = st.dictionaries(
    st.text(max_size=3),
    _object(samples=st.lists(_object("index", "name", "reason") | _ANY, max_size=2)) | _ANY,
    max_size=2,
)
_MISTAKES = st.fixed_dictionaries(
    {
        "confusion": st.integers(0, 3).flatmap(
            lambda side: st.lists(st.lists(_NUMBERS, min_size=side, max_size=side), min_size=side, max_size=side)
        )
    },
    optional={"classes": _ANY},
)


@settings(max_examples=40)
@given(
    _ROWS, _TIMES, _SUMMARY | _ANY, _DECISIONS | _ANY, _MISTAKES | _PAIRS | _ANY, _PATTERNS | _ANY, _BAD | _ANY, _ANY
)
def test_no_record_breaks_the_page(
    parse: Any,
    rows: Any,
    times: Any,
    summary: Any,
    decisions: Any,
    mistakes: Any,
    patterns: Any,
    bad: Any,
    other: Any,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        for name, lines in (("metrics.jsonl", rows), ("timing.jsonl", times)):
            (run / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        for name, value in (
            ("summary", summary),
            ("decisions", decisions),
            ("mistakes", mistakes),
            ("patterns", patterns),
            ("quarantine", bad),
            ("environment", other),
            ("samples", other),
        ):
            (run / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
        record = read_run(run)
    for text in (run_page(record), comparison_page([record, record])):
        text.encode("utf-8")
        parse(text)
        drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.S))
        attributes = re.findall(r' (?:d|x|y|width|height|viewBox|data-xs|data-ys|data-frame)="([^"]*)"', drawings)
        assert not any(re.search("nan|inf|None|e", value) for value in attributes)


def _luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read_on_their_grounds(theme: int) -> None:
    style = files("mezzotint.report").joinpath("assets", "page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([\w]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: values[theme] for name, *values in pairs}
    grounds = [colours["paper"], colours["card"]]
    for name in ("ink", "soft", "s2", "s3"):  # texts, and the mark of a run's state
        assert min(_contrast(colours[name], ground) for ground in grounds) >= 4.5, name
    for name in ("s1", "s2", "s3", "s4", "s5", "s6"):  # lines and bars (WCAG 2.2, 1.4.11)
        assert _contrast(colours[name], colours["card"]) >= 3, name
