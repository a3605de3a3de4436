"""Which 16-bit arithmetic does this machine have? Where it has none, 16 bits are a storage format."""

from __future__ import annotations

from functools import lru_cache

import torch


@lru_cache
def computes_in(dtype: torch.dtype, device_type: str) -> bool:
    """Whether PyTorch's convolutions and products on ``device_type`` have fast kernels for ``dtype``.

    On CPUs this asks oneDNN: without AVX-512 (BF16) or AVX-512-FP16 its 16-bit convolutions fall to loops that are ten
    to twenty times slower than FP32. Rounding the operands and computing in FP32 gives the same products there.
    """
    if dtype not in (torch.bfloat16, torch.float16) or device_type != "cpu":
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    name = "_is_mkldnn_bf16_supported" if dtype == torch.bfloat16 else "_is_mkldnn_fp16_supported"
    return bool(getattr(torch.ops.mkldnn, name)())
