"""How is a nested state split into JSON and tensors, and put together again? No pickle anywhere.

A tensor in the state is replaced by ``{"$tensor": "path/to/it"}`` and kept under that path in a safetensors file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint.errors import CheckpointError, message

_MARK: Final = "$tensor"


def split(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """(JSON-ready state, tensors by path).

    Args:
        state: dicts with text keys, lists, tuples (they come back as lists), numbers, texts, None and tensors.

    Raises:
        TypeError: anything else; a method's ``state_dict`` is at fault then.
    """
    tensors: dict[str, Tensor] = {}
    return _split(state, "", tensors), tensors


def join(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that :func:`split` took apart.

    Raises:
        CheckpointError: a tensor is missing.
    """
    if isinstance(tree, dict):
        if set(tree) == {_MARK}:
            return _found(tensors, tree[_MARK])
        return {key: join(value, tensors) for key, value in tree.items()}
    return [join(value, tensors) for value in tree] if isinstance(tree, list) else tree


def optimizer_state(optimizer: Optimizer, model: nn.Module) -> dict[str, dict[str, Any]]:
    """Parameter name -> the optimiser's state of it. Settings such as the learning rate belong to the configuration."""
    return {
        name: dict(optimizer.state[parameter])
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
    }


def load_optimizer_state(optimizer: Optimizer, model: nn.Module, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Continue from :func:`optimizer_state`; load the model first.

    Raises:
        CheckpointError: the state is of other parameters, or a tensor does not fit its parameter.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    unknown = sorted(set(state) - set(order))
    if unknown:
        raise CheckpointError(
            message("optimiser state", received=f"of {', '.join(unknown[:5])}", allowed="parameters of the model")
        )
    parameters = dict(model.named_parameters())
    for name, entries in state.items():
        _check_shapes(name, entries, parameters[name])
    numbered = {place: _own(state[name]) for place, name in enumerate(order) if name in state}
    optimizer.load_state_dict({"state": numbered, "param_groups": optimizer.state_dict()["param_groups"]})


def _own(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Copies: the optimiser changes its state in place."""
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in entries.items()}


def _split(state: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(state, Tensor):
        tensors[path] = state.detach()
        return {_MARK: path}
    if isinstance(state, Mapping):
        return {_text(key): _split(value, f"{path}/{key}" if path else key, tensors) for key, value in state.items()}
    if isinstance(state, Sequence) and not isinstance(state, str):
        return [_split(value, f"{path}/{place}", tensors) for place, value in enumerate(state)]
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(f"state {path!r}: {type(state).__name__} is neither a JSON value nor a tensor")


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"state: the key {key!r} is not a text")
    return key


def _found(tensors: Mapping[str, Tensor], path: Any) -> Tensor:
    if path not in tensors:
        raise CheckpointError(f"checkpoint: the tensor {path!r} is missing.")
    return tensors[path]


def _check_shapes(name: str, entries: Mapping[str, Any], parameter: Tensor) -> None:
    for key, value in entries.items():
        if isinstance(value, Tensor) and value.dim() > 0 and value.shape != parameter.shape:
            raise CheckpointError(
                message(
                    f"optimiser state {key!r} of {name}",
                    received=f"shape {tuple(value.shape)}",
                    allowed=f"{tuple(parameter.shape)}, as the parameter",
                )
            )


def storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors wants them: on the CPU, contiguous, each with memory of its own."""
    seen: set[int] = set()
    ready: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        place = plain.untyped_storage().data_ptr()
        whole = plain.untyped_storage().nbytes() == plain.nbytes
        ready[name] = plain.clone() if place in seen or not whole else plain
        seen.add(place)
    return ready
