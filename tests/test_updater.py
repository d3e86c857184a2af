"""What a committed step makes of the summed gradient: penalties, clipping, sums, fingerprints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from trainings import Array, regression

from distnn import losses
from distnn.layers import BatchNormalization, Dense, Input, Layer
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, prepare
from distnn.optimizers import SGD, Adam, Lamb, Optimizer
from distnn.regularizers import L1, L1L2, L2

RATE = 0.1
X, Y = regression(20, 6, 3)
EXACT_X, EXACT_Y = X.astype(np.float64), Y.astype(np.float64)
QUIET: dict[str, Any] = {"verbose": 0, "seed": 1, "shuffle": False, "batch_size": 20}


def linear(optimizer: Optimizer, **dense: Any) -> Sequential:
    model = Sequential([Input((6,)), Dense(3, bias_initializer="random_normal", **dense)])
    model.compile(optimizer, "mse")
    model.ensure_initialized(3)
    return model


def before(model: Sequential) -> tuple[Array, Array]:
    kernel, bias = model.layers[0].get_weights()
    return kernel.astype(np.float64), bias.astype(np.float64)


def data_gradient(kernel: Array, bias: Array) -> tuple[Array, Array, float]:
    """Of the mean squared error, and the error."""
    error = EXACT_X @ kernel + bias - EXACT_Y
    return 2 * EXACT_X.T @ error / error.size, 2 * error.sum(0) / error.size, float((error**2).mean())


PENALTIES: list[tuple[Any, float, float]] = [
    (None, 0.0, 0.0),
    (L1(0.3), 0.3, 0.0),
    (L2(0.2), 0.0, 0.2),
    ("l2", 0.0, 0.01),
    (L1L2(0.1, 0.2), 0.1, 0.2),
]


def penalty(w: Array, l1: float, l2: float) -> float:
    return float(l1 * np.abs(w).sum() + l2 * (w**2).sum())


def pull(w: Array, l1: float, l2: float) -> Array:
    """The gradient of the penalty."""
    return l1 * np.sign(w) + 2 * l2 * w


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("regularizer, l1, l2", PENALTIES)
def test_penalties_are_in_the_step_and_in_the_loss(
    regularizer: Any, l1: float, l2: float, shards: int
) -> None:
    model = linear(SGD(RATE), kernel_regularizer=regularizer, bias_regularizer=L1(0.05))
    kernel, bias = before(model)
    dkernel, dbias, error = data_gradient(kernel, bias)
    cost = penalty(kernel, l1, l2) + penalty(bias, 0.05, 0.0)
    assert model.evaluate(X, Y, verbose=0, batch_size=7) == pytest.approx(error + cost, rel=1e-5)
    history = model.fit(X, Y, shards=shards, **QUIET).history
    assert history["loss"] == [pytest.approx(error + cost, rel=1e-5)]
    new_kernel, new_bias = before(model)
    np.testing.assert_allclose(new_kernel, kernel - RATE * (dkernel + pull(kernel, l1, l2)), atol=1e-6)
    np.testing.assert_allclose(new_bias, bias - RATE * (dbias + pull(bias, 0.05, 0.0)), atol=1e-6)


def test_the_penalty_of_an_epoch_follows_the_weights() -> None:
    """The mean over the samples of the penalty at each step, as the rest of the loss."""
    model = linear(SGD(RATE), kernel_regularizer=L2(0.2))
    recorder = MemoryRecorder(segment=1)
    model.fit(X, Y, recorder=recorder, **{**QUIET, "batch_size": 12})
    again = linear(SGD(RATE), kernel_regularizer=L2(0.2))
    first = again.fit(X[:12], Y[:12], **{**QUIET, "batch_size": 12}).history["loss"][0]
    second = again.fit(X[12:], Y[12:], **{**QUIET, "batch_size": 12}).history["loss"][0]
    assert recorder.epochs[0][2]["loss"] == pytest.approx((12 * first + 8 * second) / 20, rel=1e-6)


def test_a_frozen_layer_has_no_penalty() -> None:
    model = linear(SGD(RATE), kernel_regularizer=L2(0.2))
    error = data_gradient(*before(model))[2]
    model.layers[0].trainable = False
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(error, rel=1e-5)


# Clipping


def clipped(gradient: Array, limit: float, norm: float) -> Array:
    return gradient * min(1.0, limit / norm)


@pytest.mark.parametrize("limit", [0.01, 0.5, 100.0])
@pytest.mark.parametrize("l2", [0.0, 0.2])
@pytest.mark.parametrize("shards", [1, 3])
def test_clipnorm_bounds_each_weights_gradient(limit: float, l2: float, shards: int) -> None:
    """The penalty's part included, as in Keras."""
    model = linear(SGD(RATE, clipnorm=limit), kernel_regularizer=L2(l2) if l2 else None)
    kernel, bias = before(model)
    dkernel, dbias, _ = data_gradient(kernel, bias)
    dkernel = dkernel + pull(kernel, 0.0, l2)
    model.fit(X, Y, shards=shards, **QUIET)
    new_kernel, new_bias = before(model)
    step_kernel = clipped(dkernel, limit, np.linalg.norm(dkernel))
    step_bias = clipped(dbias, limit, np.linalg.norm(dbias))
    np.testing.assert_allclose(new_kernel, kernel - RATE * step_kernel, atol=1e-6)
    np.testing.assert_allclose(new_bias, bias - RATE * step_bias, atol=1e-6)


