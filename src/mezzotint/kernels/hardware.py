"""Which machine is this, and which 16-bit arithmetic does it have? Where it has none, 16 bits are a storage format."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

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


def processor() -> str:
    """The processor's own name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def processor_model() -> str:
    """The processor's name with the numbers of its family and model: virtual machines often hide them in the name."""
    numbers = [f"{key.removeprefix('cpu ')} {_cpuinfo()[key]}" for key in ("cpu family", "model") if key in _cpuinfo()]
    return ", ".join([processor(), *numbers])


@lru_cache
def _cpuinfo() -> dict[str, str]:
    """What Linux says about the first processor; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    rows = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in rows}
