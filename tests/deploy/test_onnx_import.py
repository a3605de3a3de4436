"""Does an ONNX file become the network that it describes: sparse, led natively, with names and a free batch?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx_models import attribute, content, declared, many_operators, model, node, small_network
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Description, Session, load_onnx, lower
from mezzotint.deploy.onnx import fallback as fallbacks
from mezzotint.deploy.onnx import read_onnx, schema, tensors, wire
from mezzotint.errors import CheckpointError, InputError, NotRegistered, ShapeError, UnsupportedModel
from mezzotint.kernels import native
from mezzotint.sparse import SparseConv2d, SparseLinear


def reference(made: schema.Model, x: Tensor) -> Tensor:
    """What ``small_network`` computes, by PyTorch's functions."""
    assert made.graph is not None
    w = {one.name: tensors.read_tensor(one, None) for one in made.graph.initializer}
    y = F.conv2d(x, w["conv1.weight"], padding=1)
    y = F.relu(F.batch_norm(y, w["bn.mean"], w["bn.var"], w["bn.weight"], w["bn.bias"]))
    y = F.relu(F.conv2d(y, w["conv2.weight"], padding=1) + y)
    return F.linear(F.max_pool2d(y, 2).mean((2, 3)), w["fc.weight"], w["fc.bias"])


@pytest.mark.parametrize("density", [1.0, 0.2])
def test_a_network_is_computed(density: float) -> None:
    made = small_network(density)
    module = load_onnx(content(made))
    for batch in (1, 5, 33):
        x = torch.randn(batch, 3, 8, 8)
        torch.testing.assert_close(module(x), reference(made, x), rtol=1e-4, atol=1e-5)


def test_zeros_become_patterns_and_the_graph_is_of_plain_modules() -> None:
    made = small_network(0.2)
    module = load_onnx(content(made))
    kinds = {name: type(child) for name, child in module.named_modules() if name}
    assert [kinds[name] for name in ("conv1", "conv2", "fc")] == [SparseConv2d, SparseConv2d, SparseLinear]
    others = {nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten}
    assert set(kinds.values()) == {SparseConv2d, SparseLinear, *others}
    assert made.graph is not None
    dense = tensors.read_tensor(made.graph.initializer[0], None)
    conv = module.get_submodule("conv1")
    assert isinstance(conv, SparseConv2d)
    assert torch.equal(conv.pattern.to_mask(), dense != 0)
    assert torch.equal(conv.dense_weight(), dense)
    assert not [one for one in load_onnx(content(small_network())).modules() if isinstance(one, SparseConv2d)]


def test_chains_of_shapes_vanish() -> None:
    called = [str(one.target) for one in load_onnx(content(small_network())).graph.nodes if one.op == "call_function"]
    assert len(called) == 1, called  # the residual sum: the reshape is a flattening without computed sizes


