"""Which optimiser steps the weights, and which of them decay? Weights decay, biases and norms usually do not."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mezzotint.sparse.past import AFFINE_NORMS
from mezzotint.train.config import OptimizerConfig


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The configured optimiser over all parameters of ``model``, after ``sparsify``.

    Two groups: parameters that decay, and biases and norms, which do not unless ``config.decay_all``.
    """
    weights, rest = split_parameters(model)
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": config.weight_decay if config.decay_all else 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    kind = Adam if config.name == "adam" else AdamW
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(weights, biases and parameters of norms), each in the order of ``model.parameters()``, shared ones once.

    The values of sparse layers have one axis, like a bias; what a parameter is follows from its module and its name.
    """
    kept_apart: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, AFFINE_NORMS):
                kept_apart.add(id(parameter))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in parameters if id(parameter) not in kept_apart]
    return weights, [parameter for parameter in parameters if id(parameter) in kept_apart]


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group of ``optimizer`` the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate
