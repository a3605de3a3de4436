"""Does an operator keep what its declaration promises? Checks made from the declaration, for one sample call."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from mezzotint.errors import DeclarationError
from mezzotint.kernels import KERNELS
from mezzotint.ops.operator import Operator

#: Largest relative and absolute difference of two kernels, or of two orders of summation, by type.
_TOLERANCES: Final = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 4e-2}
_PERMUTATIONS = 6


def selfcheck(operator: Operator, *inputs: Any, **attrs: Any) -> list[str]:
    """Run every check that the declaration of ``operator`` gives, with the tensors and attributes of one call.

    The checks: ``opcheck`` (schema, fake kernel, autograd registration, compilation), ``kernels`` (those that can do
    the call agree), ``strides`` (inputs of odd strides give the same), ``commutative``, ``aggregate``, and
    ``gradient`` (``gradcheck``; where all floating inputs are float64). A stateful operator is only asked for schema
    and shapes.

    Returns:
        The names of the checks that apply.

    Raises:
        DeclarationError: with every promise that is broken.
    """
    broken, done = [], []
    for name, check in _checks(operator, inputs, attrs):
        done.append(name)
        try:
            check()
        except Exception as error:  # noqa: BLE001  # whatever breaks is the finding
            broken.append(f"{name}: {' '.join(str(error).split())}")
    if broken:
        raise DeclarationError(f"operator {operator.name!r} breaks what it declares: {'; '.join(broken)}")
    return done


def _checks(
    operator: Operator, inputs: Sequence[Any], attrs: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[], None]]]:
    op = operator.definition
    if op.stateful_because:
        yield "opcheck", lambda: _opcheck(operator, inputs, attrs, ("test_schema", "test_faketensor"))
        return
    yield "opcheck", lambda: _opcheck(operator, inputs, attrs, _OPCHECKS)
    yield "kernels", lambda: _kernels_agree(operator, inputs, attrs)
    yield "strides", lambda: _same(operator(*map(_strided, inputs), **attrs), operator(*inputs, **attrs))
    if op.commutative_inputs is not None:
        yield "commutative", lambda: _commutes(operator, inputs, attrs)
    if op.is_aggregate:
        yield "aggregate", lambda: _aggregates(operator, inputs[0], attrs)
    floats = [tensor for tensor in _flat(inputs) if tensor.is_floating_point()]
    if op.gradient_fn is not None and floats and all(tensor.dtype == torch.float64 for tensor in floats):
        yield "gradient", lambda: _gradient(operator, inputs, attrs)


_OPCHECKS: Final = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")


def _opcheck(operator: Operator, inputs: Sequence[Any], attrs: Mapping[str, Any], tests: Sequence[str]) -> None:
    torch.library.opcheck(operator.overload, tuple(inputs), dict(attrs), test_utils=tuple(tests))


def _kernels_agree(operator: Operator, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> None:
    able, _ = KERNELS.candidates(operator.decision(*inputs, **attrs).problem)
    results = {kernel.name: operator.run(kernel.name, *inputs, **attrs) for kernel in able}
    first = next((kernel.name for kernel in able if kernel.oracle), able[0].name)
    for name, result in results.items():
        _same(result, results[first], f"kernels {name!r} and {first!r} differ: ")


def _commutes(operator: Operator, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> None:
    """Every order of the inputs that may change places, up to the first few; of a list, its items."""
    names = [argument.name for argument in operator.definition.inputs]
    places = [names.index(name) for name in operator.definition.commutative_inputs or names]
    expected = operator(*inputs, **attrs)
    for order in itertools.islice(itertools.permutations(places), 1, _PERMUTATIONS):
        moved = dict(zip(places, (inputs[place] for place in order), strict=True))
        given = [moved.get(place, value) for place, value in enumerate(inputs)]
        _same(operator(*given, **attrs), expected)
    for place in places:
        if isinstance(inputs[place], (list, tuple)):
            given = [*inputs[:place], list(reversed(inputs[place])), *inputs[place + 1 :]]
            _same(operator(*given, **attrs), expected)


def _aggregates(operator: Callable[..., Any], tensors: Sequence[Tensor], attrs: Mapping[str, Any]) -> None:
    expected = operator(list(tensors), **attrs)
    for cut in range(1, len(tensors)):
        head = operator(list(tensors[:cut]), **attrs)
        _same(operator([head, *tensors[cut:]], **attrs), expected)


def _gradient(operator: Operator, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> None:
    flat = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in _flat(inputs)]

    def call(*tensors: Tensor) -> Any:
        found = _gathered(inputs, iter(tensors))
        outputs = _flat(_listed(operator(*found, **attrs)))
        return tuple(output for output in outputs if output.requires_grad)

    torch.autograd.gradcheck(call, flat, check_undefined_grad=False)


def _strided(value: Any) -> Any:
    """The same numbers in memory with gaps."""
    if isinstance(value, (list, tuple)):
        return [_strided(item) for item in value]
    if not isinstance(value, Tensor) or value.dim() == 0:
        return value
    return torch.stack([value, torch.zeros_like(value)], dim=-1)[..., 0]


def _same(result: Any, expected: Any, where: str = "") -> None:
    for one, other in zip(_flat(_listed(result)), _flat(_listed(expected)), strict=True):
        tolerance = _TOLERANCES.get(other.dtype, 0.0)
        torch.testing.assert_close(
            one, other, rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda text: f"{where}{text}"
        )


def _listed(result: Any) -> Sequence[Any]:
    return result if isinstance(result, tuple) else (result,)


def _flat(values: Sequence[Any]) -> list[Tensor]:
    """The tensors of a call or of its results, those of lists included, absent ones left out."""
    lists = [value if isinstance(value, (list, tuple)) else [value] for value in values]
    return [tensor for tensor in itertools.chain.from_iterable(lists) if tensor is not None]


def _gathered(inputs: Sequence[Any], tensors: Iterator[Tensor]) -> list[Any]:
    """``tensors`` in the places of those in ``inputs``."""
    return [
        [next(tensors) for _ in value]
        if isinstance(value, (list, tuple))
        else (None if value is None else next(tensors))
        for value in inputs
    ]
