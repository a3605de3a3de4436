"""How is the arithmetic done? Kernels without autograd, and the launcher that picks one and says why."""

from __future__ import annotations

from mezzotint.kernels import launch
from mezzotint.kernels.problem import Problem, density_bucket
from mezzotint.kernels.scratch import release_scratch
from mezzotint.kernels.table import KERNELS, Kernel, KernelTable

__all__ = ["KERNELS", "Kernel", "KernelTable", "Problem", "density_bucket", "launch", "release_scratch"]
