"""Which nodes work in the native layout, which are fused into one step, and how wide is the halo of each tensor?

A step is a convolution with what follows it (batch norm, then a residual, then ReLU), or the same tail alone on a
tensor that is native already, or a pooling. In inference it is one pass over memory. Regions are the steps that hand
native tensors to each other; layouts are converted at their borders only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx, nn

from mezzotint.kernels.native_layout import NO_HALO, ConvGeometry, Sides
from mezzotint.lowering.roles import CONVOLUTIONS, Role, role_of, tensor_inputs
from mezzotint.lowering.weights import ConvLayer, Weights
from mezzotint.sparse import SparseConv2d
from mezzotint.sparse.geometry import explicit_padding


@dataclass(kw_only=True)
class Step:
    """One pass in the native layout.

    Attributes:
        nodes: the nodes it does, in order; the last one's result is the step's.
        source: the node that it reads.
        conv, norm: their nodes, if it has them.
        residual: the node whose tensor is added, if any.
        relu: whether negative numbers become zero at the end.
        pool: the kind of pooling, if it is one; nothing else is in such a step.
        dense: whether the convolution is dense.
    """

    nodes: list[fx.Node]
    source: fx.Node
    conv: fx.Node | None = None
    norm: fx.Node | None = None
    residual: fx.Node | None = None
    relu: bool = False
    pool: Role | None = None
    dense: bool = False

    @property
    def reads(self) -> tuple[fx.Node, ...]:
        """The nodes whose tensors it reads."""
        return (self.source,) if self.residual is None else (self.source, self.residual)

    @property
    def result(self) -> fx.Node:
        """The node whose tensor it yields."""
        return self.nodes[-1]

    def describe(self) -> str:
        """Such as ``sparse convolution + batch norm + add + ReLU``."""
        conv = Role.DENSE_CONV if self.dense else Role.CONV
        flags = ((conv, self.conv), (Role.NORM, self.norm), (Role.ADD, self.residual), (Role.RELU, self.relu))
        return self.pool.value if self.pool else " + ".join(role.value for role, there in flags if there)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done where.

    Attributes:
        steps: in the order of their results.
        halos: node -> halo that its tensor is stored with, for every tensor that is ever native.
        reasons: node -> why it is left in the plain layout.
    """

    steps: list[Step]
    halos: Mapping[fx.Node, Sides]
    reasons: Mapping[fx.Node, str] = field(default_factory=dict)


def make_plan(graph_module: fx.GraphModule, *, folds: bool) -> Plan:
    """Plan the nodes of ``graph_module``, whose shapes must be recorded.

    Args:
        folds: whether batch norms are folded into constants, for which they must have running statistics.
    """
    nodes = list(graph_module.graph.nodes)
    found = {node: role_of(node, graph_module, folds=folds) for node in nodes}
    roles, reasons = _native_nodes(nodes, found)
    steps = _steps(nodes, roles)
    return Plan(steps=steps, halos=_halos(steps, graph_module), reasons=reasons)


def _native_nodes(
    nodes: Iterable[fx.Node], found: Mapping[fx.Node, Role | str]
) -> tuple[dict[fx.Node, Role], dict[fx.Node, str]]:
    """Sparse convolutions are native, and what follows something native or leads to it alone; others have a reason."""
    native: dict[fx.Node, Role] = {}
    reasons: dict[fx.Node, str] = {}
    for node in nodes:
        role = found[node]
        if isinstance(role, str):
            reasons[node] = role
        elif role is Role.CONV or any(read in native for read in tensor_inputs(node, role)):
            native[node] = role
        else:
            reasons[node] = "nothing that it reads is in the native layout"
    for node in reversed(list(found)):
        role = found[node]
        leads = bool(node.users) and all(user in native for user in node.users)
        if isinstance(role, Role) and role is not Role.ADD and node not in native and leads:
            native[node] = role
            del reasons[node]
    return native, reasons


