"""Is a network written as an ONNX file that others take, and is it the same network when it is read again?"""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from deploy_networks import DESCRIPTION, own, resnet20
from torch import Tensor, nn

from mezzotint.deploy import Description, Session, describe, export, load
from mezzotint.deploy.onnx import schema, wire
from mezzotint.errors import CheckpointError, InputError, UnsupportedModel
from mezzotint.lowering.worth import layer_pays
from mezzotint.sparse import SparseConv2d, sparse_layers


def read(path: Path) -> schema.Model:
    return wire.decode(schema.Model, memoryview(path.read_bytes()))


@pytest.mark.parametrize("format", ["onnx", "onnx-sparse"])
def test_a_sparse_network_is_the_same_when_it_is_read_again(tmp_path: Path, format: str) -> None:
    model = resnet20()
    exported = export(model, format, tmp_path / "net.onnx", description=DESCRIPTION)
    assert exported.bytes == exported.path.stat().st_size
    again = load(exported.path)
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-5)
    worth = {name: layer.pattern for name, layer in sparse_layers(model).items() if layer_pays(layer.density)}
    found = {name: layer.pattern for name, layer in sparse_layers(again).items()}
    assert found.keys() == {name.replace(".", "_") for name in worth}
    assert 0 < len(worth) < len(sparse_layers(model))
    for name, pattern in worth.items():
        assert torch.equal(found[name.replace(".", "_")].indices, pattern.indices)
    session = Session(exported.path)
    assert session.description == describe(exported.path) == DESCRIPTION
    assert [one.shape for one in session.inputs] == [(None, 3, 8, 8)]
    assert [(one.name, one.shape) for one in session.outputs] == [("output", (None, 4))]


def test_sparse_initializers_take_twelve_bytes_a_nonzero(tmp_path: Path) -> None:
    model = resnet20(0.1)
    dense = export(model, "onnx", tmp_path / "dense.onnx", description=DESCRIPTION)
    sparse = export(model, "onnx-sparse", tmp_path / "sparse.onnx", description=DESCRIPTION)
    assert dense.bytes - 4 * dense.numel == pytest.approx(sparse.bytes - 12 * sparse.nnz, abs=4000)
    written = read(sparse.path)
    assert written.graph is not None
    assert len(written.graph.sparse_initializer) == len(sparse_layers(model))
    assert read(dense.path).graph.sparse_initializer == []  # type: ignore[union-attr]


def test_others_take_the_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
    for format in ("onnx", "onnx-sparse"):
        path = export(resnet20(), format, tmp_path / f"{format}.onnx", description=DESCRIPTION).path
        # The package's shape inference, which full_check asks for, does not know sparse initializers.
        onnx.checker.check_model(onnx.load(path), full_check=format == "onnx")
    model = onnx.load(tmp_path / "onnx.onnx")
    entries = {one.key: one.value for one in model.metadata_props}
    assert json.loads(entries["classes"]) == list(DESCRIPTION.classes)
    assert json.loads(entries["mean"]) == list(DESCRIPTION.mean)
    assert entries["protocol"] == "squash256"
    assert model.opset_import[0].version >= 17
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize("format", ["onnx", "onnx-sparse"])
def test_onnx_runtime_computes_the_same(tmp_path: Path, format: str) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (its wheel is 28 MB)")
    model = resnet20()
    path = export(model, format, tmp_path / "net.onnx", description=DESCRIPTION).path
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 4):
        x = torch.randn(batch, 3, 8, 8)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_several_outputs_keep_their_names(tmp_path: Path) -> None:
    model, x = own(), torch.randn(3, 2, 9, 9)
    path = export(model, "onnx", tmp_path / "own.onnx", description=Description(input_shape=(2, 9, 9))).path
    session = Session(path)
    assert [one.name for one in session.inputs] == ["image"]
    assert [one.name for one in session.outputs] == ["logits", "features"]
    for found, wanted in zip(session.run([x.numpy()]), model(x).values(), strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-4, atol=1e-5)


