"""Do data and network go together, and is it told when they do not?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mezzotint.data.loader import Loader
from mezzotint.data.source import open_source
from mezzotint.errors import CheckpointError, ConfigError, DataError, InputError
from mezzotint.precision import Precision
from mezzotint.train import DataConfig, RunConfig, train
from mezzotint.train.evaluate import evaluate
from mezzotint.train.evaluate_checkpoint import evaluate_checkpoint
from mezzotint.train.inputs import InputRecord, open_inputs
from mezzotint.train.normalisation import channel_statistics
from mezzotint.train.parts import build_parts

Make = Callable[..., RunConfig]


def image_folder(root: Path, classes: str, count: int = 3, side: int = 8, colour: bool = True) -> Path:
    """A folder with ``train`` and ``test``, each with one subfolder per letter of ``classes``."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for place in range(count):
                shape = (side, side, 3) if colour else (side, side)
                picture = Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))
                picture.save(root / split / name / f"{place}.png")
    return root


def test_statistics_are_those_of_all_pixels() -> None:
    source = open_source("digits", "train")
    pixels = torch.stack([source.read(index)[0] for index in range(len(source))]).double() / 255
    mean, deviation = channel_statistics(source)
    assert mean[0] == pytest.approx(float(pixels.mean()), abs=1e-6)
    assert deviation[0] == pytest.approx(float(pixels.std(correction=0)), abs=1e-6)


def test_images_of_two_sizes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    image_folder(tmp_path, "ab", side=16)
    data = DataConfig(path=str(tmp_path), batch_size=2, augment=({"name": "random_crop", "size": 8},))
    with pytest.raises(DataError, match=r"8 x 8 pixels of 3 channels.*16 x 16.*data\.protocol"):
        open_inputs(RunConfig(data=data))


def test_a_protocol_and_a_crop_of_its_size_go_together(tmp_path: Path) -> None:
    image_folder(tmp_path, "ab", side=16)
    crop = ({"name": "random_resized_crop", "size": 224},)
    data = DataConfig(path=str(tmp_path), batch_size=2, augment=crop, protocol="squash256")
    record = open_inputs(RunConfig(data=data)).record
    assert record.image_size == (224, 224)
    assert record.protocol == "squash256"
    assert len(record.protocol_fingerprint) == 16


def test_a_protocol_may_state_the_normalisation(tmp_path: Path) -> None:
    image_folder(tmp_path, "ab", side=16)
    crop = ({"name": "random_resized_crop", "size": 96},)
    data = DataConfig(path=str(tmp_path), batch_size=2, augment=crop, protocol="timm:img_size=96,mean=0.5")
    record = open_inputs(RunConfig(data=data)).record
    assert record.protocol == "timm:img_size=96,mean=0.5"
    assert (record.mean, record.std) == ((0.5, 0.5, 0.5), (0.229, 0.224, 0.225))
    named = open_inputs(RunConfig(data=replace(data, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)))).record
    assert named.mean == (0.1, 0.2, 0.3)
    with pytest.raises(InputError, match=r"BGR.*data\.mean"):
        open_inputs(RunConfig(data=replace(data, protocol="keras:img_size=96")))
    with pytest.raises(ConfigError, match="crop_mode"):
        open_inputs(RunConfig(data=replace(data, protocol="timm:crop_mode=stretch")))


def test_different_classes_in_training_and_test_are_refused(tmp_path: Path) -> None:
    image_folder(tmp_path, "ab")
    (tmp_path / "test" / "c").mkdir()
    (tmp_path / "test" / "a" / "0.png").rename(tmp_path / "test" / "c" / "0.png")
    with pytest.raises(DataError, match="'c'"):
        open_inputs(RunConfig(data=DataConfig(path=str(tmp_path), batch_size=2)))


def test_an_image_too_small_for_the_network_and_an_unknown_layer(small: Make) -> None:
    with pytest.raises(ValueError, match="at least 32 x 32"):
        build_parts(small(model={"name": "resnet18"}))
    with pytest.raises(ConfigError, match=r"\[sparsity\].*fc9"):
        build_parts(small(sparsity={"exclude": ["fc9"]}))
    with pytest.raises(ConfigError, match=r"start_density: received 0\.5 with sparsity\.density = 1"):
        build_parts(small(sparsity={"density": 1.0, "start_density": 0.5, "method": "gmp"}))
    with pytest.raises(ConfigError, match=r"run\.kernels"):
        train(small(run={"kernels": "fastest"}), folder="/dev/null/never")


