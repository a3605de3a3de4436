"""How are the pictures of a run's inside read, and its mistakes? Whatever does not fit together is left out."""

from __future__ import annotations

import base64
import binascii
import zlib
from math import prod
from typing import Any

from mezzotint.report.files import Object, Reader, finite, mapping, sequence, whole, words
from mezzotint.report.record import Bad, Filters, Inside, Mistakes, Picture, Sample, Wrong

#: A record of more classes, or of a larger picture, is not one that a run writes.
_MOST_CLASSES, _MOST_CELLS = 100_000, 1 << 20


def read_inside(reader: Reader) -> Inside | None:
    """``patterns.json``."""
    value = mapping(reader.json("patterns.json"))
    if not value:
        return None
    pictures = {name: _picture(mapping(row)) for name, row in mapping(value.get("layers")).items()}
    return Inside(
        step=whole(value.get("step")),
        updates=max(whole(value.get("updates")) or 0, 0),
        layers={name: picture for name, picture in pictures.items() if picture is not None},
        filters=_filters(mapping(value.get("filters"))),
        layout=tuple(words(line) for line in sequence(value.get("layout"))),
    )


def read_mistakes(reader: Reader) -> Mistakes | None:
    """``mistakes.json``: a whole matrix, or of many classes the mistakes that occurred."""
    value = mapping(reader.json("mistakes.json"))
    counted = _matrix(value) if "confusion" in value else _pairs(value)
    if counted is None:
        return None
    images, right, pairs = counted
    names = [words(name) for name in sequence(value.get("classes"))][: len(images)]
    names += [str(index) for index in range(len(names), len(images))]
    wrong = (_wrong(mapping(row), len(images), reader) for row in sequence(value.get("worst")))
    return Mistakes(
        classes=tuple(names),
        images=images,
        right=right,
        pairs=tuple(sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))),
        worst=tuple(one for one in wrong if one is not None),
    )


def read_bad(reader: Reader) -> tuple[Bad, ...] | None:
    """``quarantine.json``; None where the run does not set bad images aside."""
    value = reader.json("quarantine.json")
    if not isinstance(value, dict):
        return None
    return tuple(
        Bad(part=part, name=words(row.get("name")), reason=words(row.get("reason")))
        for part, report in value.items()
        for row in map(mapping, sequence(mapping(report).get("samples")))
    )


def read_sample(row: Object, reader: Reader) -> Sample | None:
    """A picture of the run folder with its label and name."""
    file = words(row.get("file"))
    # The list may name the files from the run folder or from its samples folder.
    inside = file if file.startswith(("samples/", "mistakes/")) else f"samples/{file}"
    found = reader.picture(inside) if file else None
    if found is None:
        return None
    picture, width, height = found
    return Sample(
        picture=picture, width=width, height=height, label=words(row.get("label")), name=words(row.get("name"))
    )


def _picture(row: Object) -> Picture | None:
    rows, columns = whole(row.get("rows")) or 0, whole(row.get("columns")) or 0
    shape = _shape(row.get("shape"))
    if not (rows > 0 and columns > 0 and rows * columns <= _MOST_CELLS and len(shape) >= 2):
        return None
    share, age = (_unpacked(row.get(key), rows * columns) for key in ("share", "age"))
    if share is None or age is None:
        return None
    return Picture(
        shape=shape,
        nnz=max(whole(row.get("nnz")) or 0, 0),
        rows=rows,
        columns=columns,
        share=share,
        age=age,
        born=tuple(max(whole(item) or 0, 0) for item in sequence(row.get("born"))),
        empty_outputs=max(whole(row.get("empty_outputs")) or 0, 0),
        empty_inputs=max(whole(row.get("empty_inputs")) or 0, 0),
    )


def _filters(row: Object) -> Filters | None:
    shape = _shape(row.get("shape"))
    largest = finite(row.get("largest"))
    if len(shape) != 4 or not 0 < prod(shape) <= _MOST_CELLS or largest is None:
        return None
    weights = _unpacked(row.get("weights"), prod(shape))
    if weights is None:
        return None
    shown, channels, height, width = shape
    return Filters(
        layer=words(row.get("layer")),
        shape=(shown, channels, height, width),
        of=max(whole(row.get("of")) or 0, shown),
        largest=abs(largest),
        weights=weights,
    )


def _shape(value: object) -> tuple[int, ...]:
    sides = [whole(item) for item in sequence(value)]
    return tuple(side for side in sides if side is not None and side > 0) if None not in sides else ()


def _unpacked(text: object, length: int) -> bytes | None:
    """``length`` bytes from deflated base64, never more; None where it holds something else."""
    if not isinstance(text, str):
        return None
    try:
        made = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), length + 1)
    except (binascii.Error, ValueError, zlib.error):
        return None
    return made if len(made) == length else None


_Counted = tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int, int]]]


def _matrix(value: Object) -> _Counted | None:
    rows = [sequence(row) for row in sequence(value.get("confusion"))]
    if not rows or any(len(row) != len(rows) for row in rows):
        return None
    counts = [[max(whole(item) or 0, 0) for item in row] for row in rows]
    pairs = [(i, j, n) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    return tuple(map(sum, counts)), tuple(row[index] for index, row in enumerate(counts)), pairs


def _pairs(value: Object) -> _Counted | None:
    images, right = (
        tuple(max(whole(item) or 0, 0) for item in sequence(value.get(key))) for key in ("images", "right")
    )
    if not images or len(images) != len(right) or len(images) > _MOST_CLASSES:
        return None
    known = range(len(images))
    rows = ([whole(item) for item in sequence(row)] for row in sequence(value.get("pairs")))
    pairs = [
        (i, j, n) for i, j, n in (row for row in rows if len(row) == 3) if i in known and j in known and n and n > 0
    ]
    return images, right, [(int(i), int(j), int(n)) for i, j, n in pairs if i is not None and j is not None]


def _wrong(row: Object, classes: int, reader: Reader) -> Wrong | None:
    true, chosen = whole(row.get("true")), whole(row.get("chosen"))
    if true not in range(classes) or chosen not in range(classes):
        return None
    sample = read_sample(row, reader)
    if sample is None or true is None or chosen is None:
        return None
    return Wrong(
        sample=sample,
        true=true,
        chosen=chosen,
        true_probability=_probability(row.get("true_probability")),
        chosen_probability=_probability(row.get("chosen_probability")),
    )


def _probability(value: Any) -> float | None:
    found = finite(value)
    return found if found is not None and 0 <= found <= 1 else None
