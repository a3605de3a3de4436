"""Are sizes that a description leaves free, free in what is written, and right for every size?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from deploy_networks import images, resnet20, settle
from onnx_models import content, model, node
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Description, Session, describe, export
from mezzotint.deploy.onnx import schema, wire
from mezzotint.errors import InputError, UnsupportedModel

FREE = Description(input_shape=(3, None, None))


class Calls(nn.Module):
    """A convolution before and after a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.function = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.function(self.one(x)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual network": resnet20,
    "segmentation": lambda: Calls(lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0, mode="bilinear")),
    "pixels in a row": lambda: nn.Sequential(Calls(torch.relu), nn.Flatten(2)),
    "kept by name": lambda: Calls(lambda x: x.reshape(x.shape[0], 4, x.shape[2], -1).sigmoid()),
    "one row": lambda: nn.Sequential(Calls(torch.tanh), nn.Flatten()),
}


def sizes_of(path: Path, side: str) -> list[int | str]:
    made = wire.decode(schema.Model, memoryview(path.read_bytes()))
    assert made.graph is not None
    kind = getattr(made.graph, side)[0].type
    return [dim.dim_value if dim.dim_value is not None else dim.dim_param for dim in kind.tensor_type.shape.dim]


@pytest.mark.parametrize("format", ["onnx", "onnx-sparse"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_any_size_is_written_for_any_size(name: str, format: str, tmp_path: Path) -> None:
    network = settle(NETWORKS[name]())
    path = export(network, format, tmp_path / "net.onnx", description=FREE).path
    assert sizes_of(path, "input") == ["batch", 3, "height", "width"]
    assert sizes_of(path, "output")[0] == "batch"
    assert describe(path) == FREE
    session = Session(path, threads=1)
    assert session.inputs[0].shape == (None, 3, None, None)
    for shape in ((2, 3, 32, 32), (1, 3, 64, 48), (3, 3, 40, 96)):
        array = images(*shape)
        with torch.no_grad():
            wanted = network(torch.from_numpy(array)).numpy()
        np.testing.assert_allclose(session.run([array])[0], wanted, rtol=1e-3, atol=1e-4)


def test_sizes_of_outputs_have_the_names_of_the_inputs(tmp_path: Path) -> None:
    path = export(Calls(torch.relu), "onnx", tmp_path / "net.onnx", description=FREE).path
    assert sizes_of(path, "output") == ["batch", 2, "height", "width"]
    wide = export(Calls(torch.relu), "onnx", tmp_path / "wide.onnx", description=Description(input_shape=(3, 8, None)))
    assert sizes_of(wide.path, "input") == ["batch", 3, 8, "width"]
    halved = nn.Sequential(nn.Conv2d(3, 2, 3, stride=2, padding=1))
    path = export(halved, "onnx", tmp_path / "half.onnx", description=FREE).path
    assert sizes_of(path, "output") == ["batch", 2, "output_axis_2", "output_axis_3"]


def test_pt2_takes_free_sizes(tmp_path: Path) -> None:
    network = mz.densify(resnet20())
    path = export(network, "pt2", tmp_path / "net.pt2", description=FREE).path
    program = torch.export.load(path).module()
    for shape in ((2, 3, 32, 32), (3, 3, 64, 40)):
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), network(x), rtol=1e-4, atol=1e-5)


def test_what_needs_one_size_is_refused(tmp_path: Path) -> None:
    fixed = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 62 * 94, 3))
    with pytest.raises(InputError, match=r"^input_shape: received \(3, None, None\).*It says: mat1 and mat2"):
        export(fixed, "onnx", tmp_path / "net.onnx", description=FREE)
    with pytest.raises(InputError, match=r"^input_shape: received \(3, None, None\).*It says: mat1 and mat2"):
        export(fixed, "pt2", tmp_path / "net.pt2", description=FREE)
    grown = Calls(lambda x: F.interpolate(x, size=(8, 8)))
    with pytest.raises(UnsupportedModel, match="does not grow by the same factor for inputs of all sizes"):
        export(grown, "onnx", tmp_path / "net.onnx", description=FREE)
    split = Calls(lambda x: x.reshape(x.shape[0], 2, 2, x.shape[2], x.shape[3]).flatten(1, 2))
    with pytest.raises(UnsupportedModel, match="more than one of its sizes is free, and not as it was before"):
        export(split, "onnx", tmp_path / "net.onnx", description=FREE)
    assert not list(tmp_path.iterdir())


def test_a_session_of_a_module_takes_any_size(tmp_path: Path) -> None:
    network = resnet20()
    session = Session(network, threads=1, description=FREE)
    assert session.inputs[0].shape == (None, 3, None, None)
    for shape in ((2, 3, 8, 8), (1, 3, 16, 12)):
        (found,) = session.run([images(*shape)])
        np.testing.assert_allclose(found, network(torch.from_numpy(images(*shape))).detach(), rtol=1e-3, atol=1e-4)
    path = export(network, "safetensors", tmp_path / "net.safetensors", description=FREE).path
    assert describe(path) == FREE


def test_a_file_of_one_size_is_freed_or_refused(tmp_path: Path) -> None:
    """One whose reshape folds pixels into the batch would give more rows than images."""
    weight = {"w": torch.randn(4, 3, 3, 3), "t": torch.tensor([-1, 4])}
    nodes = [node("Conv", "x w", "c"), node("MaxPool", "c", "p", kernel_shape=[6, 6]), node("Reshape", "p t", "y")]
    (tmp_path / "net.onnx").write_bytes(content(model(nodes, {"x": ("N", 3, 8, 8)}, "y", weight)))
    assert Session(tmp_path / "net.onnx").run([images(2, 3, 8, 8)])[0].shape == (2, 4)
    for shape in ((3, None, None), (3, 16, 16)):
        with pytest.raises(UnsupportedModel, match="its first axis does not follow the batch"):
            Session(tmp_path / "net.onnx", description=Description(input_shape=shape))
    same = Session(tmp_path / "net.onnx", description=Description(input_shape=(3, 8, 8)))
    assert same.run([images(2, 3, 8, 8)])[0].shape == (2, 4)
    nodes[1:] = [node("Relu", "c", "y")]
    (tmp_path / "net.onnx").write_bytes(content(model(nodes, {"x": (1, 3, 8, 8)}, "y", weight)))
    assert Session(tmp_path / "net.onnx", description=FREE).run([images(2, 3, 9, 12)])[0].shape == (2, 4, 7, 10)


@pytest.mark.parametrize("shape", [(), (None, None), (3, 0, None), (3, -1), (3, "8")])
def test_other_descriptions_of_sizes_are_refused(shape: tuple[object, ...]) -> None:
    with pytest.raises(InputError, match="positive sizes without the batch, None for a free one"):
        Description(input_shape=shape)  # type: ignore[arg-type]
