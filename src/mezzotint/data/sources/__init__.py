"""Which kinds of data source are there? One file each; the first kind in the table that recognises a path opens it."""

from mezzotint.data.source import Kind
from mezzotint.data.sources import cifar, digits, flat, folder, idx, parquet, shards, tar

SOURCES: dict[str, Kind] = {
    "digits": digits.KIND,
    "idx": idx.KIND,
    "cifar": cifar.KIND,
    "tar": tar.KIND,
    "shards": shards.KIND,
    "parquet": parquet.KIND,
    "flat": flat.KIND,
    "folder": folder.KIND,
}
