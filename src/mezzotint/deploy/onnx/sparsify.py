"""Which layers of a read model become sparse? Those whose weights hold so many zeros that nonzeros alone cost less."""

from __future__ import annotations

import torch
from torch import nn

from mezzotint.lowering.worth import layer_pays
from mezzotint.sparse import Pattern
from mezzotint.sparse.conversion import sparse_twin
from mezzotint.sparse.swap import replace_modules


def sparse_where_it_pays(model: nn.Module) -> nn.Module:
    """``model`` with convolutions and linear layers swapped for sparse twins whose pattern is that of the nonzeros.

    A layer of few nonzeros among many weights is swapped; by the same rule that decides when a network is led natively,
    see :func:`mezzotint.lowering.worth.layer_pays`. Others stay as they are.
    """
    twins: dict[nn.Module, nn.Module] = {}
    for layer in model.modules():
        if type(layer) not in (nn.Conv2d, nn.Linear) or not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        weight = layer.weight.detach()
        count = int(torch.count_nonzero(weight))
        if count and weight.dtype is torch.float32 and layer_pays(count / weight.numel()):
            alive = weight != 0
            twins[layer] = sparse_twin(layer, Pattern.from_mask(alive), weight[alive])
    return replace_modules(model, twins)