class Much(nn.Module):
    """What people write between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, 6, 1, 1))
        self.conv = nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect")
        self.turn = nn.ConvTranspose2d(6, 6, 2, stride=2, groups=2, output_padding=1)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.acts = nn.ModuleList(
            [nn.GELU(), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Hardsigmoid(), nn.Softplus(), nn.PReLU(6), nn.PReLU()]
        )
        self.more = nn.ModuleList(
            [nn.ELU(0.7), nn.CELU(), nn.SELU(), nn.LeakyReLU(0.2), nn.ReLU6(), nn.Hardtanh(-2, 2)]
        )
        self.pads = nn.ModuleList(
            [nn.ZeroPad2d((1, 0, 2, 1)), nn.ReflectionPad2d(1), nn.ReplicationPad2d((0, 1, 0, 1))]
        )
        self.pools = nn.ModuleList([nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d(2)])
        self.up, self.shuffle = nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x) * self.scale + 0.5
        for act in [*self.acts, *self.more]:
            y = act(y)
        y = self.pads[2](self.pads[1](self.pads[0](self.turn(y))))
        y = self.up(self.pools[1](self.pools[0](y)))[:, :, 1:, ::2]
        y = F.interpolate(F.pad(y, (1, 1)), scale_factor=2)
        z = self.mix(self.norm(y.permute(0, 2, 3, 1))).transpose(1, 3)
        z = torch.cat([z - 1, z / 2, F.leaky_relu(z), F.gelu(z)], dim=1)
        z = self.pools[2](self.shuffle(z))
        z = F.avg_pool2d(z, 2).view(z.size(0), -1) + z.mean((2, 3))
        return F.softmax(F.dropout(z, training=self.training), dim=1)


def test_what_lies_between_layers_is_written_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Much().eval()
    path = export(model, "onnx", tmp_path / "much.onnx", description=Description(input_shape=(3, 8, 8))).path
    if find_spec("onnx") is not None:
        onnx = import_module("onnx")
        onnx.checker.check_model(onnx.load(path), full_check=True)
    x = torch.randn(3, 3, 8, 8)
    np.testing.assert_allclose(Session(path).run([x.numpy()])[0], model(x).detach().numpy(), rtol=1e-4, atol=1e-6)


class Strange(nn.Module):
    """Two parts without counterpart, and one that has one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.odd, self.lstm = nn.Conv2d(3, 4, 3), nn.RReLU(), nn.Bilinear(4, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cumsum(self.odd(self.first(x)).mean((2, 3)), 1)
        return self.lstm(y, y)


def test_all_parts_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    description = Description(input_shape=(3, 8, 8))
    with pytest.raises(UnsupportedModel) as caught:
        export(Strange(), "onnx", tmp_path / "net.onnx", description=description)
    assert caught.value.nodes[0][:2] == ("odd", "RReLU")
    assert "no operator for cumsum" in str(caught.value)
    assert not list(tmp_path.iterdir())
    hooked = nn.Sequential(nn.Conv2d(3, 4, 3))
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedModel, match="hooks"):
        export(hooked, "onnx", tmp_path / "net.onnx", description=description)
    with pytest.raises(InputError, match="input_shape"):
        export(nn.Conv2d(3, 4, 3), "onnx", tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"input_shape: received \(3, 8, 8\).*5 channels"):
        export(nn.Sequential(nn.Conv2d(5, 4, 3)), "onnx", tmp_path / "net.onnx", description=description)


class Optional(nn.Module):
    """Does something else with arguments that are seldom given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor, aux: Tensor | None = None, *, factor: float = 2.0) -> Tensor:
        y = self.conv(x)
        if aux is not None:
            y = y - 1
        return y * factor if factor > 1 else y


def test_arguments_that_may_be_left_out_are_what_they_are_by_default(tmp_path: Path) -> None:
    model, x = Optional().eval(), torch.randn(2, 3, 8, 8)
    path = export(model, "onnx", tmp_path / "net.onnx", description=Description(input_shape=(3, 8, 8))).path
    assert [one.name for one in read(path).graph.input] == ["x"]  # type: ignore[union-attr]
    np.testing.assert_allclose(Session(path).run([x.numpy()])[0], model(x).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_altered_metadata_are_told(tmp_path: Path) -> None:
    path = export(resnet20(), "onnx", tmp_path / "net.onnx", description=DESCRIPTION).path
    model = read(path)
    model.metadata_props[0].value = "{not JSON"
    path.write_bytes(wire.encode(model))
    with pytest.raises(CheckpointError, match="metadata of mezzotint"):
        describe(path)
    model.metadata_props[0].value = json.dumps({"description": {"architecture": 3}})
    path.write_bytes(wire.encode(model))
    with pytest.raises(CheckpointError, match="description"):
        load(path)


def test_an_attached_network_is_written_by_its_own_forward(tmp_path: Path) -> None:
    model = resnet20()
    model(torch.randn(32, 3, 8, 8))  # plans the native forward
    path = export(model, "onnx", tmp_path / "net.onnx", description=DESCRIPTION).path
    ops = {one.op_type for one in read(path).graph.node}  # type: ignore[union-attr]
    assert ops >= {"Conv", "BatchNormalization", "Relu", "Add", "GlobalAveragePool", "Gemm"}
    assert any(isinstance(one, SparseConv2d) for one in model.modules())
