"""With which numbers does a network start? He's initialisation, and the zero start of residual branches."""

from __future__ import annotations

from torch import nn


def he_(model: nn.Module) -> nn.Module:
    """Initialise ``model`` in place after He et al. 2015 ("Delving deep into rectifiers") and return it.

    Convolutions: normal, variance ``2 / fan_out`` (equation 14, which keeps the variance of gradients; the choice of
    torchvision). Linear layers: normal, variance ``2 / fan_in`` (equation 10); the last one, which no rectifier
    follows, ``1 / fan_in``. Biases start at 0, batch norms at scale 1 and shift 0. Draws come from PyTorch's global
    CPU generator, in module order.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            last = module is linear[-1]
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear" if last else "relu")
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return model


def zero_branches_(model: nn.Module) -> nn.Module:
    """Set the last batch norm's scale of every residual branch to 0, so that each block starts as its shortcut.

    Goyal et al. 2017 ("Accurate, large minibatch SGD"), section 5.1. A block names that layer in ``last_norm``; blocks
    without one (pre-activation blocks end in a convolution) are left alone.
    """
    for module in model.modules():
        last = getattr(module, "last_norm", None)
        if isinstance(last, str):
            norm = module.get_submodule(last)
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.zeros_(norm.weight)
    return model
