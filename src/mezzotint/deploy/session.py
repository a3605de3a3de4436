"""How does one run a network for its results alone? A session: arrays in, arrays out, checked, from any thread."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mezzotint.deploy.arrays import Array, to_array, to_tensor
from mezzotint.deploy.bundle import Source, open_bundle
from mezzotint.deploy.description import Description
from mezzotint.deploy.engine import EngineModel, Profile, StraightCall, profile_of
from mezzotint.deploy.legend import with_legend
from mezzotint.deploy.refusals import OF_INPUTS, refused_inputs, refused_shape
from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.deploy.threads import native_threads, using_threads
from mezzotint.errors import InputError, NotRegistered, message, suggest
from mezzotint.kernels.resources import resources

_log = logging.getLogger(__name__)
_DTYPES: Final = ("fp32", "bf16")


class Session:
    """An inference session: the network of a file, a run or a module, compiled to one native call.

    Convolutions, sparse or dense, with the batch norm, residual and activation behind them, poolings and linear layers
    run in the inference engine; what it does not know runs in PyTorch, and :meth:`explain` says what and why. Sizes are
    compiled at their first use. Batches of any size share a program, but for those with four images for each thread,
    which have one of their own where images get small: an image's last bits may depend on which of the two does it.

    Safe to call from several threads at once; the GIL is released while it computes. PyTorch's number of threads is
    left as it was. The network is a snapshot: later changes of a module do not reach the session.

    A session of a file or run can be pickled, which keeps the path: whoever unpickles it opens the file again. A copy
    is the session itself.

    Args:
        source: a ``.safetensors`` file of ours, an ``.onnx`` file, a run folder (its newest checkpoint), a checkpoint
            folder, or a module.
        threads: of the arithmetic; None: PyTorch's own number.
        dtype: ``"fp32"``, or ``"bf16"``: activations and weights are 16-bit numbers, sums float32. Arrays are float32
            in both.
        description: for a module: what is known of it. With an ``input_shape``, inputs are checked against it and the
            outputs are known from the start. For an ``.onnx`` file, whose names and shapes are its own: an
            ``input_shape`` frees the batch of one that was written for a fixed one, and the sizes that are None in it.
            What is freed is checked: two images must give together what each gives alone.
        fallback: ``"onnxruntime"``: an ``.onnx`` file with nodes that cannot be run here is run by ONNX Runtime, which
            must be installed; None: it is an error that names them all.
        plan: a file that remembers which kernels were fastest on this machine, so that the next session need not
            measure. It is made, and made anew where it is damaged or of another network or machine; the log says so.
        model: for a file or run whose network is not one of ``mezzotint.models``: the network as it was before
            :func:`mezzotint.sparsify`, with any weights. It is left as it is.

    Raises:
        CheckpointError: the file is missing, damaged, not one of ours, or does not fit the network.
        UnsupportedModel: an ``.onnx`` file holds nodes that cannot be run, or not with the described shape.
        InputError: a setting is not usable, or the network does not take the described input.
        NotRegistered: an unknown ``dtype`` or ``fallback``.

    Example::

        session = Session("digits.safetensors", threads=2)
        (logits,) = session.run([images])
    """

    def __init__(
        self,
        source: Source,
        threads: int | None = None,
        dtype: str = "fp32",
        *,
        description: Description | None = None,
        fallback: str | None = None,
        plan: str | Path | None = None,
        model: nn.Module | None = None,
    ) -> None:
        if dtype not in _DTYPES:
            raise NotRegistered(
                message("dtype", received=dtype, allowed=", ".join(_DTYPES), fix=suggest(dtype, _DTYPES).strip())
            )
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise InputError(message("threads", received=threads, allowed="a whole number, at least 1, or None"))
        if plan is not None and Path(plan).is_dir():
            raise InputError(message("plan", received=f"the folder {plan}", allowed="a file, which need not exist"))
        if threads is not None and threads > (cores := resources().cores):
            _log.warning("%d threads of a session take turns on %d cores, which is slower.", threads, cores)
        given = copy.deepcopy(model) if model is not None else None
        bundle = open_bundle(source, description, given, fallback=fallback, threads=threads)
        self.description = bundle.description
        self._threads, self._dtype = threads, dtype
        self._name = _name(source, bundle.description)
        self._recipe = None if isinstance(source, nn.Module) or model is not None else Path(source).absolute()
        self._settings = {"description": description, "fallback": fallback, "plan": plan and Path(plan).absolute()}
        self._inputs = bundle.inputs or _input_infos(bundle.model, bundle.description)
        self._outputs: tuple[TensorInfo, ...] | None = bundle.outputs
        self._refused, self._has_run = bundle.refused, False
        self._straight: StraightCall | None = None
        self._can_be_freed = bundle.inputs is not None and bundle.refused is None
        own = (copy.deepcopy(bundle.model) if isinstance(source, nn.Module) else bundle.model).cpu().eval()
        working = torch.bfloat16 if dtype == "bf16" else torch.float32
        self._model = own if self._refused else EngineModel(own, working, threads, Path(plan) if plan else None)
        if self._outputs is None and self._shapes_were_checked():
            self._try_shape([size or 0 for size in self.description.input_shape or ()])

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The inputs, in the order of :meth:`run`."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The outputs, in the order in which :meth:`run` returns them.

        Raises:
            InputError: they are not known yet, as the input's shape is not and nothing has been run.
        """
        if self._outputs is None:
            raise InputError(
                message(
                    "outputs of the session",
                    received="nothing that tells them",
                    allowed="a described input shape, or a run",
                    fix="Pass description=Description(input_shape=...), or call run first.",
                )
            )
        return self._outputs

    def run(self, inputs: Sequence[ArrayLike] | Mapping[str, ArrayLike]) -> list[Array]:
        """Compute the outputs.

        Args:
            inputs: float32 arrays in the order of :attr:`inputs`, or by name. The first axis is the batch, of any size.
                They are left as they are, whatever the network does in place. Tensors are taken, too.

        Returns:
            New arrays in the order of :attr:`outputs`; tensors of the network that are 16-bit come as float32.

        Raises:
            InputError: a wrong number of inputs, an unknown name, or what becomes no array.
            ShapeError: an array of another shape or type.
        """
        if self._straight is not None and (arrays := self._straight(inputs)) is not None:
            return arrays
        tensors, copies = self._tensors(inputs), self._may_share
        try:
            results = self._compute(tensors)
        except OF_INPUTS as error:
            if self._shapes_were_checked():
                raise
            raise refused_inputs([info.name for info in self._inputs], tensors, error) from error
        return [to_array(tensor, copies=copies) for tensor in results]

    def profile(self, inputs: Sequence[ArrayLike] | Mapping[str, ArrayLike], calls: int = 20) -> Profile:
        """How long each step takes; ``print`` it.

        Args:
            inputs: as of :meth:`run`.
            calls: that are counted, after one that is not.

        Raises:
            InputError: as :meth:`run`; ONNX Runtime runs the network as a whole; no call is to be counted.
        """
        if self._refused:
            received = f"one that ONNX Runtime runs as a whole, because {self._refused}"
            raise InputError(message("session to profile", received=received, allowed="one with native steps"))
        if calls < 1:
            raise InputError(message("calls", received=calls, allowed="at least 1"))
        self.run(inputs)
        tensors = self._tensors(inputs)
        return profile_of(lambda: self._compute(tensors), tensors[0].shape[0], calls)

    def explain(self) -> str:
        """Which kernel does each step and why, why the rest runs elsewhere, and what the words mean."""
        if isinstance(self._model, EngineModel):
            if not self._has_run and self._shapes_were_checked():
                self._compute([torch.zeros([size or 1 for size in self._inputs[0].shape or ()])])
            return with_legend(self._model.explain())
        return f"{self._name}: ONNX Runtime runs it as a whole, because {self._refused}"

    def __repr__(self) -> str:
        threads = "PyTorch's" if self._threads is None else str(self._threads)
        names = ", ".join(info.name for info in self._inputs)
        return f"Session({self._name}, inputs=({names}), {self._dtype}, {threads} threads)"

    def __copy__(self) -> Session:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._recipe is None:
            raise InputError(
                message(
                    "session to pickle",
                    received="one that was made from a module",
                    allowed="one that was made from a file or a run folder, which is opened again",
                    fix="Export the module (mezzotint.deploy.export), and open the file in each process.",
                )
            )
        return _opened, (type(self), self._recipe, self._threads, self._dtype, self._settings)

    @property
    def _may_share(self) -> bool:
        """Whether the network may write to its inputs, or hand on memory that it keeps: native programs do neither."""
        return self._straight is None

    def _try_shape(self, shape: Sequence[int]) -> None:
        try:
            self._compute([torch.zeros(1, *shape)])
        except OF_INPUTS as error:
            raise refused_shape(shape, error) from error

    def _shapes_were_checked(self) -> bool:
        """Whether every size was known but the batch of one input, so that an error is none of the caller's shapes."""
        shapes = [info.shape for info in self._inputs]
        return len(shapes) == 1 and shapes[0] is not None and None not in shapes[0][1:]

    def _compute(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        with using_threads(self._threads), torch.inference_mode(), self._casting():
            result = self._model(*tensors)
        if not self._has_run:
            self._has_run, self._straight = True, self._straight_call()
        found = _outputs(result)
        if self._outputs is None:
            self._outputs = tuple(_output_info(name, tensor) for name, tensor in found.items())
        return list(found.values())

    def _straight_call(self) -> StraightCall | None:
        batches = {info.shape[0] if info.shape else None for info in self._inputs}
        if not isinstance(self._model, EngineModel) or len(batches) != 1:
            return None
        return self._model.straight_call(lambda: native_threads(self._threads), batches.pop())

    def _casting(self) -> torch.autocast:
        """The session's own precision, whatever the caller's surroundings say."""
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._dtype == "bf16")

    def _tensors(self, inputs: Sequence[ArrayLike] | Mapping[str, ArrayLike]) -> list[Tensor]:
        return [
            to_tensor(info, array, copies=self._may_share, can_be_freed=self._can_be_freed)
            for info, array in zip(self._inputs, self._ordered(inputs), strict=True)
        ]

    def _ordered(self, inputs: Sequence[ArrayLike] | Mapping[str, ArrayLike]) -> list[ArrayLike]:
        names = [info.name for info in self._inputs]
        if isinstance(inputs, Mapping):
            unknown = next((name for name in inputs if name not in names), None)
            missing = next((name for name in names if name not in inputs), None)
            if unknown is not None or missing is not None:
                received = f"the unknown name {unknown!r}" if unknown is not None else f"nothing for {missing!r}"
                hint = suggest(unknown or "", names).strip()
                raise InputError(message("inputs", received=received, allowed=", ".join(names), fix=hint))
            return [inputs[name] for name in names]
        if not isinstance(inputs, list | tuple):
            received = f"a single {type(inputs).__name__}"
            raise InputError(message("inputs", received=received, allowed="a list of arrays", fix="Write run([x])."))
        if len(inputs) != len(names):
            raise InputError(
                message("inputs", received=f"{len(inputs)} arrays", allowed=f"{len(names)} ({', '.join(names)})")
            )
        return list(inputs)


