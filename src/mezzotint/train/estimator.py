"""How is a sparse network fitted to arrays? A classifier in the manner of scikit-learn, for small work.

It needs scikit-learn (``pip install "mezzotint[sklearn]"``), whose pipelines, grids and cross-validation take it. For
images in files, augmentation, checkpoints and reports there is :func:`mezzotint.train.train`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mezzotint import models
from mezzotint.errors import InputError, NotRegistered, ShapeError, message
from mezzotint.lowering import sparsify
from mezzotint.precision import Precision
from mezzotint.sparse import build, first_density, goal_of, options_of
from mezzotint.train.config import OptimizerConfig, ScheduleConfig
from mezzotint.train.optimizer import build_optimizer, set_learning_rate
from mezzotint.train.schedule import factor

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise NotRegistered(
        message(
            "SparseConvClassifier",
            received="no scikit-learn",
            allowed="an installation of it",
            fix='pip install "mezzotint[sklearn]"',
        )
    ) from error

_TINY: Final = 12  # pixels a side up to which the network for digits is deep enough
_AT_ONCE: Final = 256  # images of a forward pass when predicting


class SparseConvClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A sparse convolutional network as a classifier: ``fit``, ``predict``, ``predict_proba``, ``score``.

    Images may be [n, H, W], [n, H, W, C], or [n, features] with ``image_shape``; of any real type and range, as pixels
    are standardised by the mean and the deviation of the training images, channel by channel. Labels may be anything
    that ``numpy.unique`` sorts.

    Args:
        density: share of the weights that exist, in (0, 1]; 1 trains the dense network.
        network: a key of ``mezzotint.models.MODELS``, ``"package.module:Class"``, or ``"auto"``: ``digits_cnn`` up to
            12 pixels a side, else ``resnet20``.
        image_shape: (H, W) or (H, W, C) of flattened images.
        method: how weights move: a key of ``mezzotint.sparse.METHODS``, or ``"package.module:Class"``; with its own
            settings and an update an epoch. Methods that keep a structure ("nm", "block") are for ``train``.
        epochs, batch_size, learning_rate, weight_decay: of SGD with Nesterov momentum 0.9 and one cosine.
        precision: "fp32", "bf16", "fp16" or "fp16-forward".
        random_state: of weights, patterns and order; the global generator of PyTorch is left as it was.
        verbose: print a line an epoch.

    Attributes:
        classes_: [k]: the labels.
        model_: the trained module.
        losses_: [epochs]: mean training loss of each epoch.
        n_features_in_: numbers in an image.

    Example::

        from sklearn.datasets import load_digits
        digits = load_digits()
        SparseConvClassifier(density=0.1).fit(digits.images, digits.target).score(digits.images, digits.target)
    """

    def __init__(
        self,
        *,
        density: float = 0.1,
        network: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        method: str = "sparse_momentum",
        epochs: int = 20,
        batch_size: int = 64,
        learning_rate: float = 0.1,
        weight_decay: float = 5e-4,
        precision: str = "bf16",
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.density = density
        self.network = network
        self.image_shape = image_shape
        self.method = method
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> SparseConvClassifier:
        """Train anew on images ``X`` and labels ``y`` [n].

        Raises:
            ShapeError: images that are no images, or another number of labels.
            InputError: fewer than two classes or images, or a number that is not finite.
            MezzotintError: a setting that is not allowed.
        """
        self._check_settings()
        images = self._images(X)
        self.n_features_in_ = math.prod(images.shape[1:])
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if codes.shape != images.shape[:1]:
            raise ShapeError(message("y", received=list(codes.shape), allowed=f"[{images.shape[0]}], a label an image"))
        if len(self.classes_) < 2 or len(images) < 2:
            received = f"{len(images)} images of {len(self.classes_)} classes"
            raise InputError(message("training data", received=received, allowed="two classes or more"))
        axes = (0, 2, 3)
        self._mean = images.mean(axes, keepdim=True)
        self._std = images.std(axes, keepdim=True, unbiased=False).clamp_min(1e-6)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self._train((images - self._mean) / self._std, torch.from_numpy(codes))
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """[n]: the most likely label of each image."""
        best = self.predict_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """[n, k]: probabilities, in the order of ``classes_``.

        Raises:
            NotFittedError: before :meth:`fit`.
            ShapeError: images of another size than those of the training.
        """
        check_is_fitted(self, "model_")
        images = self._images(X)
        if images.shape[1:] != self._shape:
            received, allowed = (f"[n, {', '.join(map(str, shape))}]" for shape in (images.shape[1:], self._shape))
            raise ShapeError(message("images, channels first", received=received, allowed=allowed))
        wanted = (images - self._mean) / self._std
        with torch.no_grad():
            parts = [self.model_(part).float().softmax(1) for part in wanted.split(_AT_ONCE)]
        found: NDArray[np.float32] = (
            torch.cat(parts).numpy() if parts else np.empty((0, len(self.classes_)), np.float32)
        )
        return found

    def _check_settings(self) -> None:
        """What nothing else would tell in the user's words; scikit-learn wants settings checked when fitting."""
        size: Any = self.batch_size  # grids of NumPy's numbers are fine
        if not isinstance(size, Integral) or size < 1:
            raise InputError(message("batch_size", received=size, allowed="a whole number, at least 1"))
        if self.density != 1 and "structure" in options_of(self.method):
            raise InputError(
                message(
                    "method",
                    received=self.method,
                    allowed="a method that moves single weights",
                    fix="mezzotint.train.train has the setting sparsity.structure for it.",
                )
            )

    def _images(self, X: ArrayLike) -> Tensor:
        """float32 [n, C, H, W]."""
        array = np.asarray(X)
        if array.dtype.kind not in "biuf":
            raise ShapeError(message("images", received=f"an array of {array.dtype}", allowed="real numbers"))
        if array.ndim == 2 and self.image_shape is not None:
            if array.shape[1] != math.prod(self.image_shape):
                allowed = f"[n, {math.prod(self.image_shape)}] for image_shape={self.image_shape}"
                raise ShapeError(message("images", received=list(array.shape), allowed=allowed))
            array = array.reshape(-1, *self.image_shape)
        if array.ndim not in (3, 4):
            raise ShapeError(
                message(
                    "images",
                    received=list(array.shape),
                    allowed="[n, H, W] or [n, H, W, C]",
                    fix="Give image_shape=(H, W) for flattened images.",
                )
            )
        channels_last = array[..., None] if array.ndim == 3 else array
        images = torch.from_numpy(np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2), dtype=np.float32))
        if not bool(images.isfinite().all()):
            raise InputError(message("images", received="a number that is not finite", allowed="finite numbers"))
        return images

    def _train(self, images: Tensor, labels: Tensor) -> None:
        size = int(self.batch_size)
        steps = max(1, len(images) // size)  # a smaller last batch is left out, unless it is the only one
        schedule = ScheduleConfig(epochs=self.epochs, warmup_epochs=1 if self.epochs > 1 else 0)
        optimizing = OptimizerConfig(lr=self.learning_rate, weight_decay=self.weight_decay, nesterov=True)
        model = self._network(images)
        optimizer = build_optimizer(model, optimizing)
        precision = Precision(self.precision)
        offered = {
            "interval": steps,
            "total_steps": steps * self.epochs,
            "goal": goal_of(model, self.density, "erk"),
            "seed": self.random_state,
        }
        topology = None if self.density == 1 else build(self.method, model, optimizer, {}, offered)
        self.losses_ = []
        for epoch in range(self.epochs):
            total = 0.0
            for step, (part, right) in enumerate(_batches(images, labels, size, steps)):
                set_learning_rate(optimizer, self.learning_rate * factor(schedule, epoch * steps + step, steps))
                with precision.autocast():
                    loss = cross_entropy(model(part).float(), right)
                optimizer.zero_grad(set_to_none=True)
                stepped = precision.step(loss, optimizer)
                if topology is not None:
                    topology.step(stepped)
                total += float(loss.detach())
            self.losses_.append(total / steps)
            if self.verbose:
                print(f"epoch {epoch + 1}/{self.epochs}: loss {self.losses_[-1]:.4f}")  # noqa: T201
        if topology is not None:
            topology.close()
        self.model_ = model.eval()
        self._shape = images.shape[1:]

    def _network(self, images: Tensor) -> nn.Module:
        channels, height, width = images.shape[1:]
        name = self.network
        if name == "auto":
            name = "digits_cnn" if max(height, width) <= _TINY else "resnet20"
        model = models.build(name, num_classes=len(self.classes_), in_channels=channels, image_size=(height, width))
        if self.density == 1:
            return model
        first = first_density(self.method, self.density)
        return sparsify(model, first, distribution="erk", choose="random", seed=self.random_state, init="rescale")


def _batches(images: Tensor, labels: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """``steps`` batches of ``size`` in a random order."""
    for part in torch.randperm(len(images))[: steps * size].split(size):
        yield images[part], labels[part]
