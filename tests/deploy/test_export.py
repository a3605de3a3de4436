"""Does an exported file give the same network again, and is every damaged or foreign file told for what it is?"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from deploy_networks import DESCRIPTION, Own, own, resnet20, settle
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import FORMATS, Description, describe, export, load
from mezzotint.deploy.formats import pt2, safetensors_file
from mezzotint.errors import CheckpointError, InputError, NotRegistered
from mezzotint.train import DataConfig, ModelConfig, RunConfig, SparsityConfig, checkpoint
from mezzotint.train.inputs import InputRecord
from mezzotint.train.table import to_table


def same_state(one: nn.Module, two: nn.Module) -> None:
    first, second = one.state_dict(), two.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 8, 8)


def test_a_sparse_file_gives_the_same_network_bit_for_bit(tmp_path: Path, images: Tensor) -> None:
    model = resnet20()
    written = export(model, "safetensors", tmp_path / "net.safetensors", description=DESCRIPTION)
    random = torch.get_rng_state()
    again = load(written.path)
    assert torch.equal(random, torch.get_rng_state()), "loading draws nothing from the user's generator"
    same_state(model, again)
    assert not again.training
    with torch.no_grad():
        assert torch.equal(model(images), again(images))
    assert list(mz.sparse.sparse_layers(again)) == list(mz.sparse.sparse_layers(model))


def test_what_was_written_is_told(tmp_path: Path) -> None:
    model = resnet20()
    written = export(model, "safetensors", str(tmp_path / "net.safetensors"), description=DESCRIPTION)
    layers = mz.sparse.sparse_layers(model).values()
    assert written.bytes == written.path.stat().st_size
    assert written.nnz == sum(layer.nnz for layer in layers)
    assert written.numel == sum(layer.pattern.numel for layer in layers)
    dense = export(model, "safetensors", tmp_path / "dense.safetensors", dense=True, description=DESCRIPTION)
    assert written.bytes < dense.bytes, "8 bytes a nonzero at density 0.3, against 4 a weight"


def test_the_description_travels(tmp_path: Path) -> None:
    path = export(resnet20(), "safetensors", tmp_path / "net.safetensors", description=DESCRIPTION).path
    assert describe(path) == DESCRIPTION
    assert describe(path).protocol_fingerprint == mz.data.protocols()["squash256"].fingerprint()
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["mezzotint"])
    assert metadata["format"] == "pt"
    assert header["mezzotint"] == mz.__version__
    assert header["layers"]["layer2.0.conv1"] == {
        "kind": "conv2d",
        "weight_shape": [32, 16, 3, 3],
        "nnz": header["layers"]["layer2.0.conv1"]["nnz"],
        "bias": False,
        "stride": [2, 2],
        "padding": [1, 1],
        "dilation": [1, 1],
        "groups": 1,
        "padding_mode": "zeros",
    }


def test_a_dense_file_loads_without_mezzotint(tmp_path: Path, images: Tensor) -> None:
    model = resnet20()
    path = export(model, "safetensors", tmp_path / "dense.safetensors", dense=True, description=DESCRIPTION).path
    plain = mz.models.build("resnet20", num_classes=4, in_channels=3, image_size=8)
    plain.load_state_dict(safetensors.torch.load_file(path))
    with torch.no_grad():
        expected, computed = model(images), plain.eval()(images)
    torch.testing.assert_close(computed, expected, rtol=1e-4, atol=1e-5)
    same_state(plain, load(path))
    assert not mz.sparse.sparse_layers(load(path))


def test_exporting_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = resnet20().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for dense in (False, True):
        export(model, "safetensors", tmp_path / "net.safetensors", dense=dense, description=DESCRIPTION)
    assert model.training
    assert len(mz.sparse.sparse_layers(model)) > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_network_of_the_users_own_needs_the_network(tmp_path: Path) -> None:
    model = own()
    path = export(model, "safetensors", tmp_path / "own.safetensors").path
    with pytest.raises(CheckpointError, match=r"architecture: received none.*load\(path, model=network\)"):
        load(path)
    again = load(path, model=Own())
    same_state(model, again)
    x = torch.randn(2, 2, 7, 7)
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    same_state(model, load(path, model=settle(mz.sparsify(Own(), 0.9))))


def test_a_network_that_differs_is_told_with_the_layer(tmp_path: Path) -> None:
    path = export(own(), "safetensors", tmp_path / "own.safetensors").path
    with pytest.raises(CheckpointError, match=r"layer 'body\.0'.*'stride': \[1, 1\].*'stride': \[2, 2\]"):
        load(path, model=Own(stride=1))
    with pytest.raises(CheckpointError, match=r"sparse layer 'body\.0'.*without such a layer"):
        load(path, model=nn.Sequential(nn.Conv2d(2, 4, 3)))
    other = Own()
    other.extra = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"extra\.weight"):
        load(path, model=other)
    smaller = Own()
    smaller.head = nn.Linear(2, 1)
    with pytest.raises(CheckpointError, match=r"layer 'head'"):
        load(path, model=smaller)


def test_a_single_layer_can_be_exported(tmp_path: Path) -> None:
    layer = mz.sparsify(nn.Linear(6, 5), 0.5)
    again = load(export(layer, "safetensors", tmp_path / "layer.safetensors").path, model=nn.Linear(6, 5))
    same_state(layer, again)


def test_every_truncation_is_told(tmp_path: Path) -> None:
    path = export(own(), "safetensors", tmp_path / "own.safetensors").path
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 60, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"own\.safetensors.*Export the network again"):
            load(path, model=Own())


def test_every_altered_byte_is_told(tmp_path: Path) -> None:
    path = export(own(), "safetensors", tmp_path / "own.safetensors").path
    content = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(len(content), (120,), generator=generator).tolist():
        altered = bytearray(content)
        altered[place] ^= 0x41
        path.write_bytes(altered)
        with pytest.raises(CheckpointError):
            load(path, model=Own())


def test_foreign_and_absent_files_are_told(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(CheckpointError, match="without mezzotint's header"):
        load(foreign)
    (tmp_path / "text.safetensors").write_text("not a network")
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        load(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match=r"an existing \.safetensors file or run folder"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="a path that does not exist"):
        describe(tmp_path / "absent")


def test_a_newer_format_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_file, "FORMAT", 2)
    path = export(own(), "safetensors", tmp_path / "own.safetensors").path
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 2; this version of mezzotint reads format 1"):
        load(path, model=Own())


def test_unknown_formats_and_impossible_places_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        NotRegistered,
        match=r"received safetensor; allowed: safetensors, pt2, onnx, onnx-sparse.*Did you mean 'safetensors'",
    ):
        export(own(), "safetensor", tmp_path / "x")
    with pytest.raises(InputError, match="which is a folder"):
        export(own(), "safetensors", tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="File exists"):
        export(own(), "safetensors", tmp_path / "file" / "x.safetensors")
    assert export(own(), "safetensors", tmp_path / "absent" / "deep" / "x.safetensors").path.is_file()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(own(), "safetensors", tmp_path / "own.safetensors").path
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        export(own(0.9), "safetensors", path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["own.safetensors"]


def test_descriptions_are_checked() -> None:
    with pytest.raises(InputError, match="input_shape"):
        Description(input_shape=(3, 0, 8))
    with pytest.raises(InputError, match="one of each per channel"):
        Description(mean=(0.5,))
    with pytest.raises(InputError, match="std above 0"):
        Description(mean=(0.5,), std=(0.0,))
    with pytest.raises(NotRegistered, match="squash256"):
        Description(protocol="squash25")
    saved = json.loads(json.dumps(DESCRIPTION.to_json()))
    assert Description.from_json(saved, "x") == replace(DESCRIPTION, arguments=saved["arguments"])
    with pytest.raises(CheckpointError, match="odd or missing mean"):
        Description.from_json({key: value for key, value in saved.items() if key != "mean"}, "x")


@pytest.mark.parametrize("dense", [False, True])
def test_a_pt2_archive_runs_with_any_batch(tmp_path: Path, dense: bool) -> None:
    model = settle(mz.sparsify(mz.models.build("digits_cnn", num_classes=4, in_channels=1, image_size=8), 0.3))
    description = Description(input_shape=(1, 8, 8), classes=("a", "b", "c", "d"))
    path = export(model, "pt2", tmp_path / "net.pt2", dense=dense, description=description).path
    extra = {pt2.HEADER: ""}
    program = torch.export.load(path, extra_files=extra)
    assert json.loads(extra[pt2.HEADER])["description"]["classes"] == ["a", "b", "c", "d"]
    operators = {str(node.target).split(".")[0] for node in program.graph.nodes if node.op == "call_function"}
    assert ("mezzotint" in operators) is not dense
    for batch in (1, 2, 5):
        x = torch.randn(batch, 1, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        model(torch.randn(1, 1, 8, 8))


def test_pt2_needs_the_shape_of_the_input_and_a_network_that_can_be_followed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input_shape: received nothing"):
        export(own(), "pt2", tmp_path / "own.pt2")

    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match=r"pt2: Branching: received a network that torch\.export cannot follow: "):
        export(Branching(), "pt2", tmp_path / "own.pt2", description=Description(input_shape=(2,)))
    assert not list(tmp_path.iterdir())


def run_folder(root: Path, model: nn.Module, protocol: str | None = None) -> Path:
    """A run folder as training writes it, with one checkpoint."""
    config = RunConfig(
        data=DataConfig(source="digits", protocol=protocol),
        model=ModelConfig(name="resnet20"),
        sparsity=SparsityConfig(density=0.3, method="static", exclude=("conv1",)),
    )
    record = InputRecord(
        classes=("a", "b", "c", "d"),
        in_channels=3,
        image_size=(8, 8),
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 1.0, 1.0),
        protocol=protocol or "as-is",
        protocol_fingerprint="as-is" if protocol is None else "0123456789abcdef",
        train_samples=10,
    )
    state = {"config": to_table(config), "data": asdict(record)}
    tensors = {"model": model.state_dict(), "optimizer": {}, "topology": {}}
    root.mkdir()
    checkpoint.save(root / "checkpoints", 12, state, tensors, keep=2)
    return root


def test_a_run_folder_is_exported_with_what_it_knows(tmp_path: Path) -> None:
    model = resnet20()
    run = run_folder(tmp_path / "run", model)
    for source in (run, run / "checkpoints", run / "checkpoints" / "step-00000012"):
        path = export(source, "safetensors", tmp_path / "net.safetensors").path
        same_state(model, load(path))
    found = describe(path)
    assert found == describe(run)
    assert (found.architecture, found.input_shape, found.protocol) == ("resnet20", (3, 8, 8), None)
    assert (found.classes, found.mean) == (("a", "b", "c", "d"), (0.1, 0.2, 0.3))


def test_another_meaning_of_the_protocol_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_folder(tmp_path / "run", resnet20(), protocol="squash256")
    with caplog.at_level(logging.WARNING):
        export(run, "safetensors", tmp_path / "net.safetensors")
    assert "was made with the protocol squash256 (0123456789abcdef)" in caplog.text


def test_damaged_checkpoints_are_told(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", resnet20())
    folder = run / "checkpoints" / "step-00000012"
    weights, state = folder / "model.safetensors", folder / "state.json"
    content, text = weights.read_bytes(), state.read_text()
    for damage in (content[:-5], content[:-1] + b"x"):
        weights.write_bytes(damage)
        with pytest.raises(CheckpointError, match=r"model\.safetensors.*(truncated|checksum)"):
            export(run, "safetensors", tmp_path / "net.safetensors")
    weights.write_bytes(content)
    for damaged in (text[: len(text) // 2], text.replace('"resnet20"', '"resnet18"'), "[]", ""):
        state.write_text(damaged)
        with pytest.raises(CheckpointError, match=r"state\.json"):
            export(run, "safetensors", tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="a folder without a checkpoint"):
        export(tmp_path, "safetensors", tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()


def test_every_format_of_the_table_writes_a_file(tmp_path: Path) -> None:
    model = mz.sparsify(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2)), 0.5)
    for name in FORMATS:
        written = export(model, name, tmp_path / f"net.{name}", description=Description(input_shape=(1, 4, 4)))
        assert written.path.stat().st_size == written.bytes > 0
