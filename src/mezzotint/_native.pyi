"""What does the native extension offer? Addresses in, results in place; ``mezzotint.kernels.native`` wraps it."""

from collections.abc import Sequence

#: (address, dtype code, shape, strides in elements); codes: 0 float32, 1 bfloat16, 2 float16, 3 int32.
_Tensor = tuple[int, int, Sequence[int], Sequence[int]]
#: (out, in_per_group, kh, kw, stride_h, stride_w, top, bottom, left, right, dilation_h, dilation_w, groups).
_Conv = Sequence[int]
#: (top, bottom, left, right).
_Halo = Sequence[int]
#: (scale, shift, residual, halo of the residual, relu).
_Epilogue = tuple[_Tensor | None, _Tensor | None, _Tensor | None, _Halo, bool]

def conv2d_output(
    x: _Tensor, values: _Tensor, indices: _Tensor, bias: _Tensor | None, y: _Tensor, conv: _Conv, threads: int, /
) -> None: ...
def conv2d_input_grad(
    gy: _Tensor, values: _Tensor, indices: _Tensor, transposed: _Tensor, gx: _Tensor, conv: _Conv, threads: int, /
) -> None: ...
def conv2d_weight_grad(
    x: _Tensor, gy: _Tensor, indices: _Tensor, gvalues: _Tensor, conv: _Conv, threads: int, /
) -> None: ...
def pack(x: _Tensor, packed: _Tensor, halo: _Halo, threads: int, /) -> None: ...
def unpack(packed: _Tensor, halo: _Halo, y: _Tensor, threads: int, /) -> None: ...
def repack(source: _Tensor, source_halo: _Halo, target: _Tensor, target_halo: _Halo, threads: int, /) -> None: ...
def conv2d_output_packed(
    x: _Tensor,
    x_halo: _Halo,
    values: _Tensor,
    indices: _Tensor,
    working: int,
    bias: _Tensor | None,
    epilogue: _Epilogue,
    y: _Tensor,
    y_halo: _Halo,
    conv: _Conv,
    batch: int,
    threads: int,
    /,
) -> None: ...
def conv2d_input_grad_packed(
    gy: _Tensor,
    gy_halo: _Halo,
    values: _Tensor,
    indices: _Tensor,
    transposed: _Tensor,
    working: int,
    gx: _Tensor,
    gx_halo: _Halo,
    conv: _Conv,
    threads: int,
    /,
) -> None: ...
def conv2d_weight_grad_packed(
    x: _Tensor,
    x_halo: _Halo,
    gy: _Tensor,
    gy_halo: _Halo,
    indices: _Tensor,
    gvalues: _Tensor,
    conv: _Conv,
    threads: int,
    /,
) -> None: ...
def input_grad_halo(conv: _Conv, gx: Sequence[int], gy: Sequence[int], /) -> list[int]: ...
def isa() -> str: ...
def isas() -> list[str]: ...
def force_isa(name: str, /) -> None: ...
def thread_pool() -> str: ...
def release_scratch() -> int: ...
