"""How does a network become an ONNX file? Dense with its zeros, or with sparse initializers; our description inside.

Any program that runs ONNX runs it. The entries among its metadata are ``mezzotint``, our header as JSON, from which the
description is read again, and in words for others: ``protocol``, ``classes`` (a JSON list), ``mean`` and ``std``.

``onnx`` writes the zeros of sparse layers out: every program knows that, and ones that look for zeros find them.
``onnx-sparse`` writes values and int64 indices, a file of 12 bytes a nonzero; ONNX Runtime expands it when it loads.
"""

from __future__ import annotations

import json

from torch import nn

import mezzotint
from mezzotint.deploy.description import Description, require_input_shape
from mezzotint.deploy.onnx.load import KEY
from mezzotint.deploy.onnx.writer import write_model
from mezzotint.lowering import densify
from mezzotint.sparse import sparse_layers


def write(model: nn.Module, description: Description) -> bytes:
    """The content of a file whose sparse layers are dense.

    Raises:
        InputError: the input's shape is not described, or the network cannot be traced.
        UnsupportedModel: parts of it have no counterpart in ONNX; all are named.
    """
    return _written(model, description, sparse=False)


def write_sparse(model: nn.Module, description: Description) -> bytes:
    """The content of a file with sparse initializers.

    Raises:
        InputError, UnsupportedModel: as :func:`write`.
    """
    return _written(model, description, sparse=True)


def _written(model: nn.Module, description: Description, *, sparse: bool) -> bytes:
    shape = require_input_shape(description, "An ONNX file states it")
    patterns = {name: layer.pattern for name, layer in sparse_layers(model).items()} if sparse else None
    header = {"mezzotint": mezzotint.__version__, "description": description.to_json()}
    metadata = {KEY: json.dumps(header), **_in_words(description)}
    producer = ("mezzotint", mezzotint.__version__)
    return write_model(densify(model).eval(), shape, metadata, producer, patterns)


def _in_words(description: Description) -> dict[str, str]:
    found = {"protocol": description.protocol or "", "classes": "", "mean": "", "std": ""}
    if description.classes:
        found["classes"] = json.dumps(list(description.classes))
    for key, numbers in (("mean", description.mean), ("std", description.std)):
        found[key] = json.dumps(list(numbers)) if numbers else ""
    return {key: value for key, value in found.items() if value}
