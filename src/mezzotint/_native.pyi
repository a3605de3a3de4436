"""What does the native extension offer? Addresses in, results in place; ``mezzotint.kernels.native`` wraps it."""

from collections.abc import Sequence

#: (address, dtype code, shape, strides in elements); codes: 0 float32, 1 bfloat16, 2 float16, 3 int32.
_Tensor = tuple[int, int, Sequence[int], Sequence[int]]
#: (out, in_per_group, kh, kw, stride_h, stride_w, top, bottom, left, right, dilation_h, dilation_w, groups).
_Conv = Sequence[int]
#: (top, bottom, left, right).
_Halo = Sequence[int]
_Packed = tuple[_Tensor, _Halo]
#: (kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w).
_Window = Sequence[int]
#: (scale, shift, residual, relu, mask, mask_scale, mask_shift, companion).
_Epilogue = tuple[
    _Tensor | None,
    _Tensor | None,
    _Packed | None,
    bool,
    _Packed | None,
    _Tensor | None,
    _Tensor | None,
    _Packed | None,
]

class Kept:
    """Calls that were noted: they can be done again while what they were told about lasts."""

    @property
    def is_empty(self) -> bool: ...
    def do_again(self) -> None: ...

#: (height, width).
_Sides = Sequence[int]
#: (top, left, height, width).
_Rectangle = Sequence[int]
#: uint8 levels: (address, bytes between rows, height, width, channels).
_Levels = tuple[int, int, int, int, int]

def conv2d_output(
    x: _Tensor, values: _Tensor, indices: _Tensor, bias: _Tensor | None, y: _Tensor, conv: _Conv, threads: int, /
) -> None: ...
def conv2d_input_grad(
    gy: _Tensor, values: _Tensor, indices: _Tensor, transposed: _Tensor, gx: _Tensor, conv: _Conv, threads: int, /
) -> None: ...
def conv2d_weight_grad(
    x: _Tensor, gy: _Tensor, indices: _Tensor, gvalues: _Tensor, conv: _Conv, threads: int, /
) -> None: ...
def scatter(values: _Tensor, indices: _Tensor, dense: _Tensor, rounded_to: int, threads: int, /) -> None: ...
def pack(x: _Tensor, packed: _Packed, threads: int, /) -> None: ...
def unpack(packed: _Packed, y: _Tensor, threads: int, /) -> None: ...
def repack(source: _Packed, target: _Packed, threads: int, /) -> None: ...
def conv2d_output_packed(
    x: _Packed,
    values: _Tensor,
    indices: _Tensor,
    bias: _Tensor | None,
    epilogue: _Epilogue,
    y: _Packed,
    conv: _Conv,
    batch: int,
    totals: _Tensor | None,
    threads: int,
    /,
) -> None: ...
def conv2d_input_grad_packed(
    gy: _Packed,
    values: _Tensor,
    indices: _Tensor,
    transposed: _Tensor,
    epilogue: _Epilogue,
    gx: _Packed,
    conv: _Conv,
    batch: int,
    totals: _Tensor | None,
    threads: int,
    /,
) -> None: ...
def conv2d_weight_grad_packed(
    x: _Packed, gy: _Packed, indices: _Tensor, gvalues: _Tensor, conv: _Conv, threads: int, /
) -> None: ...
def conv2d_dense_grad_packed(
    x: _Packed, gy: _Packed, gradient: _Tensor, conv: _Conv, paired: bool, threads: int, /
) -> None: ...
def conv2d_backward_packed(
    g: _Packed,
    scale: _Tensor | None,
    shift: _Tensor | None,
    y: _Packed,
    companion: _Tensor | None,
    x: _Packed,
    values: _Tensor,
    indices: _Tensor,
    transposed: _Tensor,
    epilogue: _Epilogue,
    gx: _Packed,
    gvalues: _Tensor,
    conv: _Conv,
    batch: int,
    totals: _Tensor | None,
    threads: int,
    /,
) -> None: ...
def normalise_packed(
    x: _Packed,
    scale: _Tensor | None,
    shift: _Tensor | None,
    other: _Packed | None,
    other_scale: _Tensor | None,
    other_shift: _Tensor | None,
    addend: _Packed | None,
    relu: bool,
    z: _Packed,
    batch: int,
    threads: int,
    /,
) -> None: ...
def reduce_packed(
    x: _Packed,
    mask: _Packed | None,
    mask_scale: _Tensor | None,
    mask_shift: _Tensor | None,
    companion: _Packed | None,
    masked: _Packed | None,
    totals: _Tensor | None,
    threads: int,
    /,
) -> None: ...
def norm_coefficients(
    totals: _Tensor | None,
    count: float,
    norm: tuple[_Tensor | None, _Tensor | None, _Tensor | None, _Tensor | None, _Tensor | None],
    eps: float,
    share: float,
    scale: _Tensor,
    shift: _Tensor,
    state: _Tensor,
    /,
) -> None:
    """``norm`` is (weight, bias, left_out, running_mean, running_var)."""

