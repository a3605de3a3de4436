"""How good is a saved network, on its own test images or on others? A checkpoint, evaluated as it was in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.data.loader import Loader
from mezzotint.data.source import class_differences
from mezzotint.errors import DataError, message
from mezzotint.precision import Precision
from mezzotint.train import checkpoint
from mezzotint.train.config import DataConfig, RunConfig
from mezzotint.train.evaluate import Evaluation, evaluate
from mezzotint.train.inputs import (
    InputRecord,
    evaluation_loader,
    image_shape,
    open_part,
    protocol_fingerprint,
    with_data,
)
from mezzotint.train.parts import build_model
from mezzotint.train.state import load_model_state
from mezzotint.train.table import from_table


@dataclass(frozen=True, kw_only=True)
class CheckpointEvaluation:
    """The result, and what it was measured on.

    Attributes:
        result: loss, accuracy, confusion.
        folder: the checkpoint.
        data: the source in its own words.
        classes: names.
        warnings: sentences about what makes the numbers hard to compare with those of the training run.
    """

    result: Evaluation
    folder: Path
    data: str
    classes: tuple[str, ...]
    warnings: tuple[str, ...]


def evaluate_checkpoint(
    path: Path | str,
    *,
    data: str | None = None,
    split: str | None = None,
    protocol: str | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> CheckpointEvaluation:
    """Evaluate a checkpoint in the precision that it was trained in, on the CPU; its averaged weights if it has them.

    Args:
        path: a run folder (its newest checkpoint counts) or a checkpoint folder.
        data: another data set, ``"digits"`` or a path; the run's own when not given.
        split: another part of the data set, such as ``"train"``.
        protocol: another evaluation protocol; the run's own when not given.
        watch: is told how many batches of how many are done.

    Raises:
        CheckpointError: no checkpoint there, or a damaged one.
        DataError: the data's classes or image sizes are not those of the network.
    """
    saved = checkpoint.load(checkpoint.locate(path))
    config, record = from_table(RunConfig, saved.state["config"]), InputRecord.from_json(saved.state["data"])
    place = config.data if data is None else with_data(config.data, data)
    if split is not None and split not in (place.train_split, place.test_split):
        place = replace(place, hold_out=None)  # a part of its own, of which nothing is held out
    place = replace(place, test_split=split or place.test_split, protocol=protocol or place.protocol)
    loader = _loader(place, record)
    model = build_model(config, record)
    load_model_state(model, saved.tensors["average"] or saved.tensors["model"])
    result = evaluate(model, loader, Precision(config.precision.mode), len(record.classes), watch=watch)
    return CheckpointEvaluation(
        result=result,
        folder=saved.folder,
        data=loader.source.describe(),
        classes=record.classes,
        warnings=(*_warnings(place, record), *_unread(loader)),
    )


def _loader(data: DataConfig, record: InputRecord) -> Loader:
    source = open_part(data, data.test_split, classes=record.classes)
    if source.classes != record.classes:
        mine, theirs = set(record.classes), set(source.classes)
        only_saved = [name for name in record.classes if name not in theirs]
        only_found = [name for name in source.classes if name not in mine]
        raise DataError(
            message(
                f"classes of {source.describe()}",
                received=f"{len(source.classes)} of them; {class_differences(only_saved, only_found)}",
                allowed=f"the {len(record.classes)} classes that the network was trained on, in the same order",
                fix="Evaluate on images of the same classes, or train a network for these.",
            )
        )
    loader = evaluation_loader(source, data, mean=record.mean, std=record.std)
    shape, wanted = image_shape(loader), (record.in_channels, *record.image_size)
    if shape != wanted:
        raise DataError(
            message(
                f"images of {source.describe()}",
                received=f"[C, H, W] = {list(shape)}",
                allowed=f"{list(wanted)}, as the network was trained on",
                fix="Choose a protocol that gives this size with --protocol, or resize the images beforehand.",
            )
        )
    return loader


def _unread(loader: Loader) -> list[str]:
    bad = list(loader.quarantine)
    if not bad:
        return []
    names = ", ".join(sample.name for sample in bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    return [f"images that could not be read: {len(bad)} ({names}); they are left out."]


def _warnings(data: DataConfig, record: InputRecord) -> list[str]:
    now = protocol_fingerprint(data.protocol)
    if now == record.protocol_fingerprint:
        return []
    return [
        f"evaluated with protocol {data.protocol or 'as-is'} ({now}), but the checkpoint was made with"
        f" {record.protocol} ({record.protocol_fingerprint}): the accuracies are not comparable."
    ]
