"""Is a mistake with a session, a description or a file told by its name, with what to do?"""

from __future__ import annotations

import copy
import logging
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_networks import images, own, resnet20
from onnx_models import content, model, node, small_network
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import Description, Session, export, load_onnx
from mezzotint.deploy.onnx import fallback as fallbacks
from mezzotint.errors import CheckpointError, InputError, ShapeError
from mezzotint.kernels.resources import resources


class Branching(nn.Module):
    """A network that looks at its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.mean() > 0 else self.conv(-x)


class Pair(nn.Module):
    """A network of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return self.conv(one) + self.conv(two)


def written(folder: Path, batch: int | str = "N") -> Path:
    """A file of the input [batch, 3, 8, 8]."""
    made = small_network(0.2)
    assert made.graph is not None
    if batch != "N":
        nodes = [node("Conv", "image w", "c", "conv"), node("Relu", "c", "y")]
        made = model(nodes, {"image": (batch, 3, 8, 8)}, "y", {"w": torch.randn(4, 3, 3, 3)})
    (folder / "net.onnx").write_bytes(content(made))
    return folder / "net.onnx"


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((3, 8, 8), r"array\[None\] makes a batch of one"),
        ((2, 8, 8, 3), r"allowed: \[N, 3, 8, 8\]. The channels come first: array\.transpose\(0, 3, 1, 2\)"),
        ((8, 8, 3), r"array\.transpose\(2, 0, 1\)\[None\]"),
        ((2, 3, 16, 12), r"of 16 x 12 pixels: resize them.*Description\(input_shape=\(3, 16, 12\)\)"),
    ],
)
def test_each_mistake_with_a_shape_has_its_hint(shape: tuple[int, ...], hint: str, tmp_path: Path) -> None:
    array = images(*shape)
    with pytest.raises(ShapeError, match=hint) as caught:
        Session(written(tmp_path)).run([array])
    told = str(caught.value)
    for other in ("array[None]", "transpose(0, 3", "transpose(2, 0", "resize"):
        assert (other in told) == (other in hint.replace("\\", "")), "one hint, the right one"


def test_nothing_is_guessed_where_nothing_is_clear(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"allowed: \[N, 3, 8, 8\]\.$"):
        Session(written(tmp_path)).run([images(2, 5, 8, 9)])


def test_a_batch_for_a_file_of_one_is_told_how_to_free_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, batch=1)
    hint = r"written for a batch of 1\. Session\(\.\.\., description=Description\(input_shape=\(3, 8, 8\)\)\) frees it"
    with pytest.raises(ShapeError, match=hint):
        Session(path).run([images(5, 3, 8, 8)])
    (found,) = Session(path, description=Description(input_shape=(3, 8, 8))).run([images(5, 3, 8, 8)])
    assert len(found) == 5


@pytest.mark.parametrize("sparse", [False, True])
def test_a_module_of_unknown_input_tells_what_it_was_given(sparse: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten()).eval()
    session = Session(mz.sparsify(network, 0.3, "uniform") if sparse else network)
    with pytest.raises(ShapeError, match=r"'input' \[2, 8, 8, 3\].*transpose\(0, 3, 1, 2\)") as caught:
        session.run([images(2, 8, 8, 3)])
    assert "While executing" not in str(caught.value)
    with pytest.raises(ShapeError, match=r"'input' \[3, 8, 8\].*array\[None\]"):
        session.run([images(3, 8, 8)])
    with pytest.raises(ShapeError, match=r"'input' \[2, 5, 8, 8\].*It says: [^.]*5"):
        session.run([images(2, 5, 8, 8)])
    assert session.run([images(2, 3, 8, 8)])[0].shape == (2, 288)


def test_errors_that_are_not_the_callers_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no memory")

    session = Session(written(tmp_path))
    monkeypatch.setattr(session, "_compute", broken)
    with pytest.raises(RuntimeError, match=r"^no memory$"):
        session.run([images(1, 3, 8, 8)])


