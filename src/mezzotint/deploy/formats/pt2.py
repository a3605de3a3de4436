"""How does a network become a ``.pt2`` archive of ``torch.export``? With any batch size, and our header inside.

A sparse network is written with mezzotint's own operators: ``import mezzotint.ops`` before ``torch.export.load``. A
dense one needs PyTorch alone.
"""

from __future__ import annotations

import io
import json
import warnings

import torch
from torch import nn
from torch.export import Dim

import mezzotint
from mezzotint.deploy.assemble import layer_records
from mezzotint.deploy.description import Description, require_input_shape
from mezzotint.errors import InputError

HEADER = "mezzotint.json"
"""Name of the extra file in the archive that holds description and layers."""


def write(model: nn.Module, description: Description) -> bytes:
    """The content of the archive.

    Raises:
        InputError: the input's shape is not described, or ``torch.export`` cannot follow the network.
    """
    shape = require_input_shape(description, "torch.export needs it")
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, *shape)
    header = {"mezzotint": mezzotint.__version__, "description": description.to_json(), "layers": layer_records(model)}
    archive = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own internals
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            program = torch.export.export(model, (example,), dynamic_shapes=({0: Dim("batch", min=1)},))
        except Exception as error:  # torch.export fails with errors of many types; all mean the same to the user
            first = str(error).strip().splitlines()
            raise InputError(
                f"pt2: torch.export cannot follow {type(model).__name__}: {first[0] if first else type(error).__name__}"
            ) from error
        torch.export.save(program, archive, extra_files={HEADER: json.dumps(header)})
    return archive.getvalue()
