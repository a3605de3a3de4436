"""How is a plan told in words? One line a node."""

from __future__ import annotations

from torch import fx

from mezzotint.lowering.plan import Plan


def explain_plan(name: str, graph: fx.Graph, plan: Plan) -> str:
    """Which nodes are native, with what they are joined, and why the others are plain."""
    native_nodes = {node: step for step in plan.steps for node in step.nodes}
    lines = [f"{name}: {len(native_nodes)} nodes in the native layout, in {len(plan.steps)} steps"]
    for node in graph.nodes:
        step = native_nodes.get(node)
        if step is None and node.op in ("call_module", "call_function", "call_method"):
            lines.append(f"  {title(node)}: plain: {plan.reasons[node]}")
        elif step is not None and node is not step.result:
            lines.append(f"  {title(node)}: native, in one step with {title(step.result)}")
        elif step is not None:
            lines.append(f"  {title(node)}: native: {step.describe()}; halo {plan.halos[node]}")
    return "\n".join(lines)


def title(node: fx.Node) -> str:
    """What a node is called: its module's dotted name, or its own."""
    return str(node.target) if node.op == "call_module" else node.name