def norm_gradient(
    totals: _Tensor,
    count: float,
    scale: _Tensor,
    state: _Tensor,
    weight: _Tensor,
    bias: _Tensor,
    companion: _Tensor,
    constant: _Tensor,
    /,
) -> None: ...
def max_pool_packed(x: _Packed, y: _Packed, window: _Window, batch: int, threads: int, /) -> None: ...
def max_pool_grad_packed(
    x: _Packed, y: _Packed, gy: _Packed, gx: _Packed, window: _Window, threads: int, /
) -> None: ...
def global_average_packed(x: _Packed, y: _Packed, threads: int, /) -> None: ...
def global_average_grad_packed(gy: _Packed, gx: _Packed, threads: int, /) -> None: ...
def input_grad_halo(conv: _Conv, gx: Sequence[int], gy: Sequence[int], /) -> list[int]: ...
def note_calls() -> None: ...
def run_noted() -> None: ...
def forget_noted() -> None: ...
def keep_noted() -> None: ...
def cut() -> Kept: ...
def keep_no_more() -> None: ...
def isa() -> str: ...
def isas() -> list[str]: ...
def force_isa(name: str, /) -> None: ...
def thread_pool() -> str: ...
def handover_nanoseconds() -> float: ...
def set_cores(cores: int, /) -> None: ...
def release_scratch() -> int: ...
def resize_reach(filter: int, size: _Sides, to: _Sides, window: _Rectangle, /) -> tuple[int, int, int, int]: ...
def resize_levels(
    filter: int,
    size: _Sides,
    to: _Sides,
    window: _Rectangle,
    held: _Rectangle,
    image: _Levels,
    result: _Levels,
    threads: int,
    /,
) -> None: ...
def normalise_levels(
    images: Sequence[_Levels], planes: int, mean: _Tensor | None, std: _Tensor | None, threads: int, /
) -> None: ...
def jpeg_use(path: str, /) -> str: ...
def jpeg_header(data: bytes, /) -> tuple[int, int, int] | None: ...
def jpeg_own_entropy() -> bool: ...
def jpeg_decode(data: bytes, box: _Rectangle, to: _Levels, /) -> int | None: ...
def jpeg_resize(
    files: Sequence[tuple[bytes, _Rectangle, int, _Rectangle, _Sides, _Rectangle, bool, int, _Levels]], threads: int, /
) -> list[bool]: ...
def level_tables(image: _Levels, tables: bytes, result: _Levels, /) -> None: ...
def level_extremes(image: _Levels, /) -> list[list[int]]: ...
def equalize_levels(image: _Levels, result: _Levels, /) -> None: ...
def luma_sum(image: _Levels, /) -> int: ...
def blend_with_grey(image: _Levels, factor: float, result: _Levels, /) -> None: ...
def blend_with_smooth(image: _Levels, factor: float, result: _Levels, /) -> None: ...
def warp_levels(image: _Levels, units: Sequence[int], fill: int, result: _Levels, /) -> None: ...

jpeg_margin: int
