"""What goes into the network? Sources, loaders, normalisation, and the record of them that a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mezzotint.data.held_out import part_held_out
from mezzotint.data.loader import Loader
from mezzotint.data.protocols import get_protocol
from mezzotint.data.quarantine import checked_policy
from mezzotint.data.source import Source, cached, check_same_classes, open_source
from mezzotint.data.sources import SOURCES
from mezzotint.data.transform import Evaluate, build_transform
from mezzotint.errors import CheckpointError, DataError, message
from mezzotint.train.config import DataConfig, RunConfig
from mezzotint.train.normalisation import channel_statistics

AS_IS = "as-is"
"""Stands for a protocol's name and fingerprint where test images enter as they are."""


@dataclass(frozen=True, kw_only=True)
class InputRecord:
    """What the network was trained on, as a checkpoint keeps it.

    Attributes:
        classes: names, in the order of the labels.
        in_channels: channels of the images that enter the network.
        image_size: their (height, width) in pixels.
        mean, std: per channel, of pixels in [0, 1].
        protocol: evaluation protocol of the test images, or "as-is".
        protocol_fingerprint: its fingerprint, or "as-is".
        train_samples: number of training images.
    """

    classes: tuple[str, ...]
    in_channels: int
    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    protocol: str
    protocol_fingerprint: str
    train_samples: int

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> InputRecord:
        """The record from plain JSON values.

        Raises:
            CheckpointError: a key is missing or odd.
        """
        names = set(cls.__dataclass_fields__)
        if not isinstance(saved, dict) or set(saved) != names:
            odd = ", ".join(sorted(names ^ set(saved if isinstance(saved, dict) else ())))
            raise CheckpointError(
                message("data record of the checkpoint", received=f"odd or missing {odd}", allowed="all")
            )
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()
        }
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Training and test images as loaders, and what is recorded of them."""

    train: Loader
    test: Loader
    record: InputRecord

    def close(self) -> None:
        """End the loaders' processes."""
        self.train.close()
        self.test.close()


def open_inputs(config: RunConfig, saved: InputRecord | None = None, shard: tuple[int, int] = (0, 1)) -> Inputs:
    """Open the data of a run.

    Args:
        config: of the run.
        saved: the record of the checkpoint that is resumed; its normalisation is used again, and the data must be
            the same as then.
        shard: (rank, number of ranks): the part of each batch that this process takes.

    Raises:
        DataError: nothing is there, the two parts do not go together, or the images have several sizes or channels.
        CheckpointError: the data is not that of the checkpoint.
    """
    data = config.data
    train, test = open_part(data, data.train_split), open_part(data, data.test_split)
    check_same_classes(train, test)
    if saved is None:
        mean, std = _normalisation(data, train)
    else:
        mean, std = saved.mean, saved.std
    loader = Loader(
        train,
        build_transform(data.augment),
        batch_size=data.batch_size,
        seed=config.seed,
        drop_last=True,
        mean=mean,
        std=std,
        shard=shard,
        **_loading(data),
    )
    test_loader = evaluation_loader(test, data, mean=mean, std=std, shard=shard)
    record = _record(data, loader, test_loader, mean, std)
    if saved is not None and saved != record:
        raise CheckpointError(_changed(saved, record))
    return Inputs(train=loader, test=test_loader, record=record)


def open_part(data: DataConfig, split: str, classes: Sequence[str] | None = None) -> Source:
    """The training or test part of the data set.

    Args:
        data: where it lies.
        split: "train", "test", or the name of a subfolder or archive.
        classes: the complete class names, for the kinds of source whose files may not show all of them.
    """
    kind = _kind(data)
    takes_classes = kind is not None and "classes" in SOURCES[kind].options
    divided = data.hold_out is not None and split in (data.train_split, data.test_split)
    source = open_source(
        data.path or "digits",
        data.train_split if divided else split,
        kind=kind,
        labels=data.labels,
        mapping=data.mapping,
        classes=classes if takes_classes else None,
    )
    if divided and data.hold_out is not None:
        source = part_held_out(source, data.hold_out, "train" if split == data.train_split else "test")
    return cached(source, "memory", checked_policy(data.on_error)) if data.cache else source


