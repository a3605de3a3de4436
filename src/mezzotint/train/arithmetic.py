"""What does a network compute? The multiply-adds of each layer for one image, were it dense; counted, not timed."""

from __future__ import annotations

import logging
from math import prod
from typing import Any, Final

import torch
from torch import Tensor, nn

from mezzotint.train.config import RunConfig
from mezzotint.train.inputs import InputRecord
from mezzotint.train.parts import dense_network
from mezzotint.train.run_folder import Folder

FILE: Final = "arithmetic.json"
_log = logging.getLogger(__name__)


def write(folder: Folder, config: RunConfig, record: InputRecord) -> None:
    """Write ``arithmetic.json``: under ``"multiply_adds"`` every convolution and linear layer with its number.

    A network of somebody's own that computes on what its tensors hold cannot be counted; then the log says so.
    """
    try:
        counted = multiply_adds(config, record)
    except Exception as error:  # noqa: BLE001  # whatever somebody's own network raises where tensors have shapes alone
        _log.info("The multiply-adds of %s are not counted: %s", config.model.name, error)
        return
    folder.write_json(FILE, {"format": 1, "multiply_adds": counted})


def multiply_adds(config: RunConfig, record: InputRecord) -> dict[str, int]:
    """Layer name -> multiply-adds of a dense forward pass of one image, in the order of the modules.

    The network is made and run anew on tensors without memory, so that nothing is computed and no kernel is timed.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        network = dense_network(config, record).eval()
        image = torch.empty(1, record.in_channels, *record.image_size)
        layers = {name: module for name, module in network.named_modules() if _counts(module)}
        found = dict.fromkeys(layers, 0)
        for name, module in layers.items():
            module.register_forward_hook(_counter(found, name))
        network(image)
    return found


def _counts(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)


def _counter(found: dict[str, int], name: str) -> Any:
    def count(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        weight = module.weight
        if isinstance(weight, Tensor):
            found[name] += output.numel() * prod(weight.shape[1:])

    return count
