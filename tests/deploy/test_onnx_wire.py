"""Is the wire format of Protocol Buffers read and written as others read and write it, and is nothing trusted?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import content, small_network

from mezzotint.deploy.onnx import schema, tensors, wire

_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(_INT64), st.lists(st.floats(width=32, allow_nan=False)), st.text(), st.binary(), _INT64)
def test_what_is_written_is_read_again(
    ints: list[int], floats: list[float], text: str, octets: bytes, number: int
) -> None:
    one = schema.Attribute(
        name=text, i=number, s=octets, ints=np.array(ints, np.int64), floats=np.array(floats, np.float32)
    )
    again = wire.decode(schema.Attribute, memoryview(wire.encode(one)))
    assert (again.name, again.i, bytes(again.s)) == (text, number, octets)
    assert again.ints.tolist() == ints
    assert again.floats.tolist() == floats


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=20))
def test_packed_numbers_are_those_written_one_by_one(numbers: list[int]) -> None:
    one_by_one = b"".join(b"\x58" + wire._number(number) for number in numbers)  # field 11, a varint
    packed = wire.encode(schema.Tensor(uint64_data=np.array(numbers, np.uint64)))
    for written in (one_by_one, packed):
        assert wire.decode(schema.Tensor, memoryview(written)).uint64_data.tolist() == numbers


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"\x0a\x05abc", "5 bytes where 3 are left"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "bytes where 0 are left"),
        (b"\x08\x80", "ends within a number"),
        (b"\x08" + b"\x80" * 11, "more than ten bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "number 0"),
        (b"\x3a\x02\xff\xff", "ends within a number"),  # the graph is no message
        (b"\x38\x01", "wire type 0 where 2"),  # a graph as a number
        (b"\x12\x01\xff", "not UTF-8"),
    ],
)
def test_what_is_no_message_is_told(octets: bytes, told: str) -> None:
    with pytest.raises(wire.Malformed, match=told):
        wire.decode(schema.Model, memoryview(octets))


def test_unknown_fields_are_skipped() -> None:
    strange = b"\xfa\x7f\x03xyz" + b"\xf9\x7f" + b"8 octets" + b"\xf5\x7f" + b"four" + b"\xf0\x7f\x07"
    assert wire.decode(schema.Model, memoryview(strange + b"\x08\x09")).ir_version == 9


@pytest.mark.parametrize("dtype", list(tensors.CODES), ids=str)
def test_tensors_survive_in_every_type(dtype: torch.dtype) -> None:
    values = torch.arange(6).reshape(2, 3).to(dtype)
    assert torch.equal(tensors.read_tensor(tensors.write_tensor(values), None), values)
    empty = torch.zeros(0, 3, dtype=dtype)
    assert tensors.read_tensor(tensors.write_tensor(empty), None).shape == (0, 3)


def test_the_onnx_package_reads_what_we_write_and_we_read_what_it_writes() -> None:
    onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
    ours = content(small_network())
    theirs = onnx.load_from_string(ours)
    onnx.checker.check_model(theirs, full_check=False)
    again = wire.decode(schema.Model, memoryview(theirs.SerializeToString()))
    assert content(again) == ours
    by_fields = onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT16, [2], [1.5, -2.0])
    read = wire.decode(schema.Tensor, memoryview(by_fields.SerializeToString()))
    assert tensors.read_tensor(read, None).tolist() == [1.5, -2.0]
    for kind, values in ((onnx.TensorProto.INT64, [-5, 1 << 40]), (onnx.TensorProto.INT8, [-128, 7])):
        read = wire.decode(
            schema.Tensor, memoryview(onnx.helper.make_tensor("t", kind, [2], values).SerializeToString())
        )
        assert tensors.read_tensor(read, None).tolist() == values
