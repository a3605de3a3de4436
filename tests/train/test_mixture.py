"""Does a run under any mixture of overflows, micro-batches, restarts and moving topology equal the undisturbed run?"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mezzotint.data.batch import Batch
from mezzotint.sparse import METHODS, sparse_layers
from mezzotint.train import RunConfig, checkpoint
from mezzotint.train.inputs import InputRecord
from mezzotint.train.parts import Parts, build_parts
from mezzotint.train.state import Counters, capture, restore
from mezzotint.train.step import Clock, training_step

Make = Callable[..., RunConfig]
STEPS = 11
STRUCTURES = {"nm": "1:4", "block": "2x4"}
EVENTS = st.lists(
    st.tuples(st.integers(0, STEPS - 1), st.sampled_from(["overflow", "late overflow", "restart"])), max_size=6
)


def _step(parts: Parts, batch: Batch) -> bool:
    return training_step(parts, batch, 0.05, Clock(device=parts.precision.device, running=False)).stepped


def _poisoned(batch: Batch, late: bool) -> Batch:
    """The batch with a NaN in its first or last image, so in its first or last micro-batch."""
    images = batch.images.clone()
    images[-1 if late else 0] = math.nan
    return Batch(images, batch.labels, batch.indices)


def _restarted(parts: Parts) -> Parts:
    """What another process makes of the checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        state, tensors = capture(parts, Counters(), {}, ())
        saved = checkpoint.load(checkpoint.save(Path(folder), 1, state, tensors, keep=1))
        parts.topology.close()
        again = build_parts(parts.config, InputRecord.from_json(saved.state["data"]))
        restore(again, saved)
        return again


def _differences(one: Parts, other: Parts) -> list[str]:
    """The names of everything in which the two differ in any bit."""
    (state, tensors), (other_state, other_tensors) = (capture(parts, Counters(), {}, ()) for parts in (one, other))
    found = [key for key in ("topology", "average") if state[key] != other_state[key]]
    for name, content in tensors.items():
        theirs = other_tensors[name]
        found += [f"{name}/{key}" for key in content.keys() ^ theirs.keys()]
        found += [
            f"{name}/{key}" for key in content.keys() & theirs.keys() if not torch.equal(content[key], theirs[key])
        ]
    return found


@pytest.mark.parametrize("method", sorted(METHODS))
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, micro=st.sampled_from([1, 3]), average=st.sampled_from(["none", "ema", "swa"]))
def test_disturbances_leave_no_trace(
    method: str, small: Make, events: list[tuple[int, str]], micro: int, average: str
) -> None:
    config = small(
        data={"batch_size": 30, "micro_batches": micro},
        model={"name": "digits_cnn"},
        sparsity={
            "exclude": ("conv1",),
            "density": 0.25,
            "method": method,
            "interval": 3,
            "window": 2,
            "structure": STRUCTURES.get(method),
        },
        precision={"mode": "bf16"},
        optimizer={"clip_norm": 1.0, "label_smoothing": 0.1},
        average={"kind": average, "decay": 0.9, "start": 0.0},
        schedule={"epochs": 1},
    )
    plain, disturbed = build_parts(config), build_parts(config)
    patterns = {name: layer.pattern for name, layer in sparse_layers(plain.model).items()}
    batches = [plain.inputs.train.batch_at(0, place) for place in range(STEPS)]
    moved = False
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for place, batch in enumerate(batches):
            assert _step(plain, batch)
            for when, event in events:
                if when == place and event == "restart":
                    disturbed = _restarted(disturbed)
                elif when == place:
                    assert not _step(disturbed, _poisoned(batch, late=event == "late overflow"))
            assert _step(disturbed, batch)
            moved |= any(layer.pattern != patterns[name] for name, layer in sparse_layers(plain.model).items())
            assert sum(layer.nnz for layer in sparse_layers(disturbed.model).values()) == disturbed.topology.budget
    finally:
        torch.set_num_threads(threads)
    assert _differences(disturbed, plain) == []
    assert moved == (method != "static")