def test_a_device_that_is_not_there(small: Make) -> None:
    device = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ConfigError, match="--set device=cpu"):
        build_parts(small(device=device))


def test_the_record_comes_back_from_json_and_odd_ones_are_refused(small: Make) -> None:
    record = open_inputs(small()).record
    saved = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(record).items()}
    assert InputRecord.from_json(saved) == record
    with pytest.raises(CheckpointError, match="classes"):
        InputRecord.from_json({key: value for key, value in saved.items() if key != "classes"})


class Constant(nn.Module):
    """Says the same of every image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10] with class 3 ahead."""
        return torch.nn.functional.one_hot(torch.full((len(x),), 3), 10).float()


def test_evaluation_counts_every_image_once_and_keeps_the_mode() -> None:
    source = open_source("digits", "test")
    loader = Loader(source, batch_size=77, shuffle=False)
    model = Constant().train()
    result = evaluate(model, loader, Precision("fp32"), 10)
    threes = sum(source.read(index)[1] == 3 for index in range(len(source)))
    assert (result.correct, result.count) == (threes, len(source))
    assert result.confusion.sum(0).tolist() == [0, 0, 0, len(source), 0, 0, 0, 0, 0, 0]
    assert model.training
    assert result.accuracy == threes / len(source)
    with pytest.raises(DataError, match="as the network has 5 classes"):
        evaluate(model, loader, Precision("fp32"), 5)


def test_a_checkpoint_is_evaluated_as_in_training(small: Make, tmp_path: Path) -> None:
    result = train(small(), folder=tmp_path / "run")
    assert result.summary is not None
    found = evaluate_checkpoint(tmp_path / "run")
    assert found.result.accuracy == result.summary["test_accuracy"]
    assert found.warnings == ()
    assert evaluate_checkpoint(tmp_path / "run", split="train").result.count == 1437
    grey = image_folder(tmp_path / "grey", "ab", colour=False)
    with pytest.raises(DataError, match="the 10 classes that the network was trained on"):
        evaluate_checkpoint(tmp_path / "run", data=str(grey))
    with pytest.raises(DataError, match=r"\[1, 8, 8\]"):
        evaluate_checkpoint(tmp_path / "run", data="digits", protocol="squash256")


def flat_folder(root: Path, labels: str, label_file: Path) -> Path:
    """Images in ``root`` with a label for each in ``label_file``."""
    root.mkdir()
    for place in range(len(labels)):
        Image.fromarray(np.full((8, 8, 3), 60 * place, dtype=np.uint8)).save(root / f"{place}.png")
    label_file.write_text("".join(f"{place}.png {label}\n" for place, label in enumerate(labels)))
    return root


def test_the_label_file_of_a_run_is_not_that_of_other_images(tmp_path: Path) -> None:
    trained = flat_folder(tmp_path / "trained", "0011", tmp_path / "elsewhere.txt")
    labels = str(tmp_path / "elsewhere.txt")
    data = DataConfig(path=str(trained), labels=labels, train_split="all", batch_size=2)
    config = RunConfig(name="x", threads=1, data=data)
    train(replace(config, schedule=replace(config.schedule, epochs=1)), folder=tmp_path / "run")
    other = flat_folder(tmp_path / "other", "1011", tmp_path / "other" / "labels.txt")
    assert evaluate_checkpoint(tmp_path / "run").result.confusion.sum(1).tolist() == [2, 2]
    assert evaluate_checkpoint(tmp_path / "run", data=str(other)).result.confusion.sum(1).tolist() == [1, 3]
    folders = image_folder(tmp_path / "folders", "01")
    assert evaluate_checkpoint(tmp_path / "run", data=str(folders)).result.confusion.sum(1).tolist() == [3, 3]


def test_another_protocol_is_warned_about(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "images", "ab", count=1, side=40)
    data = DataConfig(path=str(folder), batch_size=2, augment=({"name": "random_resized_crop"},), protocol="squash256")
    config = RunConfig(name="x", threads=1, data=data)
    config = replace(config, schedule=replace(config.schedule, epochs=1))
    train(config, folder=tmp_path / "run")
    found = evaluate_checkpoint(tmp_path / "run", protocol="central875")
    assert "not comparable" in found.warnings[0]
    assert evaluate_checkpoint(tmp_path / "run").warnings == ()
