"""Is a batch that a file fixes freed rightly, or refused with the reason? Against the file itself, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deploy_networks import images
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import content, model, node
from torch import Tensor

from mezzotint.deploy import Description, Session, load_onnx
from mezzotint.deploy.onnx import schema
from mezzotint.errors import InputError, UnsupportedModel

TOKEN = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])


def network(nodes: Sequence[schema.Node], batch: int = 1, **constants: Any) -> bytes:
    """A convolution to ``c`` [batch, 4, 4, 4], then ``nodes`` to ``y``; lists are int64 constants."""
    torch.manual_seed(0)
    given = {name: one if isinstance(one, Tensor) else torch.tensor(one) for name, one in constants.items()}
    conv = node("Conv", "image w", "c", "conv", auto_pad="SAME_UPPER")
    return content(model([conv, *nodes], {"image": (batch, 3, 4, 4)}, "y", {"w": torch.randn(4, 3, 3, 3), **given}))


def reshapes(*targets: Sequence[int]) -> bytes:
    """One reshape after the other."""
    names = ["c", *(f"r{place}" for place in range(1, len(targets))), "y"]
    nodes = [node("Reshape", f"{names[i]} t{i}", names[i + 1], f"reshape{i}") for i in range(len(targets))]
    return network(nodes, **{f"t{place}": list(target) for place, target in enumerate(targets)})


def freed(file: bytes, folder: Path) -> Session:
    (folder / "net.onnx").write_bytes(file)
    return Session(folder / "net.onnx", threads=1, description=Description(input_shape=(3, 4, 4)))


def alone(file: bytes, array: np.ndarray) -> np.ndarray:
    """What the file, as it is, gives for each image."""
    fixed = load_onnx(file)
    with torch.no_grad():
        return torch.cat([fixed(torch.from_numpy(one[None].copy())) for one in array]).numpy()


RIGHT = {
    "one row": reshapes([1, -1]),
    "one row of a size": reshapes([1, 64]),
    "kept": reshapes([0, -1]),
    "an axis more": reshapes([1, 1, 4, 16]),
    "windows": reshapes([1, 4, 2, 2, 2, 2], [8, 8], [1, -1]),
    "windows, what is left": reshapes([8, 2, -1], [1, 64]),
    "all in a row, then apart": reshapes([-1], [1, 64]),
    "channels and pixels turned": network(
        [
            node("Reshape", "c t", "r"),
            node("Transpose", "r", "s", perm=[0, 2, 1]),
            node("Concat", "token s", "k", axis=1),
            node("Reshape", "k all", "y"),
        ],
        t=[1, 4, 16],
        token=TOKEN,
        all=[1, 68],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_freed_batch_gives_what_each_image_gives_alone(name: str, tmp_path: Path) -> None:
    session = freed(RIGHT[name], tmp_path)
    array = images(5, 3, 4, 4)
    wanted = alone(RIGHT[name], array)
    (found,) = session.run([array])
    assert session.outputs[0].shape == (None, *wanted.shape[1:])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_several_images_may_have_been_fixed(tmp_path: Path) -> None:
    file = network([node("Reshape", "c t", "r"), node("Reshape", "r u", "y")], batch=4, t=[4, -1], u=[4, 8, 8])
    array = images(8, 3, 4, 4)
    fixed = load_onnx(file)
    with torch.no_grad():
        wanted = torch.cat([fixed(torch.from_numpy(part)) for part in (array[:4], array[4:])]).numpy()
    session = freed(file, tmp_path)
    np.testing.assert_allclose(session.run([array])[0], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(session.run([array[:3]])[0], wanted[:3], rtol=1e-5, atol=1e-5)


WRONG = {
    "all in a row": (reshapes([-1]), r"'y' \(output\): its first axis does not follow the batch: it is 128 for 2"),
    "pixels in the first axis": (reshapes([-1, 4]), "it is 32 for 2 images"),
    "one number": (network([node("ReduceMean", "c", "y", keepdims=0)]), "one number for all images together"),
    "the mean image": (
        network([node("ReduceMean", "c", "m", axes=[0], keepdims=1), node("Sub", "c m", "y")]),
        r"'y' \(output\): images reach each other's results",
    ),
    "images behind channels": (
        network([node("Transpose", "c", "s", perm=[1, 0, 2, 3]), node("Reshape", "s t", "y")], t=[-1, 4, 16]),
        "images reach each other's results",
    ),
    "one image taken": (
        network([node("Squeeze", "c axes", "y")], axes=[0]),
        r"'y' \(Squeeze\): it takes away the axes",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_freed_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    file, told = WRONG[name]
    with pytest.raises(UnsupportedModel, match=told) as caught:
        freed(file, tmp_path)
    assert "The file itself runs; what does not is 'image' of the shape [N, 3, 4, 4] instead of [1, 3, 4, 4]" in str(
        caught.value
    )
    assert len(caught.value.nodes) == 1
    assert Session(tmp_path / "net.onnx").run([images(1, 3, 4, 4)])


def test_what_no_input_reaches_may_stay(tmp_path: Path) -> None:
    nodes = [node("Relu", "c", "y"), node("Identity", "fixed", "anchors")]
    (tmp_path / "net.onnx").write_bytes(
        content(
            model(
                [node("Conv", "image w", "c"), *nodes],
                {"image": (1, 3, 4, 4)},
                "y anchors",
                {"w": torch.randn(4, 3, 3, 3), "fixed": TOKEN},
            )
        )
    )
    session = Session(tmp_path / "net.onnx", description=Description(input_shape=(3, 4, 4)))
    made, anchors = session.run([images(3, 3, 4, 4)])
    assert made.shape == (3, 4, 2, 2)
    np.testing.assert_array_equal(anchors, TOKEN.numpy())


def test_two_inputs_share_the_freed_batch() -> None:
    nodes = [node("Add", "a b", "s"), node("Reshape", "s t", "y")]
    file = content(model(nodes, {"a": (1, 2, 3), "b": (1, 2, 3)}, "y", {"t": torch.tensor([1, 6])}))
    both = load_onnx(file, shapes={"a": (None, 2, 3), "b": (None, 2, 3)})
    assert torch.equal(both(torch.ones(4, 2, 3), torch.ones(4, 2, 3)), torch.full((4, 6), 2.0))


def test_a_shape_that_the_model_does_not_take_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(RIGHT["kept"])
    with pytest.raises(InputError, match=r"\[1, 3, 4, 4\]; allowed: 3 sizes.*without the batch: the file has \[1, 3"):
        Session(tmp_path / "net.onnx", description=Description(input_shape=(1, 3, 4, 4)))
    with pytest.raises(UnsupportedModel, match=r"'conv' \(Conv\).*\[N, 1, 4, 4\] instead of \[1, 3, 4, 4\]"):
        Session(tmp_path / "net.onnx", description=Description(input_shape=(1, 4, 4)))


FACTORS = [(1, 64), (1, 4, 16), (1, 16, 4), (4, 16), (16, 4), (2, 2, 16), (1, 2, 2, 4, 4), (64,), (1, -1), (-1, 8)]
STEPS = st.one_of(
    st.sampled_from(FACTORS).map(list),
    st.permutations(range(3)).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=5))
def test_freed_is_right_or_refused(steps: list[list[int] | tuple[int, ...]]) -> None:
    nodes, constants, last = [], {}, "c"
    for place, step in enumerate(steps):
        if isinstance(step, list):
            constants[f"t{place}"] = step
            nodes.append(node("Reshape", f"{last} t{place}", f"v{place}"))
        else:
            constants[f"t{place}"] = [4, -1, 4]
            nodes += [
                node("Reshape", f"{last} t{place}", f"u{place}"),
                node("Transpose", f"u{place}", f"v{place}", perm=list(step)),
            ]
        last = f"v{place}"
    file = network([*nodes, node("Identity", last, "y")], **constants)
    array = images(3, 3, 4, 4)
    try:
        module = load_onnx(file, shapes={"image": (None, 3, 4, 4)})
    except UnsupportedModel:
        return
    with torch.no_grad():
        found = module(torch.from_numpy(array)).numpy()
    np.testing.assert_allclose(found, alone(file, array), rtol=1e-4, atol=1e-5)
