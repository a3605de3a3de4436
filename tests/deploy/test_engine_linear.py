"""Does a sparse linear layer compute the same with its zeros and without them?"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from deploy_networks import choosing, difference
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mezzotint as mz
from mezzotint.deploy import Description, Session
from mezzotint.deploy.engine import model as engine_model
from mezzotint.kernels import native
from mezzotint.kernels.native_program import Summing

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def session_of(model: nn.Module, features: int, dtype: str, with_zeros: bool, threads: int = 2) -> Session:
    with choosing(lambda choices: next(one for one in choices if (one[0] == Summing.GROUPS) == with_zeros)):
        session = Session(model, threads, dtype, description=Description(input_shape=(features,)))
        session.run([torch.zeros(2, features).numpy()])
    assert ("nonzeros alone" in session.explain()) is not with_zeros
    return session


def sparse(*sizes: int, density: float) -> nn.Module:
    torch.manual_seed(0)
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return mz.sparsify(nn.Sequential(*layers), density, "uniform").eval()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_sizes(data: st.DataObject) -> None:
    sizes = [data.draw(st.integers(8, 90)) for _ in range(3)]
    model = sparse(*sizes, density=data.draw(st.sampled_from([0.02, 0.1, 0.3, 0.45])))
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, mz.sparse.SparseLinear):
                layer.bias.uniform_(-1, 1)
    half = data.draw(st.booleans())
    batch = data.draw(st.integers(1, 9))
    session = session_of(model, sizes[0], "bf16" if half else "fp32", False, data.draw(st.integers(1, 3)))
    x = torch.randn(batch, sizes[0]).numpy()
    assert difference(session, model, x) < (0.03 if half else 1e-5)


@pytest.mark.parametrize("isa", native.isas() if native.unavailable() is None else ())
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("features", [70, 70_000])
def test_on_every_instruction_set(isa: str, dtype: str, features: int) -> None:
    model = sparse(features, 33, 5, density=0.2)
    native.force_isa(isa)
    try:
        for with_zeros in (False, True):
            session = session_of(model, features, dtype, with_zeros)
            assert difference(session, model, torch.randn(3, features).numpy()) < (0.03 if dtype == "bf16" else 1e-5)
    finally:
        native.force_isa(None)


def test_dense_layers_have_no_choice_and_choices_are_checked() -> None:
    engine = engine_model.EngineModel(nn.Sequential(nn.Linear(40, 30)).eval(), torch.float32, 1)
    with torch.inference_mode():
        engine(torch.zeros(1, 40))
    program = next(iter(engine.segments[0].compiled.values())).alone.program
    assert [program.choices(step) for step in range(len(program))] == [[], []]
    with pytest.raises(ValueError, match="kernel of a linear layer: received one that it does not have"):
        program.choose(1, (False, 1, 1))
