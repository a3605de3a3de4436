"""What do an operator's flags forbid torch's compilers and our launcher?"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx.node import has_side_effect

from mezzotint.kernels import launch
from mezzotint.ops.opdef import OpDef


def tags(op: OpDef) -> tuple[torch.Tag, ...]:
    """Tags of the torch operator. The second forbids to fold it into a constant or to compute it a second time."""
    stateful = (torch.Tag.nondeterministic_seeded,) if op.stateful_because else ()
    return (torch.Tag.pt2_compliant_tag, *stateful)


def hold(op: OpDef, overload: Any) -> None:
    """Have a stateful operator run as often as it is called, no more and no less."""
    if not op.stateful_because:
        return
    from torch._functorch.compile_utils import rand_ops

    launch.never_time(op.name)
    has_side_effect(overload)  # graphs keep it though nobody reads its result
    rand_ops.append(overload.overloadpacket)  # equal calls are not merged; torch goes by this list, not by the tag