@pytest.mark.parametrize("first", [None, 2])
def test_batches_that_differ_are_told(first: int | None) -> None:
    session = Session(Pair())
    if first is not None:
        session.run([images(first, 3, 8, 8)] * 2)
    with pytest.raises(ShapeError, match=r"'one' \[2, 3, 8, 8\], 'two' \[3, 3, 8, 8\].*Their batches differ: 2, 3\."):
        session.run([images(2, 3, 8, 8), images(3, 3, 8, 8)])


@pytest.mark.parametrize("format", ["session", "onnx", "onnx-sparse", "pt2"])
@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((1, 3, 8, 8), r"received \(1, 3, 8, 8\).*without the batch.*Leave the batch out: input_shape=\(3, 8, 8\)"),
        ((8, 8, 3), r"received \(8, 8, 3\).*Channels come first: input_shape=\(3, 8, 8\)"),
        ((1, 8, 8), r"received \(1, 8, 8\); allowed: .*It says: .*1"),
    ],
)
def test_a_wrong_description_is_told_as_such(format: str, shape: tuple[int, ...], told: str, tmp_path: Path) -> None:
    description = Description(input_shape=shape)
    make = Session if format == "session" else partial(export, format=format, output=tmp_path / "net")
    with pytest.raises(InputError, match=f"^input_shape: {told}") as caught:
        make(resnet20(), description=description)
    assert "traced" not in str(caught.value)
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_the_line_that_cannot_be_traced_is_named(
    format: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    line = Branching.forward.__code__.co_firstlineno + 1
    with pytest.raises(InputError, match=rf"{format}: Branching: .*test_messages\.py, line {line}, in forward"):
        export(Branching(), format, tmp_path / "net", description=Description(input_shape=(3, 8, 8)))
    assert capfd.readouterr() == ("", "")


def test_a_network_of_two_inputs_is_told_by_their_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"onnx: Pair: received a network of 2 inputs \(one, two\)"):
        export(Pair(), "onnx", tmp_path / "net", description=Description(input_shape=(3, 8, 8)))


