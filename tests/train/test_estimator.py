"""Does the classifier fit into scikit-learn's world, and does it learn?"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint.bench.machine import using_threads
from mezzotint.errors import InputError, MezzotintError, ShapeError

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler  # noqa: E402

DIGITS = load_digits()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a network gains nothing from two, and on a busy machine it loses much."""
    with using_threads(1):
        yield


def small(**settings: object) -> mz.SparseConvClassifier:
    return mz.SparseConvClassifier(**{"epochs": 3, "precision": "fp32", **settings})


def test_it_learns_with_a_tenth_of_the_weights() -> None:
    train, test, right, wanted = train_test_split(DIGITS.images, DIGITS.target, random_state=0)
    fitted = mz.SparseConvClassifier(density=0.1, epochs=8).fit(train, right)
    assert fitted.score(test, wanted) > 0.95
    layers = mz.sparse.sparse_layers(fitted.model_).values()
    assert sum(layer.nnz for layer in layers) == pytest.approx(
        0.1 * sum(layer.pattern.numel for layer in layers), abs=1
    )
    assert len(fitted.losses_) == 8
    assert fitted.losses_[-1] < fitted.losses_[0]


def test_labels_may_be_words_and_images_coloured() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    words = np.array(["cat", "dog"] * 20)
    fitted = small(epochs=1, batch_size=16).fit(images, words)
    assert set(fitted.predict(images)) <= {"cat", "dog"}
    assert fitted.predict_proba(images).shape == (40, 2)
    np.testing.assert_allclose(fitted.predict_proba(images).sum(1), 1, rtol=1e-5)


def test_clone_pipeline_grid_and_cross_validation() -> None:
    settings = small(image_shape=(8, 8), epochs=2)
    assert clone(settings).get_params() == settings.get_params()
    flat = DIGITS.data[:400], DIGITS.target[:400]
    assert len(cross_val_score(make_pipeline(MinMaxScaler(), settings), *flat, cv=2)) == 2
    grid = GridSearchCV(settings, {"density": [0.1, 1.0]}, cv=2).fit(*flat)
    assert grid.best_params_["density"] in (0.1, 1.0)


def test_pickled_it_predicts_the_same() -> None:
    fitted = small(epochs=1).fit(DIGITS.images[:200], DIGITS.target[:200])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(DIGITS.images), fitted.predict_proba(DIGITS.images))


def test_repeatable_and_without_a_trace_in_the_global_generator() -> None:
    before = torch.get_rng_state()
    runs = [small(epochs=1).fit(DIGITS.images[:200], DIGITS.target[:200]).losses_ for _ in range(2)]
    assert runs[0] == runs[1]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("method", ["static", "set", "rigl", "gmp", "ac_dc"])
def test_every_kind_of_method(method: str) -> None:
    fitted = small(method=method, density=0.2).fit(DIGITS.images[:300], DIGITS.target[:300])
    layers = mz.sparse.sparse_layers(fitted.model_).values()
    assert sum(layer.nnz for layer in layers) / sum(layer.pattern.numel for layer in layers) == pytest.approx(
        0.2, abs=0.01
    )


@pytest.mark.parametrize(("method", "window"), [("rigl", 1), ("srigl", 1), ("granet", 1), ("sparse_momentum", 44)])
def test_a_method_has_its_own_settings(method: str, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def build(*given: Any) -> Any:
        made.append(mz.sparse.build(*given))
        return made[-1]

    monkeypatch.setattr("mezzotint.train.estimator.build", build)
    small(method=method, batch_size=8).fit(DIGITS.images[:160], DIGITS.target[:160])
    assert [topology.schedule.window for topology in made] == [window]


@pytest.mark.parametrize("method", ["nm", "block"])
def test_methods_that_keep_a_structure_are_refused(method: str) -> None:
    told = rf"^method: received {method}; allowed: a method that moves single weights\. .*sparsity\.structure"
    with pytest.raises(InputError, match=told):
        small(method=method, density=0.5).fit(DIGITS.images[:100], DIGITS.target[:100])


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_a_batch_without_images_is_refused(size: float) -> None:
    with pytest.raises(InputError, match=rf"^batch_size: received {size}; allowed: a whole number, at least 1"):
        small(batch_size=size).fit(DIGITS.images[:100], DIGITS.target[:100])
    small(batch_size=np.int64(50), epochs=1).fit(DIGITS.images[:100], DIGITS.target[:100])


def test_bad_input_is_told() -> None:
    with pytest.raises(NotFittedError):
        small().predict(DIGITS.images)
    with pytest.raises(ShapeError, match="image_shape"):
        small().fit(DIGITS.data, DIGITS.target)
    with pytest.raises(ShapeError, match="a label an image"):
        small().fit(DIGITS.images, DIGITS.target[:-1])
    with pytest.raises(InputError, match="two classes"):
        small().fit(DIGITS.images, np.zeros(len(DIGITS.images)))
    with pytest.raises(InputError, match="finite"):
        small().fit(np.where(DIGITS.images > 15, np.nan, DIGITS.images), DIGITS.target)
    with pytest.raises(MezzotintError, match="sparse_momentum"):
        small(method="sparse_momentun").fit(DIGITS.images[:100], DIGITS.target[:100])
    fitted = small(epochs=1).fit(DIGITS.images[:100], DIGITS.target[:100])
    with pytest.raises(ShapeError, match=r"\[n, 1, 8, 8\]"):
        fitted.predict(np.zeros((2, 9, 9)))
