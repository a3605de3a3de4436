"""How does a network become a ``.pt2`` archive of ``torch.export``? With any batch size, and our header inside.

A sparse network is written with mezzotint's own operators: ``import mezzotint.ops`` before ``torch.export.load``. A
dense one needs PyTorch alone.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch import nn
from torch.export import Dim

import mezzotint
from mezzotint.deploy.assemble import layer_records
from mezzotint.deploy.description import Description, require_input_shape, trial_shapes
from mezzotint.deploy.refusals import check_shape, users_line
from mezzotint.errors import InputError, first_line, message

HEADER = "mezzotint.json"
"""Name of the extra file in the archive that holds description and layers."""


def write(model: nn.Module, description: Description) -> bytes:
    """The content of the archive.

    Raises:
        InputError: the input's shape is not described, or ``torch.export`` cannot follow the network.
    """
    shape = require_input_shape(description, "torch.export needs it")
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, *trial_shapes(shape)[0])
    free = {axis: Dim.DYNAMIC for axis, size in enumerate(shape, 1) if size is None}
    if free:
        check_shape(model, shape)  # torch.export would be content with one size whose numbers fit
    header = {"mezzotint": mezzotint.__version__, "description": description.to_json(), "layers": layer_records(model)}
    archive = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own internals
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            with _without_its_graph():
                program = torch.export.export(model, (example,), dynamic_shapes=({0: Dim("batch", min=1), **free},))
        except Exception as error:  # torch.export fails with errors of many types; all mean the same to the user
            check_shape(model, shape)  # where the network itself does not take it, that is the reason
            raise InputError(
                message(
                    f"pt2: {type(model).__name__}",
                    received=f"a network that torch.export cannot follow: {first_line(error)}{users_line(error)}",
                    allowed="one whose calls do not depend on the numbers of its input",
                    fix="Change that line, or write it as format safetensors, which holds the weights alone.",
                )
            ) from error
        torch.export.save(program, archive, extra_files={HEADER: json.dumps(header)})
    return archive.getvalue()


@contextmanager
def _without_its_graph() -> Iterator[None]:
    """Where torch.export fails it prints the whole graph, twice, and warns; what it says of a success is kept."""
    told, log = io.StringIO(), logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stderr(told):
            yield
    finally:
        log.setLevel(level)
    sys.stderr.write(told.getvalue())
