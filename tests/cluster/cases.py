"""Trainings to run on any engine, and what two runs must have in common to the last bit."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distnn import ops
from distnn.engine import Engine, EngineOptions
from distnn.layers import BatchNormalization, Dense, Dropout, Layer
from distnn.local_engine import LocalEngine
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, prepare
from distnn.optimizers import SGD, Adafactor, Adam, Lamb
from distnn.training import Training
from distnn.updater import skipped, state_fingerprint

NUM_SAMPLES = 75
BATCH_SIZE = 16
"""Five steps an epoch, the last batch of 11."""
STEPS_PER_EPOCH = 5


def arrays() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(5)
    return generator.normal(size=(NUM_SAMPLES, 6)).astype(np.float32), generator.integers(0, 3, NUM_SAMPLES)


def plain_model() -> Sequential:
    model = Sequential([Dense(8, activation="tanh", input_dim=6), Dense(3, activation="softmax")])
    model.compile(SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def rich_model() -> Sequential:
    """All that could make the bytes depend on who computes what."""
    model = Sequential(
        [
            Dense(12, activation="relu", input_dim=6, kernel_regularizer="l2"),
            BatchNormalization(),
            Dropout(0.4),
            Dense(3, activation="softmax"),
        ]
    )
    model.compile(Adam(0.01, clipnorm=1.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def wide_model() -> Sequential:
    """Several blocks of values in every slice, and two kinds of penalty."""
    model = Sequential(
        [
            Dense(300, activation="relu", input_dim=6, kernel_regularizer="l1_l2"),
            Dense(40, activation="tanh"),
            Dense(3, activation="softmax", bias_regularizer="l2"),
        ]
    )
    optimizer = SGD(0.1, momentum=0.9, nesterov=True, global_clipnorm=0.5)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def lamb_model() -> Sequential:
    """Steps are scaled by norms of whole weights."""
    model = Sequential([Dense(40, activation="relu", input_dim=6), Dense(3, activation="softmax")])
    model.compile(Lamb(0.01, weight_decay=0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def held_model() -> Sequential:
    """Weights that need one owner, more of them than fit evenly, and some that do not."""
    model = Sequential(
        [
            Dense(300, activation="relu", input_dim=6, kernel_constraint="max_norm"),
            Dense(40, activation="tanh", kernel_constraint="non_neg", bias_constraint=shrunk),
            Dense(3, activation="softmax", kernel_constraint="unit_norm"),
        ]
    )
    model.compile(Adam(0.01, global_clipnorm=0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def shrunk(weights: Any) -> Any:
    return ops.tanh(weights)


def adafactor_model() -> Sequential:
    """Steps need whole weights."""
    model = Sequential([Dense(300, activation="relu", input_dim=6), Dense(3, activation="softmax")])
    model.compile(Adafactor(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Touchy(Layer):
    """A user's layer that raises in the middle of a training: when it meets more than `limit` samples."""

    def call(self, inputs: Any) -> Any:
        hidden = ops.multiply(inputs, 2.0)
        self.check(hidden)
        return hidden

    def check(self, hidden: Any) -> None:
        if hidden.value is not None and np.abs(hidden.numpy()).max() > 100:
            raise ArithmeticError("too large for me")