def _kind(data: DataConfig) -> str | None:
    """The kind of source; None where nothing recognises it, which ``open_source`` explains."""
    if data.source != "auto":
        return data.source
    path = Path(data.path)
    known = (name for name, kind in SOURCES.items() if name != "digits" and kind.detects(path))
    return next(known, None)


def evaluation_loader(
    source: Source,
    data: DataConfig,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    shard: tuple[int, int] = (0, 1),
) -> Loader:
    """Test images in their own order, every one of them, by the protocol of ``data``."""
    transform = Evaluate(data.protocol) if data.protocol else build_transform()
    return Loader(
        source,
        transform,
        batch_size=data.test_batch_size,
        shuffle=False,
        mean=tuple(mean),
        std=tuple(std),
        shard=shard,
        **_loading(data),
    )


def _loading(data: DataConfig) -> dict[str, Any]:
    """What a loader is told of its workers and of bad files."""
    return {
        "threads": data.threads,
        "processes": data.processes,
        "prefetch_bytes": data.prefetch_bytes,
        "on_error": data.on_error,
        "max_bad": data.max_bad,
    }


def protocol_fingerprint(protocol: str | None) -> str:
    """The fingerprint of an evaluation protocol; "as-is" for None."""
    return get_protocol(protocol).fingerprint() if protocol else AS_IS


def image_shape(loader: Loader) -> tuple[int, int, int]:
    """(C, H, W) of the loader's first image, after its transform."""
    image, _ = loader.sample_at(0, 0)
    return int(image.shape[0]), int(image.shape[1]), int(image.shape[2])


def with_data(data: DataConfig, path: str) -> DataConfig:
    """``data`` at another place: "digits", or a path whose kind and label file are found; nothing is held out there."""
    source, path = ("digits", "") if path == "digits" else ("auto", path)
    return replace(data, source=source, path=path, labels=None, mapping=None, hold_out=None)


def _normalisation(data: DataConfig, train: Source) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if isinstance(data.mean, tuple) and isinstance(data.std, tuple):
        return data.mean, data.std
    stated = get_protocol(data.protocol).normalisation if data.protocol else None
    return stated.statistics() if stated else channel_statistics(train, skip_bad=data.on_error == "quarantine")


def _record(
    data: DataConfig, train: Loader, test: Loader, mean: tuple[float, ...], std: tuple[float, ...]
) -> InputRecord:
    shape, test_shape = image_shape(train), image_shape(test)
    if shape != test_shape:
        raise DataError(
            message(
                "size of the images",
                received=f"{_spoken(shape)} for training and {_spoken(test_shape)} for testing",
                allowed="one size for both",
                fix="Set data.protocol for the test images and an augmentation that gives the same size, or cut all "
                "images to one size beforehand.",
            )
        )
    return InputRecord(
        classes=train.source.classes,
        in_channels=shape[0],
        image_size=(shape[1], shape[2]),
        mean=mean,
        std=std,
        protocol=data.protocol or AS_IS,
        protocol_fingerprint=protocol_fingerprint(data.protocol),
        train_samples=len(train.source),
    )


def _spoken(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]} x {shape[2]} pixels of {shape[0]} channel{'s' if shape[0] > 1 else ''}"


def _changed(saved: InputRecord, found: InputRecord) -> str:
    keys = [key for key in saved.__dataclass_fields__ if getattr(saved, key) != getattr(found, key)]
    listed = "; ".join(f"{key}: {_short(getattr(saved, key))} -> {_short(getattr(found, key))}" for key in keys)
    return message(
        "data of the resumed run",
        received=f"other data than the checkpoint's ({listed})",
        allowed="the same data",
        fix="Set data.path to the data set that the run was started on.",
    )


def _short(value: object) -> str:
    return f"{len(value)} of them" if isinstance(value, tuple) and len(value) > 4 else repr(value)
