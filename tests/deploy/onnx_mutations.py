"""What becomes of damaged ONNX files? Run as a program within a memory limit: every file is read, or refused in words.

    python onnx_mutations.py COUNT LIMIT_IN_MIB

Prints one JSON object: how many were read and refused, the slowest in seconds, and what went wrong.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from onnx_models import content, many_operators, node, small_network

from mezzotint.deploy.onnx import read_onnx, schema, wire
from mezzotint.errors import InputError

Mutation = Callable[[random.Random, bytes], bytes]


def flipped(draw: random.Random, whole: bytes) -> bytes:
    """Some bits the other way round."""
    octets = bytearray(whole)
    for _ in range(draw.choice((1, 1, 2, 8))):
        octets[draw.randrange(len(octets))] ^= 1 << draw.randrange(8)
    return bytes(octets)


def truncated(draw: random.Random, whole: bytes) -> bytes:
    """A part of it."""
    return whole[: draw.randrange(len(whole))]


def overwritten(draw: random.Random, whole: bytes) -> bytes:
    """A varint of an enormous size, or noise, somewhere."""
    at = draw.randrange(len(whole))
    noise = draw.choice((b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f", draw.randbytes(draw.randrange(1, 16))))
    return whole[:at] + noise + whole[at + len(noise) * draw.randrange(2) :]


def rewritten(draw: random.Random, whole: bytes) -> bytes:
    """A valid file whose content is wrong."""
    made = wire.decode(schema.Model, memoryview(whole))
    assert made.graph is not None
    graph = made.graph
    for _ in range(draw.choice((1, 1, 2))):
        _CHANGES[draw.randrange(len(_CHANGES))](draw, graph)
    return wire.encode(made)


def _wrong_input(draw: random.Random, graph: schema.Graph) -> None:
    one, other = draw.choice(graph.node), draw.choice(graph.node)
    one.input[draw.randrange(len(one.input))] = draw.choice([*other.output, *other.input, "nobody", ""])


def _missing_constant(draw: random.Random, graph: schema.Graph) -> None:
    if graph.initializer:
        graph.initializer.pop(draw.randrange(len(graph.initializer)))


def _wrong_operator(draw: random.Random, graph: schema.Graph) -> None:
    draw.choice(graph.node).op_type = draw.choice(
        [one.op_type for one in graph.node] + ["", "Loop", "Pad", "Resize", "Expand"]
    )


def _wrong_number(draw: random.Random, graph: schema.Graph) -> None:
    owners = [one for one in graph.node if one.attribute]
    if owners:
        found = draw.choice(draw.choice(owners).attribute)
        values = (0, -1, 7, 1 << 31, (1 << 62) + 1, -(1 << 63))
        found.ints = np.array([draw.choice(values) for _ in range(draw.choice((1, 2, 4)))], np.int64)
        found.i, found.type = draw.choice(values), draw.choice((found.type, 2, 7))


def _wrong_dims(draw: random.Random, graph: schema.Graph) -> None:
    if graph.initializer:
        tensor = draw.choice(graph.initializer)
        tensor.dims = np.array([draw.choice((0, 1, 3, 8, 1 << 40, -5)) for _ in range(draw.randrange(6))], np.int64)
        tensor.data_type = draw.choice((tensor.data_type, 7, 8, 16, 99))


def _wrong_input_shape(draw: random.Random, graph: schema.Graph) -> None:
    kind = graph.input[0].type
    if (
        kind is not None
        and kind.tensor_type is not None
        and kind.tensor_type.shape is not None
        and kind.tensor_type.shape.dim
    ):
        draw.choice(kind.tensor_type.shape.dim).dim_value = draw.choice((0, 1, -3, 1 << 23, 1 << 50))


def _cycle(draw: random.Random, graph: schema.Graph) -> None:
    draw.shuffle(graph.node)


def _huge(draw: random.Random, graph: schema.Graph) -> None:
    """A node that would make an enormous tensor of a constant shape."""
    sizes = schema.Tensor(dims=np.array([3]), data_type=7, name="huge", int64_data=np.array([1 << 30, 1 << 20, 64]))
    graph.initializer.append(sizes)
    op = draw.choice(("Expand", "ConstantOfShape", "Tile", "Reshape"))
    reads = "huge" if op == "ConstantOfShape" else draw.choice(("huge huge", "image huge"))
    graph.node.insert(draw.randrange(len(graph.node) + 1), node(op, reads, "enormous"))


_CHANGES = (
    *(_wrong_input, _missing_constant, _wrong_operator, _wrong_number, _wrong_number, _wrong_dims),
    *(_wrong_input_shape, _cycle, _huge),
)
_MUTATIONS: tuple[Mutation, ...] = (flipped, flipped, truncated, overwritten, rewritten, rewritten, rewritten)


def main(count: int, limit: int) -> None:
    """Try ``count`` files in at most ``limit`` MiB beyond what the process has when it starts."""
    torch.set_num_threads(1)
    originals = [content(small_network(0.2)), content(many_operators())]
    inputs = [torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 12, 10)]
    for whole, images in zip(originals, inputs, strict=True):
        read_onnx(whole).module(images)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (limit << 20), resource.RLIM_INFINITY))
    report = {"read": 0, "run": 0, "refused": 0, "slowest": 0.0, "wrong": []}
    for seed in range(count):
        draw = random.Random(seed)
        images = inputs[seed % 2]
        damaged = draw.choice(_MUTATIONS)(draw, originals[seed % 2])
        begun = time.thread_time()
        try:
            found = read_onnx(damaged)
            report["read"] += 1  # the damage met a name, or a number of a weight
            if [info.shape for info in found.inputs] == [(None, *images.shape[1:])]:
                try:
                    found.module(images)
                    report["run"] += 1
                except RuntimeError as error:
                    if "can't allocate memory" not in str(error):  # a network that really is that large
                        raise
        except InputError as error:
            report["refused"] += 1
            if not 30 < len(str(error)) < 4000:
                report["wrong"].append([seed, f"an error of {len(str(error))} letters: {str(error)[:100]}"])
        except BaseException as error:  # noqa: BLE001 (whatever else comes is what is looked for)
            report["wrong"].append([seed, f"{type(error).__name__}: {str(error)[:200]}"])
        report["slowest"] = max(report["slowest"], time.thread_time() - begun)
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
