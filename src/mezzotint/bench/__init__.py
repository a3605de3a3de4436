"""How fast is a sparse network on this machine? Kernels and whole steps against PyTorch's best dense ones.

Everything that is compared is measured in one process, in turn and warm, and compared by medians; losses are shown
beside wins. ``mezzotint bench`` is the way in; to measure something else, take the functions of the modules.
"""

from __future__ import annotations