def _steps(nodes: list[fx.Node], roles: Mapping[fx.Node, Role]) -> list[Step]:
    """Steps grow from convolutions first, the last one first: where two meet in an add, the earlier one is read."""
    taken: set[fx.Node] = set()
    steps: list[Step] = []
    convs_last_first = [node for node in reversed(nodes) if roles.get(node) in CONVOLUTIONS]
    rest = [node for node in nodes if node in roles and roles[node] not in CONVOLUTIONS]
    for node in [*convs_last_first, *rest]:
        if node not in taken:
            step = _begun(node, roles)
            _grow(step, roles, taken)
            taken.update(step.nodes)
            steps.append(step)
    place = {node: at for at, node in enumerate(nodes)}
    return sorted(steps, key=lambda step: place[step.result])


def _begun(node: fx.Node, roles: Mapping[fx.Node, Role]) -> Step:
    inputs = tensor_inputs(node, roles[node])
    if roles[node] is Role.ADD:
        # The operand that is native already is read in place; the other one may still have to be converted.
        source, residual = sorted(inputs, key=lambda read: read not in roles)
        return Step(nodes=[node], source=source, residual=residual)
    step = Step(nodes=[node], source=inputs[0])
    _take(step, node, roles[node])
    return step


def _is_pool(role: Role) -> bool:
    return role in (Role.MAX_POOL, Role.GLOBAL_AVERAGE)


def _grow(step: Step, roles: Mapping[fx.Node, Role], taken: set[fx.Node]) -> None:
    """Add the only reader of the result for as long as the epilogue has a place for it."""
    while len(step.result.users) == 1:
        reader = next(iter(step.result.users))
        role = roles.get(reader)
        if role is None or reader in taken or not _fits(step, reader, role):
            return
        if role is Role.ADD:
            one, two = tensor_inputs(reader, role)
            step.residual = two if one is step.result else one
        _take(step, reader, role)
        step.nodes.append(reader)


def _take(step: Step, node: fx.Node, role: Role) -> None:
    if role in CONVOLUTIONS:
        step.conv, step.dense = node, role is Role.DENSE_CONV
    elif role is Role.NORM:
        step.norm = node
    elif role is Role.RELU:
        step.relu = True
    elif _is_pool(role):
        step.pool = role


def _fits(step: Step, reader: fx.Node, role: Role) -> bool:
    """The order within a step is batch norm, residual, ReLU; a pooling stands alone."""
    if step.pool is not None or _is_pool(role):
        return False
    if role is Role.NORM:
        return step.norm is None and step.residual is None and not step.relu
    if role is Role.ADD:
        one, two = tensor_inputs(reader, role)
        return one is not two and step.residual is None and not step.relu
    return role is Role.RELU and not step.relu


def _halos(steps: Iterable[Step], graph_module: fx.GraphModule) -> dict[fx.Node, Sides]:
    """The widest padding of the convolutions that read a tensor, side by side."""
    halos: dict[fx.Node, Sides] = {}
    for step in steps:
        for node in (step.source, step.residual, step.result):
            if node is not None:
                halos.setdefault(node, NO_HALO)
        if step.conv is not None:
            wanted = padding_of(conv_layer(graph_module.get_submodule(str(step.conv.target))))
            top, bottom, left, right = (max(pair) for pair in zip(halos[step.source], wanted, strict=True))
            halos[step.source] = (top, bottom, left, right)
    return halos


def conv_layer(module: nn.Module) -> ConvLayer:
    """``module``, which must be a convolution, sparse or dense."""
    if not isinstance(module, (SparseConv2d, nn.Conv2d)):
        raise TypeError(f"{type(module).__name__} is no convolution of two dimensions")
    return module


def padding_of(layer: ConvLayer) -> Sides:
    """What a convolution pads on its four sides."""
    kernel, stride, dilation = (_pair(size) for size in (layer.kernel_size, layer.stride, layer.dilation))
    padding = layer.padding if isinstance(layer.padding, str) else _pair(layer.padding)
    rows, columns = explicit_padding(padding, layer.padding_mode, kernel, stride, dilation)
    return (*rows, *columns)


def geometry_of(layer: ConvLayer) -> ConvGeometry:
    """The layer's shape as the native kernels take it."""
    stride, dilation = _pair(layer.stride), _pair(layer.dilation)
    return ConvGeometry(Weights(layer).shape, stride, padding_of(layer), dilation, layer.groups)


def _pair(size: Sequence[int]) -> tuple[int, int]:
    height, width = size
    return height, width