def touchy_model() -> Sequential:
    """Raises in the shard that holds the sample changed by `provoke`."""
    model = Sequential([Touchy(input_shape=(6,)), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    return model


class Exponential(Layer):
    def call(self, inputs: Any) -> Any:
        return ops.exp(inputs)


def sore_model() -> Sequential:
    """Comes to infinity in the shard that holds the sample changed by `provoke`."""
    model = Sequential(
        [Exponential(input_shape=(6,)), BatchNormalization(), Dropout(0.2), Dense(3, activation="softmax")]
    )
    model.compile(Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


MODELS = {
    "plain": plain_model,
    "rich": rich_model,
    "wide": wide_model,
    "lamb": lamb_model,
    "held": held_model,
    "adafactor": adafactor_model,
    "touchy": touchy_model,
    "sore": sore_model,
}


def make_training(
    kind: str, *, shards: int = 4, batch_size: int = BATCH_SIZE, provoke: bool = False
) -> Training:
    """A training of two epochs, ready for any engine."""
    x, y = arrays()
    if provoke:
        x[40] = 1000.0
    arguments = FitArguments(
        x, y, batch_size=batch_size, epochs=2, shards=shards, seed=11, validation_data=(x[:29], y[:29])
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "BatchNormalization takes the statistics of its shard")
        return prepare(MODELS[kind](), arguments)


@dataclass(frozen=True)
class Outcome:
    """All that a training leaves."""

    fingerprints: tuple[int, ...]
    weights: bytes
    slots: bytes
    sums: bytes
    evaluation: bytes
    predictions: bytes

    @property
    def skipped(self) -> list[int]:
        """Steps that left everything as it was."""
        pairs = enumerate(zip(self.fingerprints, self.fingerprints[1:], strict=False))
        return [step + 1 for step, (before, after) in pairs if before == after]


def commit(engine: Engine, steps: int) -> list[int]:
    """Commit so many steps, without the updates of those that are not finite; returns the fingerprints."""
    found: list[int] = []
    while len(found) < steps:
        report = engine.run_segment(steps - len(found))
        found += [int(value) for value in report.fingerprints]
        if report.has_trouble:
            state = engine.state()
            engine.set_state(skipped(state, state.step % STEPS_PER_EPOCH == 0))
            found.append(state_fingerprint(engine.state()))
    return found


def run(engine: Engine, kind: str = "rich", segments: tuple[int, ...] = (3, 4, 3), **options: Any) -> Outcome:
    """Two epochs in the given segments, then an evaluation and a prediction; skips what is not finite."""
    training = make_training(kind, **options)
    engine.load(training.task, training.data, training.model.training_state(0))
    fingerprints = [int(f) for steps in segments for f in commit(engine, steps)]
    state = engine.state()
    return Outcome(
        tuple(fingerprints),
        state.weights.tobytes(),
        state.slots.tobytes(),
        state.sums.tobytes(),
        engine.evaluate("validation", 8).tobytes(),
        b"".join(output.tobytes() for output in engine.predict("validation", 12)),
    )


def local_fingerprints(steps: int, kind: str = "rich") -> list[int]:
    """Of the training's first steps, however many, by the local engine."""
    engine, training = LocalEngine(EngineOptions()), make_training(kind)
    engine.load(training.task, training.data, training.model.training_state(0))
    found = engine.run_segment(steps).fingerprints
    engine.close()
    return [int(one) for one in found]


PULLED_SIZES = (16, 3, 30, 1, 25)


def run_pulled(engine: Engine, kind: str = "rich", segments: tuple[int, ...] = (1, 2, 4, 3)) -> Outcome:
    """Two epochs of batches that are pulled, sent before each segment; the evaluation is in two parts."""
    x, y = arrays()
    bounds = np.cumsum((0, *PULLED_SIZES)).tolist()
    batches = [(x[start:stop], y[start:stop]) for start, stop in itertools.pairwise(bounds)]
    arguments = FitArguments(
        iter(batches * 2), steps_per_epoch=5, epochs=2, shards=4, seed=11, validation_data=(x[:29], y[:29])
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "BatchNormalization takes the statistics of its shard")
        training = prepare(MODELS[kind](), arguments)
    feed = training.feed
    assert feed is not None
    task = replace(training.task, batching=feed.opening(0))
    engine.load(task, training.data, training.model.training_state(0))
    feed.begin_epoch(0, 0, 5)
    fingerprints: list[int] = []
    for steps in segments:
        while steps:
            window = feed.pull(len(fingerprints), steps)
            assert window is not None
            engine.take_batches("train", window.data, window.batching)
            fingerprints += map(int, engine.run_segment(len(window.batches)).fingerprints)
            steps -= len(window.batches)
    state = engine.state().copy()
    whole = training.data["validation"]
    sums, predictions = None, b""
    for start, stop, cuts in ((0, 9, (2, 9)), (9, 29, (20,))):
        engine.take_batches("validation", replace(whole.slice(start, stop), cuts=cuts))
        sums = engine.evaluate("validation", 1000, sums)
        predictions += b"".join(output.tobytes() for output in engine.predict("validation", 1000))
    assert sums is not None
    engine.add_penalty(sums, 29)
    arrays_left = (state.weights.tobytes(), state.slots.tobytes(), state.sums.tobytes())
    return Outcome(tuple(fingerprints), *arrays_left, sums.tobytes(), predictions)


_references: dict[tuple[str, bool], Outcome] = {}


def reference(kind: str = "rich", provoke: bool = False) -> Outcome:
    """What the local engine makes of it."""
    key = kind, provoke
    if key not in _references:
        engine = LocalEngine(EngineOptions())
        _references[key] = run(engine, kind, provoke=provoke)
        engine.close()
    return _references[key]