@pytest.mark.skipif(native.unavailable() is not None, reason="the native library is not built")
def test_the_native_layout_holds_it() -> None:
    made = small_network(0.2)
    lowered = lower(load_onnx(content(made)), torch.zeros(2, 3, 8, 8), layout="native")
    assert "native: sparse convolution + batch norm + ReLU" in lowered.explain()
    assert "native: sparse convolution + add + ReLU" in lowered.explain()
    assert lowered.native_steps >= 3
    x = torch.randn(17, 3, 8, 8)
    torch.testing.assert_close(lowered(x), reference(made, x), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(native.unavailable() is not None, reason="the native library is not built")
def test_functions_that_cannot_be_traced_again_do_not_hinder_lowering() -> None:
    """They look at sizes, on which ``torch.fx`` could not follow them: a graph is taken as it is."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(8, 8, 3, 3, generator=generator) * (torch.rand(8, 8, 3, 3, generator=generator) < 0.1)
    nodes = [
        node("Conv", "x w", "c", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Relu", "c", "r"),
        node("AveragePool", "r", "y", kernel_shape=[3, 3], pads=[2, 0, 0, 1]),
    ]
    module = load_onnx(content(model(nodes, {"x": ("N", 8, "H", "W")}, "y", {"w": weight})))
    x = torch.randn(4, 8, 9, 8, generator=generator)
    lowered = lower(module, x, layout="native")
    assert "native: sparse convolution + ReLU" in lowered.explain()
    inner = F.relu(F.conv2d(F.pad(x, (0, 1, 1, 1)), weight, stride=2))
    padded, ones = F.pad(inner, (0, 1, 2, 0)), F.pad(torch.ones_like(inner), (0, 1, 2, 0))
    wanted = F.avg_pool2d(padded, 3, 1) / F.avg_pool2d(ones, 3, 1)
    torch.testing.assert_close(lowered(x), wanted, rtol=1e-4, atol=1e-5)


def test_a_session_has_the_names_shapes_and_types_of_the_file(tmp_path: Path) -> None:
    made = small_network(0.2)
    path = tmp_path / "net.onnx"
    path.write_bytes(content(made))
    session = Session(path, threads=1)
    assert [(one.name, one.shape, one.dtype) for one in session.inputs] == [("image", (None, 3, 8, 8), "float32")]
    assert [(one.name, one.shape, one.dtype) for one in session.outputs] == [("logits", (None, 5), "float32")]
    x = torch.randn(3, 3, 8, 8)
    (found,) = session.run({"image": x.numpy()})
    np.testing.assert_allclose(found, reference(made, x).numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ShapeError, match=r"\[N, 3, 8, 8\]"):
        session.run([np.zeros((1, 3, 9, 9), np.float32)])
    assert session.description.input_shape == (3, 8, 8)
    assert mz.deploy.describe(path) == session.description


def test_several_inputs_of_several_types_and_several_outputs(tmp_path: Path) -> None:
    made = model(
        [node("Gather", "table index", "rows"), node("Neg", "table", "minus")], {"table": ("A", 4)}, "minus rows"
    )
    assert made.graph is not None
    made.graph.input.append(declared("index", ("B",), torch.int64))
    path = tmp_path / "net.onnx"
    path.write_bytes(content(made))
    session = Session(path)
    table, index = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([2, -3, 1, 1])
    minus, rows = session.run([table, index])
    assert [one.name for one in session.outputs] == ["minus", "rows"]
    assert [one.shape for one in session.outputs] == [(None, 4), (None, 4)]
    np.testing.assert_array_equal(rows, table[index])
    np.testing.assert_array_equal(minus, -table)


def test_a_fixed_batch_can_be_freed(tmp_path: Path) -> None:
    made = model([node("Relu", "x", "a"), node("Flatten", "a", "y")], {"x": (1, 3, 4, 4)}, "y")
    path = tmp_path / "net.onnx"
    path.write_bytes(content(made))
    with pytest.raises(ShapeError):
        Session(path).run([np.zeros((2, 3, 4, 4), np.float32)])
    assert Session(path, description=Description(input_shape=(3, 4, 4))).run([np.ones((7, 3, 4, 4), np.float32)])[
        0
    ].shape == (7, 48)
    assert load_onnx(path, shapes={"x": (None, 3, 6, 6)})(torch.zeros(5, 3, 6, 6)).shape == (5, 108)
    with pytest.raises(CheckpointError, match="no input 'image' but x"):
        load_onnx(path, shapes={"image": (None, 3, 6, 6)})


def test_all_nodes_that_cannot_be_run_are_named_at_once() -> None:
    nodes = [
        node("Relu", "x", "a"),
        node("NonMaxSuppression", "a", "b", "boxes"),
        node("Reluu", "b", "c", "typo"),
        node("Relu", "c", "d", "fine_but_fed_by_the_refused"),
        node("Conv", "a w", "e", "wrong_channels"),
        node("Softmax", "a", "f", "unknown_setting", temperature=2.0),
        node("Elu", "a", "g", "wrong_type", alpha=1),
    ]
    with pytest.raises(UnsupportedModel) as caught:
        load_onnx(content(model(nodes, {"x": ("N", 3, 8, 8)}, "f", {"w": torch.zeros(4, 5, 3, 3)})))
    assert [one[:2] for one in caught.value.nodes] == [
        ("boxes", "NonMaxSuppression"),
        ("typo", "Reluu"),
        ("wrong_channels", "Conv"),
        ("unknown_setting", "Softmax"),
        ("wrong_type", "Elu"),
    ]
    told = str(caught.value)
    assert "5 nodes of the model cannot be run" in told
    assert "Did you mean 'Relu'?" in told
    assert "3 channels meet a weight of the shape [4, 5, 3, 3]" in told
    assert "its attribute temperature is not known" in told


def test_other_domains_are_not_taken_for_ours() -> None:
    strange = node("Relu", "x", "y", "mine")
    strange.domain = "com.example"
    with pytest.raises(UnsupportedModel, match=r"domain 'com\.example'"):
        load_onnx(content(model([strange], {"x": (1,)}, "y")))


def test_external_data_lies_in_the_models_folder(tmp_path: Path) -> None:
    weight = torch.randn(4, 4)
    made = model([node("MatMul", "x w", "y")], {"x": ("N", 4)}, "y", {"w": weight})
    assert made.graph is not None
    stored = made.graph.initializer[0]
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "weights.bin").write_bytes(b"\0" * 8 + bytes(stored.raw_data))
    (tmp_path / "weights.bin").write_bytes(bytes(stored.raw_data))
    path = tmp_path / "inside" / "net.onnx"

    def written(**entries: str) -> Path:
        stored.raw_data, stored.data_location = b"", 1
        stored.external_data = [schema.Entry(key=key, value=value) for key, value in entries.items()]
        path.write_bytes(content(made))
        return path

    x = torch.randn(2, 4)
    module = load_onnx(written(location="weights.bin", offset="8", length="64"))
    torch.testing.assert_close(module(x), x @ weight)
    for entries in (
        {"location": "../weights.bin"},
        {"location": str(tmp_path / "weights.bin")},
        {"location": "missing.bin"},
        {"location": "weights.bin", "offset": "16"},
        {"location": "weights.bin", "offset": "-1"},
        {"location": "weights.bin", "length": "128"},
        {"location": "weights.bin", "length": "many"},
        {},
    ):
        with pytest.raises(CheckpointError, match=r"data in|wanted at offset"):
            load_onnx(written(**entries))
    (tmp_path / "inside" / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(CheckpointError, match="not in the model's folder"):
        load_onnx(written(location="link.bin"))
    with pytest.raises(CheckpointError, match="pass its path"):
        load_onnx(written(location="weights.bin", offset="8").read_bytes())


def test_sparse_initializers_are_read_in_both_spellings() -> None:
    dense = torch.zeros(4, 8)
    dense[0, 3], dense[2, 7] = 2.0, -1.0
    made = model([node("Gemm", "x w", "y", transB=1)], {"x": ("N", 8)}, "y")
    assert made.graph is not None
    values = tensors.write_tensor(torch.tensor([2.0, -1.0]), "w")
    x = torch.randn(3, 8)
    for indices in (torch.tensor([3, 23]), torch.tensor([[0, 3], [2, 7]])):
        sparse = schema.SparseTensor(values=values, indices=tensors.write_tensor(indices, "i"), dims=np.array([4, 8]))
        made.graph.sparse_initializer = [sparse]
        module = load_onnx(content(made))
        assert any(isinstance(one, SparseLinear) for one in module.modules())
        torch.testing.assert_close(module(x), x @ dense.t())
    for indices in (torch.tensor([3, 32]), torch.tensor([-1, 3]), torch.tensor([[0, 8], [2, 7]]), torch.tensor([3])):
        made.graph.sparse_initializer[0].indices = tensors.write_tensor(indices, "i")
        with pytest.raises(CheckpointError, match="sparse tensor"):
            load_onnx(content(made))


def test_quantised_weights_are_folded_to_floats() -> None:
    weight = torch.randint(-128, 128, (4, 3, 3, 3), dtype=torch.int8)
    scale = torch.rand(4) + 0.1
    nodes = [
        node("DequantizeLinear", "q s", "w", axis=0),
        node("Conv", "x w", "y", "conv"),
    ]
    module = load_onnx(content(model(nodes, {"x": ("N", 3, 5, 5)}, "y", {"q": weight, "s": scale})))
    assert [one.op for one in module.graph.nodes] == ["placeholder", "call_module", "output"]
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(module(x), F.conv2d(x, weight * scale[:, None, None, None]))


def test_a_quantised_network_is_one_program_of_the_same_numbers() -> None:
    """Rounded inputs, weights and results of each layer, as tools for quantisation write them."""
    torch.manual_seed(2)
    constants = {
        "a": torch.tensor(0.02),
        "a0": torch.tensor(128, dtype=torch.uint8),
        "b": torch.tensor([0.03125]),  # one number may be a list of one
        "b0": torch.tensor([-128], dtype=torch.int8),
        "wq": torch.randint(-128, 128, (6, 3, 3, 3), dtype=torch.int8),
        "vq": torch.randint(-128, 128, (6, 6, 3, 3), dtype=torch.int8),
        "s": torch.rand(6) * 0.005,
    }
    nodes = [
        *(node("QuantizeLinear", "x a a0", "xq"), node("DequantizeLinear", "xq a a0", "xr")),
        *(node("DequantizeLinear", "wq s", "w", axis=0), node("DequantizeLinear", "vq s", "v", axis=0)),
        *(node("Conv", "xr w", "c", "one", pads=[1, 1, 1, 1]), node("Relu", "c", "d")),
        *(node("QuantizeLinear", "d b b0", "dq"), node("DequantizeLinear", "dq b b0", "dr")),
        *(node("Conv", "dr v", "e", "two", pads=[1, 1, 1, 1]), node("Add", "e dr", "f")),
        *(node("QuantizeLinear", "f a a0", "fq"), node("DequantizeLinear", "fq a a0", "y")),
    ]
    whole = content(model(nodes, {"x": ("N", 3, 7, 9)}, "y", constants))
    x = torch.randn(5, 3, 7, 9)

    def grid(numbers: Tensor, step: float, zero: int, low: int, high: int) -> Tensor:
        return ((numbers / step).round() + zero).clamp(low, high).sub(zero) * step

    w, v = (constants[name] * constants["s"][:, None, None, None] for name in ("wq", "vq"))
    one = grid(F.conv2d(grid(x, 0.02, 128, 0, 255), w, padding=1).relu(), 0.03125, -128, -128, 127)
    wanted = grid(F.conv2d(one, v, padding=1) + one, 0.02, 128, 0, 255)
    torch.testing.assert_close(load_onnx(whole)(x), wanted)
    session = Session(load_onnx(whole), 2)
    found = torch.from_numpy(session.run([x.numpy()])[0])
    # A sum whose last bits differ may fall on the other side of a half.
    assert float(((found - wanted).abs() > 1e-5).float().mean()) < 0.01
    assert float((found - wanted).abs().max()) < 0.021
    told = session.explain()
    assert "in 1 native programs" in told
    assert "PyTorch" not in told


@pytest.mark.parametrize(
    ("constants", "reads"),
    [
        ({"z": torch.tensor(1, dtype=torch.uint8)}, "a z"),  # another zero point
        ({"t": torch.tensor(0.5)}, "t"),  # another scale
        ({"a": torch.tensor([0.1, 0.2, 0.3])}, "a"),  # one a channel
    ],
)
def test_roundings_that_are_not_one_stay_two(constants: dict[str, Tensor], reads: str) -> None:
    first = "a _" if "z" in constants else "a"
    nodes = [node("QuantizeLinear", f"x {first}", "q"), node("DequantizeLinear", f"q {reads}", "y")]
    module = load_onnx(content(model(nodes, {"x": ("N", 3, 2, 2)}, "y", {"a": torch.tensor(0.1), **constants})))
    x = torch.rand(2, 3, 2, 2)
    scale, other = constants.get("a", torch.tensor(0.1)).reshape(-1, 1, 1), constants.get("t")
    wanted = ((x / scale).round() - constants.get("z", torch.tensor(0.0))) * (scale if other is None else other)
    torch.testing.assert_close(module(x), wanted)


def test_free_heights_and_widths_work_too() -> None:
    constants = {"w": torch.randn(4, 3, 3, 3), "two": torch.tensor([1.0, 1.0, 2.0, 2.0])}
    nodes = [
        node("Conv", "x w", "c", auto_pad="SAME_UPPER", strides=[2, 2]),
        node(
            "Resize", "c _ two", "r", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        ),
        node("Shape", "r", "s", start=0, end=2),
        node("Constant", "", "rest", value_ints=[-1]),
        node("Concat", "s rest", "wanted", axis=0),
        node("Reshape", "r wanted", "y"),
    ]
    module = load_onnx(content(model(nodes, {"x": ("N", 3, "H", "W")}, "y", constants)))
    x = torch.randn(2, 3, 7, 9)
    down = F.conv2d(F.pad(x, (1, 1, 1, 1)), constants["w"], stride=2)
    wanted = F.interpolate(down, scale_factor=2).reshape(2, 4, -1)
    torch.testing.assert_close(module(x), wanted)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((10, node("Clip", "x", "y", min=0.0, max=1.0)), (11, node("Clip", "x zero one", "y"))),
        ((9, node("Slice", "x", "y", starts=[1], ends=[3], axes=[1])), (10, node("Slice", "x i1 i3 i1", "y"))),
        ((10, node("Pad", "x", "y", pads=[0, 1, 0, 2])), (11, node("Pad", "x pads", "y"))),
        ((12, node("Squeeze", "x1", "y", axes=[0])), (13, node("Squeeze", "x1 i0", "y"))),
        ((12, node("ReduceSum", "x", "y", axes=[1])), (13, node("ReduceSum", "x i1", "y"))),
        ((17, node("ReduceMean", "x", "y", axes=[1])), (18, node("ReduceMean", "x i1", "y"))),
        ((12, node("Softmax", "x", "y", axis=1)), (13, node("Softmax", "x", "y"))),
        (
            (9, node("Upsample", "x scales", "y")),
            (11, node("Resize", "x _ scales", "y", coordinate_transformation_mode="asymmetric", nearest_mode="floor")),
        ),
        ((12, node("Split", "x", "y rest", split=[1, 4], axis=1)), (13, node("Split", "x sizes", "y rest", axis=1))),
        ((12, node("Dropout", "x", "y")), (6 + 1, node("Dropout", "x", "y", ratio=0.3))),
    ],
)
def test_an_operator_means_the_same_in_its_old_and_new_spelling(old: tuple[int, Any], new: tuple[int, Any]) -> None:
    constants = {
        "zero": torch.tensor(0.0),
        "one": torch.tensor(1.0),
        "i0": torch.tensor([0]),
        "i1": torch.tensor([1]),
        "i3": torch.tensor([3]),
        "pads": torch.tensor([0, 1, 0, 2]),
        "x1": torch.randn(1, 2, 5),
        "scales": torch.tensor([1.0, 2.0]),
        "sizes": torch.tensor([1, 4]),
    }
    x = torch.randn(3, 5)
    results = []
    for opset, one in (old, new):
        made = model(
            [one, node("Add", "y bias", "z")], {"x": ("N", 5)}, "z", {**constants, "bias": torch.tensor(0.0)}, opset
        )
        results.append(load_onnx(content(made))(x))
    torch.testing.assert_close(*results)


def test_constants_in_the_wrong_place_are_told() -> None:
    made = model([node("Clip", "x", "y", min=0.0)], {"x": (2,)}, "y", opset=17)
    with pytest.raises(UnsupportedModel, match="its attribute min is not known"):
        load_onnx(content(made))


class _Stub:
    """Stands for ONNX Runtime where it is not installed."""

    def __init__(self, source: object, threads: int | None = None) -> None:
        self.inputs = self.outputs = (fallbacks.TensorInfo(name="x", shape=(None, 2), dtype="float32"),)

    def __call__(self, x: Tensor) -> Tensor:
        return x + 1

    def __deepcopy__(self, memo: object) -> _Stub:
        return self


def test_the_fallback_runs_what_we_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mezzotint.deploy.onnx.load.Runtime", _Stub)
    path = tmp_path / "net.onnx"
    path.write_bytes(content(model([node("Unknown", "x", "y", "odd")], {"x": ("N", 2)}, "y")))
    with pytest.raises(UnsupportedModel, match=r"'odd' \(Unknown\)"):
        Session(path)
    with caplog.at_level(logging.WARNING, logger="mezzotint.deploy.onnx.load"):
        session = Session(path, fallback="onnxruntime")
    assert "ONNX Runtime runs" in caplog.text
    assert "'odd'" in caplog.text
    np.testing.assert_array_equal(session.run([np.ones((3, 2), np.float32)])[0], np.full((3, 2), 2, np.float32))
    with pytest.raises(NotRegistered, match="onnxruntime, or None"):
        Session(path, fallback="onnx")


def test_onnx_runtime_itself_runs_a_whole_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (its wheel is 28 MB)")
    made = model([node("TopK", "x k", "y i")], {"x": ("N", 4)}, "", {"k": torch.tensor([2])})
    assert made.graph is not None
    made.graph.output = [declared("y", ("N", 2)), declared("i", ("N", 2), torch.int64)]
    path = tmp_path / "net.onnx"
    path.write_bytes(content(made))
    session = Session(path, fallback="onnxruntime")
    best, places = session.run([np.array([[1, 4, 2, 3]], np.float32)])
    assert best.tolist() == [[4, 3]]
    assert places.tolist() == [[1, 3]]


def test_a_missing_runtime_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    path = tmp_path / "net.onnx"
    path.write_bytes(content(model([node("Unknown", "x", "y", "odd")], {"x": ("N", 2)}, "y")))
    with pytest.raises(InputError, match="pip install onnxruntime"):
        Session(path, fallback="onnxruntime")


def test_attributes_are_written_as_the_tests_need_them() -> None:
    again = wire.decode(schema.Attribute, memoryview(wire.encode(attribute("t", torch.tensor([1, 2])))))
    assert again.t is not None
    assert tensors.read_tensor(again.t, None).tolist() == [1, 2]


def test_odd_names_do_not_disturb() -> None:
    made = model([node("Relu", "self", "def"), node("Neg", "def", "1/import")], {"self": ("N", 2)}, "def 1/import")
    found = read_onnx(content(made))
    first, second = found.module(torch.tensor([[-1.0, 2.0]]))
    assert torch.equal(first, torch.tensor([[0.0, 2.0]]))
    assert torch.equal(second, -first)
    assert [one.name for one in found.outputs] == ["def", "1/import"]


def own_operator(name: str, nodes: list[schema.Node], **defaults: float) -> schema.Function:
    """A function of the domain "mine" from ``a`` to ``b``."""
    return schema.Function(
        name=name,
        domain="mine",
        input=["a"],
        output=["b"],
        node=nodes,
        attribute_proto=[attribute(key, value) for key, value in defaults.items()],
        opset_import=[schema.OperatorSet(version=17)],
    )


def mine(op: str, reads: str, makes: str, **attributes: Any) -> schema.Node:
    made = node(op, reads, makes, **attributes)
    made.domain = "mine"
    return made


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions_of_one_to_three_axes(axes: int) -> None:
    generator = torch.Generator().manual_seed(axes)
    sizes = (7, 6, 5)[:axes]
    weight, bias = torch.randn(4, 2, *[3, 2, 2][:axes], generator=generator), torch.randn(4, generator=generator)
    settings: dict[str, Any] = {"strides": [2, 1, 1][:axes], "dilations": [1, 2, 1][:axes], "group": 2}
    constants = {"w": weight, "b": bias}
    x = torch.randn(3, 4, *sizes, generator=generator)
    run = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    arguments = (weight, bias, settings["strides"], 0, settings["dilations"], 2)
    for pads in ([1] * axes + [1] * axes, [0, 1, 2][:axes] + [2, 0, 1][:axes]):
        made = model([node("Conv", "x w b", "y", pads=pads, **settings)], {"x": ("N", 4, *sizes)}, "y", constants)
        around = [side for axis in reversed(range(axes)) for side in (pads[axis], pads[axes + axis])]
        torch.testing.assert_close(load_onnx(content(made))(x), run(F.pad(x, around), *arguments))


def test_a_network_beside_a_file_that_holds_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content(small_network()))
    with pytest.raises(InputError, match="which holds its network"):
        mz.deploy.load(path, model=nn.Linear(2, 2))
    with pytest.raises(NotRegistered, match="onnxruntime, or None"):
        Session(nn.Linear(2, 2), fallback="ort")


def test_functions_of_the_model_are_written_out() -> None:
    leaky = node("LeakyRelu", "t", "b")
    leaky.attribute = [schema.Attribute(name="alpha", type=1, ref_attr_name="slope")]
    steep = own_operator("Steep", [node("Neg", "a", "t"), leaky], slope=0.5)
    twice = own_operator("Twice", [mine("Steep", "a", "t", slope=0.25), mine("Steep", "t", "b")])
    through = own_operator("Through", [])
    through.output = ["a"]
    made = model([mine("Twice", "x", "y"), mine("Steep", "y", "z"), mine("Through", "z", "w")], {"x": ("N", 2)}, "w")
    made.functions = [steep, twice, through]
    x = torch.randn(3, 2)
    wanted = F.leaky_relu(-F.leaky_relu(-F.leaky_relu(-x, 0.25), 0.5), 0.5)
    torch.testing.assert_close(load_onnx(content(made))(x), wanted)


def test_functions_without_end_are_told() -> None:
    made = model([mine("Loops", "x", "y")], {"x": ("N", 2)}, "y")
    made.functions = [own_operator("Loops", [mine("Loops", "a", "b")])]
    with pytest.raises(CheckpointError, match="16 deep"):
        load_onnx(content(made))
    doubling = [mine("F0", "a", "t"), mine("F0", "t", "b")]
    made.functions = [own_operator("Loops", [mine("F13", "a", "b")]), own_operator("F0", [node("Neg", "a", "t")] * 40)]
    for level in range(1, 14):
        calls = [mine(f"F{level - 1}", one.input[0], one.output[0]) for one in doubling]
        made.functions.append(own_operator(f"F{level}", calls))
    with pytest.raises(CheckpointError, match="more than 262144 nodes"):
        load_onnx(content(made))


def test_an_optional_result_of_a_refused_node_poisons_nothing() -> None:
    nodes = [
        node("Unknown", "x", "a", "first"),
        node("Resize", "x _ scales", "y", "second", coordinate_transformation_mode="nonsense"),
        node("Clip", "x _ bad", "z", "third", oddity=1),
    ]
    nodes[0].output.append("")
    constants = {"scales": torch.ones(2), "bad": torch.tensor(1.0)}
    with pytest.raises(UnsupportedModel) as caught:
        load_onnx(content(model(nodes, {"x": ("N", 2)}, "z", constants)))
    assert [one[0] for one in caught.value.nodes] == ["first", "second", "third"]


def test_operators_with_windows_axes_and_indices_agree_with_onnx_runtime() -> None:
    """Result by result through a chain of them, where one that is wrong would disturb all behind it."""
    onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (its wheel is 28 MB)")
    made = many_operators()
    assert made.graph is not None
    names = [name for one in made.graph.node for name in one.output if name not in ("i", "o", "rest")]
    made.graph.output = [declared(name, ()) for name in names]
    x = torch.randn(3, 3, 12, 10)
    found = load_onnx(content(made))(x)
    theirs = onnx.load_from_string(content(made))
    for output in theirs.graph.output:
        output.type.tensor_type.ClearField("shape")
    session = runtime.InferenceSession(theirs.SerializeToString(), providers=["CPUExecutionProvider"])
    assert len(found) == len(names) > 20
    for name, ours, wanted in zip(names, found, session.run(None, {"image": x.numpy()}), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), wanted, rtol=1e-4, atol=1e-5, err_msg=name)
