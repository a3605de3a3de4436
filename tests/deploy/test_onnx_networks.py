"""Are the usual architectures, as PyTorch's exporter writes them, read and computed rightly, dense and pruned?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint.deploy import Session, load_onnx
from mezzotint.deploy.onnx import read_onnx
from mezzotint.sparse import sparse_layers
from onnx_networks import NETWORKS, exported, prepared

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed, which torch.onnx.export needs")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # networks as small as these gain nothing from a second one
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "density"), [*((name, 0.2) for name in NETWORKS), ("densenet121", 1.0), ("efficientnet_b0", 1.0)]
)
def test_small_versions_agree_with_pytorch_and_onnx_runtime(name: str, density: float, tmp_path: Path) -> None:
    model = prepared(name, density, divide=8, classes=10)
    path = tmp_path / "net.onnx"
    path.write_bytes(exported(model, 64))
    session = Session(path, threads=1)
    for batch in (1, 17):
        x = torch.randn(batch, 3, 64, 64)
        (found,) = session.run([x.numpy()])
        with torch.no_grad():
            wanted = model(x).numpy()
        bound = 1e-4 * np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)
    assert bool(sparse_layers(load_onnx(path))) == (density < 1)
    try:
        import onnxruntime
    except ImportError:
        return  # PyTorch's own results were compared
    theirs = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": x.numpy()})[0]
    np.testing.assert_allclose(found, theirs, rtol=0, atol=bound)


ZOO = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_architectures_of_the_model_zoo_are_read(path: Path) -> None:
    """As Caffe2 wrote them, with operator set 9; the onnx package ships them without their weights."""
    found = read_onnx(path)
    assert found.inputs[0].shape == (1, 3, 224, 224)
    assert found.outputs[0].shape is not None
    assert found.outputs[0].shape[:2] == (1, 1000)


def test_the_zoo_is_there() -> None:
    assert len(ZOO) >= 8
