"""Does a session survive what servers do with it: forks, and threads that share it and a classifier?"""

from __future__ import annotations

import io
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from deploy_networks import images
from PIL import Image
from torch import nn

from mezzotint.deploy import Classifier, Description, Session

DESCRIPTION = Description(input_shape=(3, 64, 64), mean=(0.5,), std=(0.5,), classes=("a", "b", "c", "d"))


def network(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
    return nn.Sequential(first, activation, second, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def _answer(session: Session, array: np.ndarray, pipe: object) -> None:
    pipe.send(session.run([array])[0])  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2, None])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU()], ids=["native", "partly in PyTorch"])
def test_a_forked_child_goes_on_with_the_session(activation: nn.Module, threads: int | None) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        session = Session(network(activation), threads=threads, description=DESCRIPTION)
        array = images(8, 3, 64, 64)
        wanted = session.run([array])[0]
        torch.randn(300, 300) @ torch.randn(300, 300)  # PyTorch's threads are there
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        child = context.Process(target=_answer, args=(session, array, theirs), daemon=True)
        child.start()
        try:
            assert ours.poll(60), "the child waits for threads that are not there"
            np.testing.assert_allclose(ours.recv(), wanted, rtol=1e-5, atol=1e-6)
        finally:
            child.kill()
            child.join()
    finally:
        torch.set_num_threads(before)


def test_a_classifier_may_be_called_from_many_threads() -> None:
    classifier = Classifier(Session(network(nn.ReLU()), threads=1, description=DESCRIPTION))
    files = []
    for seed in range(8):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(buffer.getvalue())
    wanted = [classifier(file) for file in files]
    together = threading.Barrier(8)

    def work(number: int) -> object:
        together.wait()
        return classifier(files[number])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == wanted
