"""Does a session remember its choices of kernels, and what becomes of a plan file that is damaged?"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deploy_networks import DESCRIPTION, images, resnet20
from onnx_mutations import flipped, overwritten, truncated
from torch import nn

from mezzotint.deploy import Session
from mezzotint.deploy.engine.plan_file import PlanFile, _digest
from mezzotint.kernels import native
from mezzotint.kernels.native_program import Summing

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def session_of(path: Path, model: nn.Module | None = None, threads: int = 1) -> Session:
    return Session(model or resnet20(), threads, description=DESCRIPTION, plan=path)


def test_it_is_made_and_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "net.plan"
    first = session_of(path)
    content = json.loads(path.read_text())
    assert content["format"] == 2
    # Another choice than any measurement would make shows that the file is read.
    for key, choices in content["programs"].items():
        others = [choice and [min(choice[0], Summing.GROUPS), min(choice[1], 2), 1] for choice in choices]
        content["programs"][key] = others
    del content["sha256"]
    path.write_text(json.dumps({**content, "sha256": _digest(content)}))
    second = session_of(path)
    assert set(re.findall(r"(\d+) cells at once", second.explain())) == {"1", "2"}
    np.testing.assert_allclose(second.run([images(2, 3, 8, 8)])[0], first.run([images(2, 3, 8, 8)])[0], atol=1e-5)
    assert not caplog.records


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], "it is damaged"),
        (lambda text: "", "it is damaged"),
        (lambda text: "[" * 100_000, "it is damaged"),
        (lambda text: "{}", "no plan of format 2"),
        (lambda text: text.replace('"threads": 1', '"threads": 9'), "its checksum is another one"),
    ],
)
def test_a_damaged_file_is_told_and_replaced(
    damage: object, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "net.plan"
    session_of(path)
    whole = path.read_text()
    path.write_text(damage(whole))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        session = session_of(path)
    assert told in caplog.text
    assert "measured anew" in caplog.text
    assert session.run([images(1, 3, 8, 8)])[0].shape == (1, 4)
    assert json.loads(path.read_text())["bound"] == json.loads(whole)["bound"]


def test_it_is_bound_to_the_network_and_the_threads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "net.plan"
    session_of(path)
    with caplog.at_level(logging.WARNING):
        session_of(path, resnet20(0.2))
        session_of(path, resnet20(0.2), threads=2)
    assert "it was made for another network" in caplog.text
    assert "it was made for another threads" in caplog.text


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        session = session_of(tmp_path / "absent" / "net.plan")
    assert "a folder that can be written" in caplog.text
    assert session.run([images(1, 3, 8, 8)])[0].shape == (1, 4)


def changed(draw: random.Random, whole: bytes) -> bytes:
    """Well-formed JSON with another value somewhere, under a checksum that fits."""
    content = json.loads(whole)
    del content["sha256"]
    holder: Any = content
    while True:
        key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or not draw.randrange(4):
            break
        holder = inner
    others: list[Any] = [
        None,
        True,
        -1,
        1 << 70,
        0.5,
        "",
        "x",
        [],
        [[]],
        {},
        {"a": 1},
        [None] * 3,
        [[1, 2]],
        [[0, "a", 1]],
    ]
    holder[key] = draw.choice(others)
    return json.dumps({**content, "sha256": _digest(content)}).encode()


#: What a file is replaced by is of one format.
MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (flipped, truncated, overwritten, changed, changed)


def test_five_hundred_damaged_files_are_used_whole_or_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw, path, model = random.Random(11), tmp_path / "net.plan", resnet20()
    wanted = session_of(path, model).run([images(1, 3, 8, 8)])[0]
    whole = path.read_bytes()
    bound = json.loads(whole)["bound"]
    told = 0
    for number in range(500):
        damaged = MUTATIONS[number % len(MUTATIONS)](draw, whole)
        path.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            if number % 25:
                PlanFile(path, bound["network"], torch.float32, 1)
            else:  # all of it, into a running session
                np.testing.assert_allclose(session_of(path, model).run([images(1, 3, 8, 8)])[0], wanted, atol=1e-5)
        assert caplog.text.count("measured anew") <= 1
        told += "measured anew" in caplog.text
    assert told > 400
