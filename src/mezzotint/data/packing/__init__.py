"""How does a data set become one file that is fast to read? ``pack``, resumable at any moment and reproducible."""

from mezzotint.data.packing.pack import PackResult, PackSettings, pack

__all__ = ["PackResult", "PackSettings", "pack"]