def _opened(kind: type[Session], source: Path, threads: int | None, dtype: str, settings: Mapping[str, Any]) -> Session:
    """What unpickling does."""
    return kind(source, threads, dtype, **settings)


def _name(source: Source, description: Description) -> str:
    if description.architecture is not None:
        return description.architecture
    return type(source).__name__ if isinstance(source, nn.Module) else Path(source).name


def _input_infos(model: nn.Module, description: Description) -> tuple[TensorInfo, ...]:
    """One for each parameter of ``forward`` that must be given."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    names = [item.name for item in parameters if item.kind in kinds and item.default is inspect.Parameter.empty]
    if not names:
        raise InputError(message("network of a session", received="a forward without inputs", allowed="at least one"))
    shape = description.input_shape
    known = None if shape is None or len(names) > 1 else (None, *shape)
    return tuple(TensorInfo(name=name, shape=known, dtype="float32") for name in names)


def _outputs(result: Any) -> dict[str, Tensor]:
    """The tensors of a network's result by name, in order."""
    if isinstance(result, Tensor):
        return {"output": result}
    if isinstance(result, Mapping):
        return {str(key): value for key, value in result.items() if isinstance(value, Tensor)}
    leaves = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
    return {f"output_{place}": leaf for place, leaf in enumerate(leaves)}


def _output_info(name: str, tensor: Tensor) -> TensorInfo:
    dtype = torch.float32 if tensor.dtype in (torch.bfloat16, torch.float16) else tensor.dtype
    batched: tuple[int | None, ...] = (None, *tensor.shape[1:]) if tensor.dim() else ()
    return TensorInfo(name=name, shape=batched, dtype=str(dtype).removeprefix("torch."))
