"""Are a profile's counts right, and does it tell which kernel ran and why?"""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.errors import InputError
from mezzotint.kernels import launch
from mezzotint.ops import graph_profile
from mezzotint.ops.graph_profile import Profile


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sparse = mz.SparseConv2d(4, 8, 3, padding=1, stride=2, density=0.25, bias=False)
        self.dense = nn.Conv2d(8, 6, 1, groups=2, bias=False)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.dense(self.sparse(x).relu()).mean((2, 3)))
        return y


@pytest.fixture(scope="module")
def profile() -> Profile:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8)
    return mz.ops.capture(Net().eval(), x).profile(x, repeats=3)


def test_operations_weights_and_bytes_are_counted(profile: Profile) -> None:
    sparse = profile["sparse"]
    assert (sparse.nnz, sparse.density) == (72, 0.25)
    assert sparse.flops == 2 * (8 * 4 * 9) * (2 * 4 * 4)
    assert sparse.effective_flops == sparse.flops / 4
    assert sparse.bytes_in == 4 * (2 * 4 * 8 * 8) + 4 * 72 + 4 * 72
    assert sparse.bytes_out == 4 * 2 * 8 * 4 * 4
    dense = profile["dense"]
    assert dense.flops == dense.effective_flops == 2 * (6 * 4) * (2 * 4 * 4)
    assert dense.density is None
    assert profile["fc"].flops == 2 * 5 * 6 * 2
    assert profile["relu"].flops == 0
    assert profile.peak_bytes >= sparse.bytes_out


def test_the_kernel_and_the_reason_are_the_launchers() -> None:
    x = torch.randn(2, 4, 8, 8)
    graph = mz.ops.capture(Net().eval(), x)
    with launch.policy("rule", force={"sparse_conv2d": "reference"}):
        sparse = graph.profile(x, repeats=1)["sparse"]
    assert (sparse.kernel, sparse.reason) == ("reference", "forced on the operator")
    assert graph.profile(x, repeats=1)["dense"].kernel == "torch"


def test_the_time_is_the_median_of_the_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = itertools.chain([100.0], [3.0, 1.0, 2.0])  # the first run warms up
    ticks = itertools.chain.from_iterable((0.0, duration) for duration in durations)
    monkeypatch.setattr(graph_profile, "clock", lambda: next(ticks))
    graph = mz.ops.Graph()
    graph.returns(graph.add("aten.relu", graph.input("x", (2,)), name="y"))
    profile = graph.profile(torch.zeros(2), repeats=3)
    assert profile["y"].seconds == profile.seconds == 2.0


def test_the_table_names_every_node_and_the_json_is_whole(profile: Profile) -> None:
    lines = profile.to_text().splitlines()
    assert lines[0].startswith("Net: 5 operators in ")
    assert [line.split()[0] for line in lines[4:9]] == ["sparse", "relu", "dense", "mean", "fc"]
    assert any("sparse_conv2d: " in line and "(lowest cost estimate)" in line for line in lines)
    slowest = max(profile.nodes, key=lambda node: node.seconds)
    assert profile.to_text(top=1).splitlines()[4].split()[0] == slowest.name
    document = json.loads(profile.to_json())
    assert document["format"] == "mezzotint-profile"
    assert [node["name"] for node in document["nodes"]] == [node.name for node in profile.nodes]
    assert document["nodes"][0]["nnz"] == 72


def test_bad_questions_are_refused(profile: Profile) -> None:
    with pytest.raises(InputError, match="no computed node 'x'"):
        profile["x"]
    graph = mz.ops.Graph()
    graph.returns(graph.input("x", (2,)))
    with pytest.raises(InputError, match="repeats: received 0"):
        graph.profile(torch.zeros(2), repeats=0)
