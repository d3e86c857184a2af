"""Golden digests: any change of the bits that a training ends in is noticed here.

If it is intended, raise `ARITHMETIC_VERSION` in `distnn/recipe.py` and put the new digests here.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from distnn import ops
from distnn.kernels.products import products_kind
from distnn.layers import Activation, Dense, Dropout, Input, Layer, LayerNormalization
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, prepare
from distnn.optimizers import Adam
from distnn.recipe import ARITHMETIC_VERSION

WITH_PRODUCTS = "c7c7a4f62604d6cd93bbf93e955979238ff711f61c9cf5e45fec23b6025e3b20"
WITHOUT_PRODUCTS = "a0eb9fac7533046ea835528e60643f2027fb54d64ae53727a8b85a6b85022da0"


class Scaled(Layer):
    """Elementwise only: its bits come from our kernels and from correctly rounded arithmetic."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight((input_shape[-1],), "ones", regularizer="l2", name="scale")
        self.offset = self.add_weight((input_shape[-1],), "random_normal", name="offset")

    def call(self, inputs: object) -> object:
        return ops.gelu(inputs * self.scale + self.offset)


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(key=1))
    # Whole numbers over a power of two: exact in float32, whatever made them.
    x = rng.integers(-64, 64, size=(70, 6)).astype(np.float32) / 32
    return x, rng.integers(0, 6, size=70)


def digest(model: Sequential) -> str:
    """SHA-256 over the fingerprints of every step and the final state."""
    model.compile(Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data()
    arguments = FitArguments(x=x, y=y, epochs=3, batch_size=32, shards=3, seed=5, verbose=0)
    training = prepare(model, arguments)
    training.engine.load(training.task, training.data, model.training_state(0))
    report = training.engine.run_segment(9)
    state = training.engine.state()
    found = hashlib.sha256()
    for array in (report.fingerprints, state.weights, state.slots, state.sums):
        found.update(np.ascontiguousarray(array).tobytes())
    assert np.isfinite(state.weights).all() and len(set(report.fingerprints.tolist())) == 9
    return found.hexdigest()


def advice(found: str) -> str:
    return (
        f"the bytes of a training changed (now {found}). If that is intended, raise ARITHMETIC_VERSION "
        f"(now {ARITHMETIC_VERSION}) in distnn/recipe.py and put the new digest into tests/test_golden.py"
    )


def test_training_without_products_has_its_golden_bytes_on_any_cpu() -> None:
    model = Sequential([Input((6,)), Scaled(), Dropout(0.2), LayerNormalization(), Activation("softmax")])
    found = digest(model)
    assert found == WITHOUT_PRODUCTS, advice(found)


def test_training_has_its_golden_bytes() -> None:
    if products_kind() == "blas":
        pytest.skip("BLAS chooses its kernels by the CPU: its bits are no golden ones")
    model = Sequential(
        [
            Input((6,)),
            Dense(20, activation="relu", kernel_regularizer="l2"),
            Dropout(0.2),
            LayerNormalization(),
            Dense(6, activation="softmax"),
        ]
    )
    found = digest(model)
    assert found == WITH_PRODUCTS, advice(found)