BEGINNINGS = {
    b"<!DOCTYPE html><html><body>404</body></html>": "a web page",
    b"\n<html>": "a web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n": "git lfs pull",
    b"PK\x03\x04 and more of it": r"torch\.save .*load it with PyTorch",
    b"\x80\x02}q\x00.": "load it with PyTorch",
    b"\x1f\x8b\x08\x00": "gzip",
    b"": "an empty file",
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("name", ["net.onnx", "net.safetensors", "net.pt"])
def test_files_of_other_kinds_are_recognised(name: str, beginning: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(beginning)
    with pytest.raises(CheckpointError, match=rf"{name}: received .*{BEGINNINGS[beginning]}"):
        Session(tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"{name}: received .*{BEGINNINGS[beginning]}"):
        mz.deploy.describe(tmp_path / name)


def test_a_checkpoint_of_pytorch_itself_is_recognised(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "dense.pt")
    with pytest.raises(CheckpointError, match=r"torch\.save .*load it with PyTorch"):
        Session(tmp_path / "dense.pt")
    with pytest.raises(InputError, match=r"a OrderedDict; allowed: a module or a path.*load_state_dict"):
        Session(nn.Linear(2, 2).state_dict())  # type: ignore[arg-type]


def test_an_own_network_comes_with_its_weights(tmp_path: Path) -> None:
    trained = own()
    path = export(trained, "safetensors", tmp_path / "own.safetensors").path
    with pytest.raises(CheckpointError, match=r"Session\(path, model=network\)"):
        Session(path)
    fresh = type(trained)()
    before = copy.deepcopy(fresh.state_dict())
    session = Session(path, threads=1, model=fresh)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, before[name]), "the session has a network of its own"
    array = images(3, 2, 9, 9)
    with torch.no_grad():
        wanted = trained(torch.from_numpy(array))["logits"].numpy()
    np.testing.assert_allclose(session.run([array])[0], wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"layer 'body\.0'.*'stride'"):
        Session(path, model=type(trained)(stride=1))
    for source in (written(tmp_path), nn.Linear(2, 2)):
        with pytest.raises(InputError, match="which holds its network; allowed: a model for weights without"):
            Session(source, model=fresh)


def test_a_session_is_named_after_what_it_runs(tmp_path: Path) -> None:
    assert repr(Session(written(tmp_path))) == "Session(net.onnx, inputs=(image), fp32, PyTorch's threads)"
    assert repr(Session(own(), 1)) == "Session(Own, inputs=(image), fp32, 1 threads)"


def test_more_threads_than_cores_get_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cores = resources().cores
    with caplog.at_level(logging.WARNING):
        Session(written(tmp_path), threads=cores)
        assert not caplog.text
        Session(written(tmp_path), threads=cores + 97)
    assert f"{cores + 97} threads of a session take turns on {cores} cores" in caplog.text


def test_an_explanation_needs_no_run_and_says_what_its_words_mean(tmp_path: Path) -> None:
    session = Session(written(tmp_path), threads=1)
    told = session.explain()
    assert "not planned yet" not in told
    body, _, legend = told.partition("\nwords\n")
    assert body == session._model.explain()  # type: ignore[operator]
    words = [line.strip().partition(":")[0] for line in legend.splitlines()]
    assert words
    assert all(word in body for word in words)
    for word in ("phases", "planes", "cells"):
        assert (word in words) == (word in body)


def test_a_copy_is_the_session_and_a_pickle_opens_the_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    session = Session(
        "net.onnx", 1, "bf16", description=Description(input_shape=(3, 8, 8), classes=("a",)), plan="net.plan"
    )
    assert copy.copy(session) is session
    assert copy.deepcopy({"session": session})["session"] is session
    array = images(2, 3, 8, 8)
    wanted = session.run([array])[0]
    monkeypatch.chdir("/")
    again = pickle.loads(pickle.dumps(session))
    np.testing.assert_array_equal(again.run([array])[0], wanted)
    assert again.description == session.description
    assert repr(again) == repr(session)
    with pytest.raises(InputError, match=r"made from a module; allowed: .*a file or a run folder.*Export the module"):
        pickle.dumps(Session(nn.Linear(2, 2)))


class _Runtime:
    """Stands for ONNX Runtime where it is not installed."""

    threads: int | None = None

    def __init__(self, source: object, threads: int | None = None) -> None:
        type(self).threads = threads
        self.inputs = self.outputs = (fallbacks.TensorInfo(name="x", shape=(1, 2), dtype="float32"),)

    def __call__(self, x: Tensor) -> Tensor:
        return x + 1

    def __deepcopy__(self, memo: object) -> _Runtime:
        return self


def test_the_fallback_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mezzotint.deploy.onnx.load.Runtime", _Runtime)
    path = tmp_path / "odd.onnx"
    path.write_bytes(content(model([node("Unknown", "x", "y", "odd")], {"x": (1, 2)}, "y")))
    with caplog.at_level(logging.WARNING):
        session = Session(path, threads=1, fallback="onnxruntime")
    assert [record.message.startswith("ONNX Runtime runs file") for record in caplog.records] == [True]
    assert _Runtime.threads == 1
    assert session.run([np.ones((1, 2), np.float32)])[0].tolist() == [[2, 2]]
    assert session.explain().startswith("odd.onnx: ONNX Runtime runs it as a whole, because 1 node of the model")
    assert "PyTorch" not in session.explain()
    with pytest.raises(ShapeError, match=r"written for a batch of 1\.$"):
        session.run([np.ones((3, 2), np.float32)])


def test_a_reshape_to_one_row_an_image_is_native(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    path = export(network, "onnx", tmp_path / "net.onnx", description=Description(input_shape=(3, 8, 8))).path
    assert any(isinstance(module, nn.Flatten) for module in load_onnx(path).modules())
    assert "PyTorch:" not in Session(path, threads=1).explain()