@pytest.mark.parametrize("limit", [0.01, 0.5, 100.0])
@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_global_clipnorm_bounds_the_whole_gradient(limit: float, l2: float) -> None:
    model = linear(SGD(RATE, global_clipnorm=limit), kernel_regularizer=L2(l2) if l2 else None)
    kernel, bias = before(model)
    dkernel, dbias, _ = data_gradient(kernel, bias)
    dkernel = dkernel + pull(kernel, 0.0, l2)
    norm = np.sqrt((dkernel**2).sum() + (dbias**2).sum())
    model.fit(X, Y, shards=3, **QUIET)
    new_kernel, new_bias = before(model)
    np.testing.assert_allclose(new_kernel, kernel - RATE * clipped(dkernel, limit, norm), atol=1e-6)
    np.testing.assert_allclose(new_bias, bias - RATE * clipped(dbias, limit, norm), atol=1e-6)


def test_clipvalue_bounds_each_number() -> None:
    model = linear(SGD(RATE, clipvalue=0.05), kernel_regularizer=L2(0.2))
    kernel, bias = before(model)
    dkernel, dbias, _ = data_gradient(kernel, bias)
    dkernel = dkernel + pull(kernel, 0.0, 0.2)
    model.fit(X, Y, shards=3, **QUIET)
    new_kernel, new_bias = before(model)
    np.testing.assert_allclose(new_kernel, kernel - RATE * np.clip(dkernel, -0.05, 0.05), atol=1e-6)
    np.testing.assert_allclose(new_bias, bias - RATE * np.clip(dbias, -0.05, 0.05), atol=1e-6)


class Unused(Layer):
    """Has a weight that the output does not depend on."""

    def build(self, input_shape: Any) -> None:
        self.idle = self.add_weight((5,), "ones", regularizer=L2(0.1), name="idle")
        self.plain = self.add_weight((5,), "ones", name="plain")

    def call(self, inputs: Any) -> Any:
        return inputs


def test_lamb_scales_each_variables_step_by_its_size() -> None:
    model = linear(Lamb(0.1, weight_decay=0.5))
    before = [array.astype(np.float64) for array in model.get_weights()]
    model.train_on_batch(X, Y, shards=3)
    for old, new in zip(before, model.get_weights(), strict=True):
        decayed = old * (1 - 0.5 * 0.1)
        size = np.linalg.norm(decayed)
        # the first direction is the sign of the gradient, but for epsilon
        length = 0.1 * (size if size else np.sqrt(old.size))
        np.testing.assert_allclose(np.linalg.norm(new - decayed), length, rtol=1e-3)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("clip", [{}, {"clipnorm": 100.0}, {"global_clipnorm": 100.0}])
