"""Where does a layer's dense gradient go while it is wanted? A pending buffer that lives only inside the dense window.

Outside the window a sparse layer computes the gradient of its nonzeros alone. Inside, a hook on the layer's output
also computes the gradient of the whole dense weight, in FP32, and adds it to :attr:`DenseWindow.pending`. Several
backward passes (gradient accumulation, a module used twice) add up, as they do in ``parameter.grad``, and passes that
do not reach it (``torch.autograd.grad(loss, images)``) do not count.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge


def is_accumulated(values: Tensor) -> bool:
    """Whether the backward pass under way is one for the gradient of ``values``, and not only for that of others."""
    try:
        wanted: bool = torch._C._will_engine_execute_node(get_gradient_edge(values).node)
    except RuntimeError:  # torch.autograd.grad of the very values, which the loop takes to where it wants it
        return True
    return wanted


class DenseWindow:
    """One layer's open window: collects the dense weight gradient of the step under way."""

    def __init__(self) -> None:
        self.pending: Tensor | None = None
        """FP32, shape of the dense weight: the gradients since the last :meth:`take`, or None when there were none."""
        self._version = -1

    def watch(self, output: Tensor, values: Tensor, gradient: Callable[[Tensor], Tensor]) -> None:
        """When ``output``'s gradient becomes known, add ``gradient(of it)``, the dense weight gradient, to pending.

        It is added where that of ``values``, the active weights, is wanted, too. ``gradient`` may be handed the
        output's gradient with its leading axes flattened.
        """

        def collect(grads: tuple[Tensor | None, ...]) -> None:
            output_grad = grads[0]
            if output_grad is None or not is_accumulated(values):
                return
            # The backward pass may run inside an autocast region; the statistics stay in FP32 all the same.
            with torch.no_grad(), torch.autocast(output_grad.device.type, enabled=False):
                dense = gradient(output_grad)
            self.add(dense)

        # On the node that made the output, not on the tensor: a hook on a view (of a linear layer's rows, say) is lost
        # when an activation changes the view in place.
        made = output._base if output._is_view() and output._base is not None else output
        if made.grad_fn is not None:
            made.grad_fn.register_prehook(collect)

    def add(self, dense: Tensor) -> None:
        """Add a dense FP32 weight gradient to pending; the window owns it from now on."""
        self.pending = dense if self.pending is None else self.pending.add_(dense)
        self._version = self.pending._version

    @property
    def handled(self) -> bool:
        """Whether somebody has changed pending since the last backward pass: ``Precision``, or a sum over ranks."""
        return self.pending is not None and self.pending._version != self._version

    def take(self) -> Tensor | None:
        """The pending gradient, which is thereby no longer pending."""
        taken, self.pending = self.pending, None
        return taken
