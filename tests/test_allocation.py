"""Steps allocate no array, and nothing piles up over a training."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from trainings import Array, classification, regression

from distnn import layers
from distnn.callbacks import Callback
from distnn.layers import Dense, Input
from distnn.models import Model, Sequential
from distnn.optimizers import SGD, Adam
from distnn.program import Program


def trained(model: Model, x: Array, y: Array, steps: int, **options: Any) -> Any:
    """The warm engine of a fit, ready for more steps."""
    model.fit(x, y, epochs=1, steps_per_epoch=steps, verbose=0, seed=1, **options)
    return model.engines["local"]


OPTIMIZERS = [SGD(0.1, momentum=0.9), Adam(clipnorm=1.0), Adam(global_clipnorm=1.0, weight_decay=0.01)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adam clipnorm", "adam global_clipnorm"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_steps_10_to_100_allocate_no_array(optimizer: Any, shuffle: bool) -> None:
    """All that is ever held in 90 steps is smaller than half of a shard's smallest activations.

    What there is are Python's own numbers, tuples and lists, and the fingerprints.
    """
    x, y = classification(5000, 128, 64)
    model = Sequential([Input((128,)), Dense(256, "relu", kernel_regularizer="l2"), layers.Dropout(0.2)])
    for layer in (layers.BatchNormalization(), layers.LayerNormalization(), Dense(64, "softmax")):
        model.add(layer)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    engine = trained(model, x, y, 20, batch_size=256, shards=2, shuffle=shuffle)
    gc.collect()
    engine.run_segment(10)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        engine.run_segment(90)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 16384, f"{peak} bytes; the smallest array of a shard's activations has {128 * 64 * 4}"


def test_steps_of_attention_and_merges_allocate_no_array() -> None:
    """Beside the buffer of 32 KB that NumPy's ufuncs take while they broadcast."""
    x, y = regression(500, 32 * 16)
    sample = Input((32, 16))
    h = layers.MultiHeadAttention(4, 8)(sample, sample, use_causal_mask=True)
    h = layers.GroupNormalization(4)(layers.add([h, layers.Dense(16, "gelu")(h)]))
    h = layers.concatenate([layers.SpatialDropout1D(0.2)(h), layers.GaussianNoise(0.1)(h)])
    model = Model(sample, Dense(1)(layers.Flatten()(layers.PReLU()(h))))
    model.compile("sgd", "mse")
    engine = trained(model, x.reshape(-1, 32, 16), y, 8, batch_size=64, shards=2)
    gc.collect()
    engine.run_segment(10)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        engine.run_segment(50)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 48 * 1024, f"{peak} bytes; a shard's smallest activations have {32 * 32 * 16 * 4}"


def test_setting_weights_at_every_step_keeps_no_memory() -> None:
    class Touch(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.set_weights(self.model.get_weights())
            if batch == 20:
                gc.collect()
                self.before = tracemalloc.get_traced_memory()[0]

    x, y = regression(200)
    model = Sequential([Input((6,)), Dense(512), Dense(1)])
    model.compile("sgd", "mse")
    touch = Touch()
    tracemalloc.start()
    try:
        model.fit(x, y, batch_size=2, callbacks=[touch], verbose=0, seed=1)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - touch.before
    finally:
        tracemalloc.stop()
    assert grown < 64 * 1024, f"{grown} bytes in 80 steps of a model of {4 * model.count_params()} bytes"


def test_programs_are_bound_once_however_many_shards_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound program for each size of shard, buffer of weights and place in the tree; then no more."""
    bound: list[int] = []
    bind = Program._bind

    def counting(self: Program, samples: int, *rest: Any) -> Any:
        bound.append(samples)
        return bind(self, samples, *rest)

    monkeypatch.setattr(Program, "_bind", counting)
    x, y = regression(1450)
    model = Sequential([Input((6,)), Dense(4), Dense(1)])
    model.compile("sgd", "mse")
    engine = trained(model, x, y, 2, batch_size=1000, shards=300)
    before = len(bound)
    assert set(bound) == {4, 3, 2, 1}, "300 shards of 1000 samples, and of the 450 that are left"
    engine.run_segment(4)
    assert len(bound) == before