def test_a_weight_that_is_not_used_is_moved_by_its_penalty_alone(clip: Any, run_eagerly: bool) -> None:
    """Step by step the same: nothing of the last step's gradient is left in the buffers."""
    model = Sequential([Input((6,)), Unused(), Dense(3)])
    model.compile(SGD(RATE, **clip), "mse", run_eagerly=run_eagerly)
    model.fit(X, Y, shards=2, **{**QUIET, "batch_size": 5})
    idle, plain = model.layers[0].get_weights()
    np.testing.assert_allclose(idle, (1 - RATE * 2 * 0.1) ** 4, rtol=1e-5)
    np.testing.assert_array_equal(plain, np.ones(5))


# Sums


def test_a_summed_loss_counts_by_samples_in_the_mean_of_an_epoch() -> None:
    """Keras: each batch's number, weighted by the samples of the batch."""

    def make() -> Sequential:
        model = Sequential([Input((6,)), Dense(3)])
        model.compile(SGD(0.0), losses.MeanSquaredError(reduction="sum"))
        model.ensure_initialized(3)
        return model

    model = make()
    kernel, bias = before(model)
    values = ((EXACT_X @ kernel + bias - EXACT_Y) ** 2).mean(1)
    expected = (12 * values[:12].sum() + 8 * values[12:].sum()) / 20
    for shards in (1, 3):
        history = make().fit(X, Y, shards=shards, **{**QUIET, "batch_size": 12}).history
        assert history["loss"] == [pytest.approx(expected, rel=1e-5)]
        found = make().evaluate(X, Y, verbose=0, batch_size=12, shards=shards)
        assert found == pytest.approx(expected, rel=1e-5)


def test_every_epoch_counts_anew() -> None:
    model = linear(SGD(0.0), kernel_regularizer=L2(0.2))
    kernel, bias = before(model)
    loss = data_gradient(kernel, bias)[2] + penalty(kernel, 0.0, 0.2)
    history = model.fit(X, Y, epochs=3, **{**QUIET, "batch_size": 7}).history
    assert history["loss"] == [pytest.approx(loss, rel=1e-5)] * 3


# Fingerprints


@pytest.mark.filterwarnings("ignore:BatchNormalization")
def test_fingerprints_see_every_number_that_is_committed() -> None:
    """Weights, slots, moving statistics: a change of one bit before a step changes the step's fingerprint."""
    model = Sequential([Input((6,)), Dense(4), BatchNormalization(), Dense(3)])
    model.compile(Adam(0.01), "mse")
    model.layers[2].trainable = False
    arguments = FitArguments(x=X, y=Y, epochs=9, batch_size=10, shards=2, seed=1, verbose=0)
    training = prepare(model, arguments)
    engine, start = training.engine, model.training_state(0)
    engine.load(training.task, training.data, start)
    engine.run_segment(2)
    state = engine.state().copy()
    expected = int(engine.run_segment(1).fingerprints[0])
    engine.set_state(state)
    assert int(engine.run_segment(1).fingerprints[0]) == expected
    layout = training.task.layout()
    for variable in layout.variables:
        changed = state.copy()
        view = layout.view(changed.weights, variable).reshape(-1)
        view[-1:] = np.nextafter(view[-1:], np.float32(np.inf))
        engine.set_state(changed)
        assert int(engine.run_segment(1).fingerprints[0]) != expected, variable.path
    for slot in range(len(state.slots)):
        changed = state.copy()
        changed.slots[slot, 3] *= 1.5
        engine.set_state(changed)
        assert int(engine.run_segment(1).fingerprints[0]) != expected, slot


def test_a_step_that_changes_nothing_keeps_its_fingerprint() -> None:
    recorder = MemoryRecorder()
    model = linear(SGD(0.0))
    model.fit(X, Y, epochs=2, recorder=recorder, **{**QUIET, "batch_size": 7})
    assert len(recorder.fingerprints) == 6
    assert len(set(recorder.fingerprints.values())) == 1
