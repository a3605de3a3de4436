"""Which nodes become one step? A convolution with the batch norm, the residual and the activation that follow it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from torch import fx, nn

from mezzotint.deploy.engine.activation import IDENTITY, Activation
from mezzotint.deploy.engine.roles import Role, Task, factor_of, task_of, tensor_inputs
from mezzotint.deploy.engine.sums import join_sums
from mezzotint.lowering.plan import Plan, Step
from mezzotint.lowering.segments import Segment, schedule

#: What pays for a segment's borders.
_HEAVY = (Role.CONV, Role.LINEAR)
#: Roles whose step is a convolution in the end: of one weight a channel, if nothing else.
_CONVOLVING = (Role.CONV, Role.NORM, Role.ACTIVATION, Role.ADD)


@dataclass(kw_only=True)
class EngineStep(Step):
    """One pass over memory.

    Attributes:
        role: of its first node; a batch norm, an activation or an add that follows no convolution begins a step, too.
        module: of a pooling.
        activation: what the result goes through.
        sizes: as in a task.
        more: what it reads beside source and residual: a product's factor, or all other parts of what is joined.
        addend: a convolution whose result is added and read by nobody else; it is no step of its own.
    """

    role: Role
    module: nn.Module | None = None
    activation: Activation = IDENTITY
    sizes: tuple[int, int] = (0, 0)
    more: tuple[fx.Node, ...] = field(default=())
    addend: EngineStep | None = None

    @property
    def reads(self) -> tuple[fx.Node, ...]:
        """The nodes whose tensors it reads."""
        return (*super().reads, *self.more, *(() if self.addend is None else self.addend.reads))

    @property
    def activates(self) -> bool:
        """Whether an activation is in it."""
        return self.activation != IDENTITY

    def describe(self) -> str:
        """Such as ``convolution + batch norm + add + activation``."""
        parts = [self.role.value]
        parts += [Role.NORM.value] if self.norm is not None and self.role is not Role.NORM else []
        adds = self.residual is not None or self.addend is not None
        parts += [Role.ADD.value] if adds and self.role is not Role.ADD else []
        parts += [Role.ACTIVATION.value] if self.activates and self.role is not Role.ACTIVATION else []
        return " + ".join(parts)


def drop_idle(graph_module: fx.GraphModule) -> None:
    """Take nodes that do nothing in inference, such as dropouts, out of the graph."""
    for node in list(graph_module.graph.nodes):
        task = task_of(node, graph_module)
        if isinstance(task, Task) and task.role is Role.NOTHING:
            node.replace_all_uses_with(tensor_inputs(node)[0])
            graph_module.graph.erase_node(node)
    graph_module.recompile()


def make_steps(graph_module: fx.GraphModule) -> Plan:
    """The steps of a traced network whose shapes are recorded; a plan's ``halos`` are empty here."""
    nodes = list(graph_module.graph.nodes)
    tasks: dict[fx.Node, Task] = {}
    reasons: dict[fx.Node, str] = {}
    for node in nodes:
        task = task_of(node, graph_module)
        if isinstance(task, Task):
            tasks[node] = task
        else:
            reasons[node] = task
    while True:
        plan = Plan(steps=_grown(nodes, tasks), halos={}, reasons=reasons)
        refused = _refused(graph_module.graph, plan)
        if not refused:
            return Plan(steps=join_sums(plan.steps, graph_module), halos={}, reasons=reasons)
        for step, reason in refused:
            for node in step.nodes:
                del tasks[node]
                reasons[node] = reason


def _refused(graph: fx.Graph, plan: Plan) -> list[tuple[Step, str]]:
    """Steps that are not worth a program, or cannot begin one, with the reason."""
    rows = [step for step in plan.steps if _role(step) is Role.ACTIVATION and len(step.source.meta["shape"]) == 2]
    if rows:
        return [(step, "no linear layer is before it") for step in rows]
    segments = [item for item in schedule(graph, plan).items if isinstance(item, Segment)]
    light = [s for item in segments if not any(_role(s) in _HEAVY for s in item.steps) for s in item.steps]
    return [(step, "no convolution or linear layer is beside it") for step in light]


def _role(step: Step) -> Role:
    return cast(EngineStep, step).role


def _grown(nodes: Iterable[fx.Node], tasks: Mapping[fx.Node, Task]) -> list[Step]:
    """Convolutions grow first, the last one first: where two meet in an add, the earlier one is its residual."""
    order = list(nodes)
    taken: set[fx.Node] = set()
    steps: list[Step] = []
    heavy = [node for node in reversed(order) if node in tasks and tasks[node].role in _HEAVY]
    rest = [node for node in order if node in tasks and tasks[node].role not in _HEAVY]
    for node in [*heavy, *rest]:
        if node not in taken:
            step = _begun(node, tasks[node])
            _grow(step, tasks, taken)
            taken.update(step.nodes)
            steps.append(step)
    place = {node: at for at, node in enumerate(order)}
    return sorted(steps, key=lambda step: place[step.result])


def _begun(node: fx.Node, task: Task) -> EngineStep:
    reads = tuple(tensor_inputs(node))
    step = EngineStep(nodes=[node], source=reads[0], role=task.role, module=task.pool, activation=task.activation)
    step.sizes = task.sizes
    if task.role is Role.ADD:
        step.residual = reads[1]
    elif task.role is Role.MULTIPLY:
        factor = factor_of(*(read.meta["shape"] for read in reads))
        step.source, step.more = (reads[1], reads[:1]) if factor == 0 else (reads[0], reads[1:])
    elif task.role is Role.CONCAT:
        step.more = reads[1:]
    elif task.role is Role.CONV:
        step.conv = node
    elif task.role is Role.NORM:
        step.norm = node
    return step


def _grow(step: EngineStep, tasks: Mapping[fx.Node, Task], taken: set[fx.Node]) -> None:
    while len(step.result.users) == 1:
        reader = next(iter(step.result.users))
        task = tasks.get(reader)
        if task is None or reader in taken or not _fits(step, reader, task):
            return
        if task.role is Role.NORM:
            step.norm = reader
        elif task.role is Role.ADD:
            one, two = tensor_inputs(reader)
            step.residual = two if one is step.result else one
        else:
            step.activation = step.activation.then(task.activation) or task.activation
        step.nodes.append(reader)


def _fits(step: EngineStep, reader: fx.Node, task: Task) -> bool:
    """The order within a step is batch norm, residual, activation."""
    if task.role is Role.ACTIVATION:
        fits = step.activation.then(task.activation) is not None
        return fits and step.role in (*_CONVOLVING, Role.LINEAR, Role.AVERAGE_POOL, Role.MULTIPLY)
    if step.role not in _CONVOLVING or step.residual is not None or step.activates:
        return False
    if task.role is Role.NORM:
        return step.norm is None
    one, two = tensor_inputs(reader) if task.role is Role.ADD else (reader, reader)
    return task.role is Role.ADD and one is not two
