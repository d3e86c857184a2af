"""Steps that come to NaN or infinity: where from, what is kept, what `stop` and `skip` do with them."""

from __future__ import annotations

import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from trainings import classification, regression, weight_bytes

import distnn.feeding
import distnn.training
from distnn import ops, random
from distnn.callbacks import Callback, History, TerminateOnNaN
from distnn.constraints import MinMaxNorm
from distnn.errors import NonFiniteError, Trouble
from distnn.layers import BatchNormalization, Dense, Layer
from distnn.losses import Loss
from distnn.models import Sequential
from distnn.optimizers import SGD, Adam
from distnn.training import Stopped
from distnn.utils import PyDataset

Array = np.ndarray[Any, np.dtype[Any]]

pytestmark = pytest.mark.filterwarnings("ignore:BatchNormalization takes the statistics of its shard")


class Logarithm(Layer):
    def call(self, inputs: Any) -> Any:
        return ops.log(inputs)


class Root(Layer):
    def call(self, inputs: Any) -> Any:
        return ops.sqrt(inputs)


def classifier(**options: Any) -> Sequential:
    model = Sequential(
        [
            Logarithm(input_shape=(6,), name="logs"),
            Dense(5, activation="tanh"),
            Dense(3, activation="softmax"),
        ]
    )
    model.compile(Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def positive(*bad: int) -> tuple[Array, Array]:
    """Data for `classifier`; the log of the samples named is NaN."""
    x, y = classification()
    x = np.abs(x) + 0.1
    x[list(bad), 2] = -1.0
    return x, y


FIT: dict[str, Any] = {"batch_size": 8, "epochs": 3, "shards": 4, "seed": 5, "verbose": 0}


def trouble_of(model: Sequential, x: Any, y: Any, **fit: Any) -> Trouble:
    with model, pytest.raises(NonFiniteError) as raised:
        model.fit(x, y, **{**FIT, **fit})
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    return raised.value.trouble


# Where it comes from


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}], ids=["traced", "eager"])
def test_the_first_sample_in_the_layer_is_named(options: dict[str, Any]) -> None:
    x, y = positive(40)
    trouble = trouble_of(classifier(**options), x, y)
    assert (trouble.what, trouble.layer, trouble.op, trouble.sample) == ("forward", "logs", "log", 40)
    assert trouble.value == "nan" and trouble.learning_rate == 0.01
    with classifier(**options) as same, pytest.raises(NonFiniteError) as raised:
        same.fit(x, y, **FIT)
    place = f"step {trouble.step}, shard {trouble.shard}"
    assert str(raised.value).startswith(
        f"{place}: the output of layer 'logs' (log) is nan, first for sample 40 of the training data (learn"
    )
    assert f"the model is that of {trouble.step} steps (epoch 1 of 3)" in str(raised.value)


def test_of_several_samples_the_first_shard_and_row_are_named() -> None:
    x, y = positive(*range(20, 30))
    trouble = trouble_of(classifier(), x, y, shuffle=False)
    assert (trouble.step, trouble.shard, trouble.sample) == (2, 2, 20)


def test_a_loss_that_is_infinite_with_a_finite_gradient() -> None:
    x, y = regression()
    y[17] = 1e25
    model = Sequential([Dense(1, input_dim=6)])
    model.compile(SGD(1e-20), "mse")
    trouble = trouble_of(model, x, y, shuffle=False)
    assert (trouble.what, trouble.sample, trouble.value) == ("loss", 17, "inf")
    assert trouble.layer == "mean_squared_error" and (trouble.step, trouble.shard) == (2, 0)


def test_a_gradient_that_is_not_finite_behind_a_finite_loss() -> None:
    x, y = regression()
    model = Sequential([Dense(4, input_dim=6, kernel_initializer="zeros"), Root(name="root"), Dense(1)])
    model.compile("sgd", "mse")
    trouble = trouble_of(model, x, y, shuffle=False)
    assert (trouble.step, trouble.what, trouble.layer, trouble.sample) == (0, "gradient", "root", 0)


def test_weights_that_become_too_large() -> None:
    x, y = regression()
    model = Sequential([Dense(1, input_dim=6, name="line")])
    model.compile(SGD(3e38), "mse")
    trouble = trouble_of(model, x, 100 * y)
    assert (trouble.step, trouble.what, trouble.value[-3:]) == (0, "update", "inf")
    assert trouble.layer == "the weights 'line/kernel'" and trouble.shard is None
    assert "loss and gradient are finite, and the update makes the weights 'line/kernel'" in str(trouble)


def test_slots_that_become_too_large() -> None:
    x, y = regression()
    model = Sequential([Dense(1, input_dim=6, name="line", kernel_initializer="zeros")])
    model.compile(Adam(0.001), "mse")
    trouble = trouble_of(model, 1000 * x, y + np.float32(1e17))
    assert trouble.what == "update" and trouble.layer == "the optimizer's 'velocity' of 'line/kernel'"


def test_moving_statistics_that_become_too_large() -> None:
    x, y = classification()
    x[30:40] *= 1e21
    model = Sequential([BatchNormalization(name="norm", input_shape=(6,)), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    trouble = trouble_of(model, x, y, shuffle=False)
    assert trouble.step == 3 and "norm" in trouble.layer


def test_weights_that_were_not_finite_before() -> None:
    x, y = regression()
    model = Sequential([Dense(1, input_dim=6, name="line")])
    model.compile("sgd", "mse")
    model.set_weights([np.full((6, 1), np.nan, np.float32), np.zeros(1, np.float32)])
    trouble = trouble_of(model, x, y)
    assert (trouble.what, trouble.layer, trouble.value) == ("weights", "line/kernel", "nan")


def test_an_infinity_that_ends_on_the_way_is_not_the_cause() -> None:
    class Masked(Layer):
        def call(self, inputs: Any) -> Any:
            hidden = ops.softmax(ops.where(inputs > 0.0, inputs, -np.inf))
            return ops.log(ops.sum(inputs, axis=-1, keepdims=True)) + hidden

    x, y = positive()
    x[:, 0], x[33] = -0.01, -1.0
    x[33, 5] = 0.5
    model = Sequential([Masked(input_shape=(6,), name="masked"), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    trouble = trouble_of(model, x, y)
    assert (trouble.layer, trouble.op, trouble.sample) == ("masked", "log", 33)


def test_a_step_that_comes_out_otherwise_when_it_is_computed_again() -> None:
    class Fickle(Loss):
        calls = 0

        def call(self, y_true: Any, y_pred: Any) -> Any:
            Fickle.calls += y_pred.value is not None
            factor = math.inf if Fickle.calls == 10 else 1.0
            return ops.mean(ops.square(y_pred - y_true), axis=-1) * factor

    x, y = regression()
    model = Sequential([Dense(1, input_dim=6)])
    model.compile("sgd", Fickle(), run_eagerly=True)
    trouble = trouble_of(model, x, y)
    assert (trouble.step, trouble.what) == (2, "unknown")
    assert "not deterministic, or a faulty machine" in str(trouble)


def unbounded(w: Any) -> Any:
    """A constraint that a weight beyond 50 breaks."""
    return np.where(np.abs(w) > 50, np.float32(np.inf), w)


def held(constraint: Any, kernel: str = "glorot_uniform") -> Sequential:
    model = Sequential(
        [Dense(1, input_dim=6, kernel_constraint=constraint, kernel_initializer=kernel, name="line")]
    )
    model.compile(SGD(0.01), "mse")
    return model


def far_off(sample: int) -> tuple[Array, Array]:
    """Data for `held`; the sample takes weights far away."""
    x, y = regression()
    x[sample] *= 1000
    return x, y


PLACES: list[dict[str, Any]] = [{}, {"workers": 2}, {"backend": "threads", "workers": 3}]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_weights_that_their_constraint_makes_infinite(place: dict[str, Any]) -> None:
    x, y = far_off(40)
    model = held(unbounded)
    trouble = trouble_of(model, x, y, shuffle=False, **place)
    assert (trouble.step, trouble.what, trouble.value[-3:]) == (5, "update", "inf")
    assert trouble.layer == "the weights 'line/kernel'"
    assert np.abs(model.get_weights()[0]).max() < 50 and model.optimizer.iterations == 5


def test_weights_that_their_bounded_norms_make_nan() -> None:
    x, y = regression()
    model = held(MinMaxNorm(1e37, 1e38), "zeros")
    trouble = trouble_of(model, 0 * x, y)
    assert (trouble.step, trouble.what, trouble.value) == (0, "update", "nan")
    assert trouble.layer == "the weights 'line/kernel'" and not model.get_weights()[0].any()


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_step_that_a_constraint_breaks_is_skipped(place: dict[str, Any]) -> None:
    x, y = far_off(40)
    with held(unbounded) as model, held(unbounded) as whole:
        losses = model.fit(x, y, **{**FIT, **place}, on_nonfinite="skip").history["loss"]
        assert model.optimizer.iterations == 18 and np.isfinite(losses).all()
        whole.fit(x, y, **FIT, on_nonfinite="skip")
        assert weight_bytes(model) == weight_bytes(whole)


def test_train_on_batch_leaves_nothing_of_a_constraint_that_breaks() -> None:
    x, y = far_off(0)
    with held(unbounded) as model:
        model.train_on_batch(x[8:], y[8:])
        before = weight_bytes(model)
        with pytest.raises(NonFiniteError, match="the update makes the weights 'line/kernel' -?inf"):
            model.train_on_batch(x[:8], y[:8])
        assert weight_bytes(model) == before


class Drawn(Layer):
    """Values whose parameters grow beyond all bounds."""

    def __init__(self, draw: Any, **options: Any) -> None:
        super().__init__(**options)
        self.draw = draw

    def call(self, inputs: Any) -> Any:
        return inputs + self.draw(ops.shape(inputs), ops.exp(ops.abs(inputs)))


@pytest.mark.parametrize(
    "draw",
    [
        random.gamma,
        lambda shape, parameter: random.beta(shape, 1.0, parameter),
        lambda shape, parameter: random.binomial(shape, parameter, 0.5),
    ],
    ids=["gamma", "beta", "binomial"],
)
def test_random_values_of_a_parameter_that_overflows(draw: Any) -> None:
    x, y = regression()
    x[40, 2] = 500.0
    model = Sequential([Drawn(draw, input_shape=(6,), name="drawn"), Dense(1)])
    model.compile(SGD(0.001), "mse")
    trouble = trouble_of(model, x, y, shuffle=False)
    assert (trouble.step, trouble.layer, trouble.op, trouble.sample) == (5, "drawn", "exp", 40)


# What is no trouble


def test_a_metric_may_be_nan() -> None:
    x, y = regression()

    def nonsense(y_true: Any, y_pred: Any) -> Any:
        return ops.log(ops.abs(y_pred[:, 0]) * -1.0 - 1.0)

    model = Sequential([Dense(1, input_dim=6)])
    model.compile("sgd", "mse", metrics=[nonsense])
    with model:
        history = model.fit(x, y, **FIT).history
    assert np.isnan(history["nonsense"]).all() and np.isfinite(history["loss"]).all()


def test_a_state_that_begins_at_infinity_may_stay_there() -> None:
    class Largest(Layer):
        def build(self, input_shape: Any) -> None:
            self.largest = self.add_weight((2,), "zeros", trainable=False, name="largest")

        def call(self, inputs: Any) -> Any:
            seen = ops.stack([ops.max(inputs), ops.sum(inputs) * 0.0 - np.inf])
            self.largest.assign(ops.maximum(self.largest, seen))
            return inputs

    x, y = regression()
    model = Sequential([Largest(input_shape=(6,)), Dense(1)])
    model.compile("sgd", "mse")
    model.build((None, 6))
    model.layers[0].set_weights([np.array([-np.inf, -np.inf], np.float32)])
    with model:
        model.fit(x, y, **{**FIT, "shards": 1})
        first, second = model.layers[0].get_weights()[0]
    assert first > 0 and second == -np.inf


# What is kept


def test_the_model_is_that_of_the_step_before() -> None:
    x, y = positive(40)
    model = classifier()
    trouble = trouble_of(model, x, y)
    assert trouble.step > 0 and model.optimizer.iterations == trouble.step
    with classifier() as same, pytest.raises(Stopped):
        same.fit(x, y, **FIT, recorder=MemoryRecorder(stop_at=trouble.step))
    assert weight_bytes(model) == weight_bytes(same)


def test_an_ordinary_fit_can_follow() -> None:
    x, y = positive(40)
    with classifier() as model:
        with pytest.raises(NonFiniteError):
            model.fit(x, y, **FIT)
        assert len(model.engines) == 1
        assert np.isfinite(model.fit(*positive(), **FIT).history["loss"]).all()


def test_a_run_is_saved_at_the_last_good_step_and_goes_on_skipping() -> None:
    x, y = positive(40)
    recorder = MemoryRecorder()
    with classifier() as model, pytest.raises(NonFiniteError) as raised:
        model.fit(x, y, **FIT, recorder=recorder)
    assert [one.step for one in recorder.saved] == [raised.value.trouble.step] == [recorder.step]
    assert recorder.events[-2:] == ["nonfinite", "abandoned: NonFiniteError"]
    unbroken = skipping()
    again = MemoryRecorder(snapshot=recorder.saved[0], fingerprints=dict(recorder.fingerprints))
    assert skipping(again) == unbroken


# Skipping


def skipping(
    recorder: MemoryRecorder | None = None, **fit: Any
) -> tuple[bytes, dict[str, list[float]], dict[int, int]] | None:
    recorder = recorder or MemoryRecorder()
    x, y = positive(40)
    with classifier() as model:
        try:
            history = model.fit(x, y, **{**FIT, **fit}, on_nonfinite="skip", recorder=recorder)
        except Stopped:
            return None
        assert recorder.recipe["on_nonfinite"] == "skip"
        return weight_bytes(model), history.history, recorder.fingerprints


def test_a_skipped_step_counts_and_leaves_everything_as_it_was() -> None:
    found = skipping()
    assert found is not None
    _, history, fingerprints = found
    assert sorted(fingerprints) == list(range(21)) and np.isfinite(history["loss"]).all()
    same = [step for step in range(1, 21) if fingerprints[step] == fingerprints[step - 1]]
    assert len(same) == 3, "one step of each epoch holds the sample"
    x, y = positive(40)
    with classifier() as model:
        model.fit(x, y, **FIT, on_nonfinite="skip")
        assert model.optimizer.iterations == 18, "skipped steps are no updates"


@pytest.mark.parametrize("stop", [1, 3, 6, 7, 8, 12, 16, 20])
def test_a_resumed_run_skips_and_counts_as_the_unbroken_one(stop: int) -> None:
    unbroken = skipping()
    first = MemoryRecorder(stop_at=stop, save_at=(stop,))
    skipping(first)
    assert first.saved[-1].step == stop
    again = MemoryRecorder(snapshot=first.saved[-1], fingerprints=dict(first.fingerprints))
    assert skipping(again, backend="threads", workers=2) == unbroken


def test_logs_are_those_of_the_steps_that_are_left() -> None:
    """Without a shuffle the sample is in the sixth of seven steps."""
    x, y = positive(40)
    model = Sequential([Logarithm(input_shape=(6,)), Dense(3, activation="softmax", kernel_regularizer="l2")])
    model.compile(SGD(0.0), "sparse_categorical_crossentropy")
    with model:
        loss = model.fit(x, y, **{**FIT, "epochs": 1}, shuffle=False, on_nonfinite="skip").history["loss"][0]
        rest = np.r_[0:40, 48:53]
        assert loss == pytest.approx(model.evaluate(x[rest], y[rest]), rel=1e-6)


def test_an_epoch_without_a_single_update_ends_the_training() -> None:
    x, y = positive(*range(53))
    with classifier() as model, pytest.raises(NonFiniteError, match="So was every step of epoch 1, and"):
        model.fit(x, y, **FIT, on_nonfinite="skip")


def test_each_skipped_step_is_told(caplog: pytest.LogCaptureFixture) -> None:
    recorder = MemoryRecorder()
    skipping(recorder)
    assert recorder.events.count("nonfinite") == 3
    endings = [record.message.partition("goes on without this step, ")[2] for record in caplog.records]
    assert endings == ["the 1. such", "the 2. such", "the 3. such"]


def test_of_many_skipped_steps_some_are_told(caplog: pytest.LogCaptureFixture) -> None:
    x, y = positive(*range(10, 53))
    recorder = MemoryRecorder()
    with classifier() as model:
        model.fit(x, y, **FIT, shuffle=False, on_nonfinite="skip", recorder=recorder)
    assert recorder.events.count("nonfinite") == 18
    counts = [int(record.message.split()[-2].rstrip(".")) for record in caplog.records]
    assert counts == [1, 2, 3, 4, 8, 16]


# Keras's ways


class Stopper(Callback):
    """As many a Keras program has it."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not np.isfinite(logs["loss"]):
            self.model.stop_training = True


@pytest.mark.parametrize("callback", [TerminateOnNaN, Stopper])
def test_callbacks_that_look_for_nan_end_the_training_in_good_order(callback: Any) -> None:
    x, y = positive(40)
    with classifier() as model:
        history: History = model.fit(x, y, **FIT, callbacks=[callback()])
        assert history.epoch == [0] and np.isnan(history.history["loss"][0])
        assert np.isfinite(model.get_weights()[0]).all()


def test_train_on_batch_raises_or_skips() -> None:
    x, y = positive(4)
    with classifier() as model:
        model.train_on_batch(x[10:20], y[10:20])
        before = weight_bytes(model)
        with pytest.raises(
            NonFiniteError, match=r"step 1, shard 0: .* first for sample 4 of the training data"
        ):
            model.train_on_batch(x[:8], y[:8])
        assert np.isnan(model.train_on_batch(x[:8], y[:8], on_nonfinite="skip")).all()
        assert weight_bytes(model) == before and model.optimizer.iterations == 1


def test_an_unknown_policy_is_refused() -> None:
    x, y = positive()
    with classifier() as model, pytest.raises(ValueError, match="one of 'stop', 'skip'. Received: 'ignore'"):
        model.fit(x, y, on_nonfinite="ignore")


# Pulled batches


def pulled(x: Array, y: Array, epochs: int) -> Any:
    return ((x[i : i + 8], y[i : i + 8]) for _ in range(epochs) for i in range(0, 53, 8))


def test_of_pulled_batches_the_rest_goes_on() -> None:
    x, y = positive(40)
    with classifier() as one, classifier() as other:
        expected = one.fit(x, y, **FIT, shuffle=False, on_nonfinite="skip").history
        options = {"steps_per_epoch": 7, "epochs": 3, "shards": 4, "seed": 5, "verbose": 0}
        found = other.fit(pulled(x, y, 3), **options, on_nonfinite="skip").history  # type: ignore[arg-type]
        assert weight_bytes(one) == weight_bytes(other) and found == expected


def test_of_pulled_batches_the_sample_is_counted_in_its_batch() -> None:
    x, y = positive(42)
    with classifier() as model, pytest.raises(NonFiniteError) as raised:
        model.fit(pulled(x, y, 1), steps_per_epoch=7, shards=4, seed=5, verbose=0)
    assert (raised.value.trouble.step, raised.value.trouble.sample) == (5, 2)


class Parts(PyDataset):
    """The same batches by number."""

    def __init__(self, x: Array, y: Array) -> None:
        super().__init__()
        self.batches = list(pulled(x, y, 1))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


class Sudden(MemoryRecorder):
    """Is asked to stop without having said so before: a window goes on behind the step."""

    def next_checkpoint_step(self, step: int) -> int | None:
        return None


def fit_parts(kind: str, on_nonfinite: str, recorder: MemoryRecorder) -> bytes:
    """Three epochs; every sixth of seven batches cannot be trained on."""
    x, y = positive(40)
    layers = [Logarithm(input_shape=(6,)), Dense(5, "tanh", kernel_regularizer="l2"), Dense(3, "softmax")]
    data = Parts(x, y) if kind == "dataset" else pulled(x, y, 3)
    with Sequential(layers) as model, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the run goes on from a checkpoint only where")
        model.compile(Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
        options: dict[str, Any] = {"steps_per_epoch": 7, "epochs": 3, "shuffle": False, "threads": 1}
        model.fit(data, seed=5, verbose=0, recorder=recorder, on_nonfinite=on_nonfinite, **options)
        return weight_bytes(model)


@pytest.mark.parametrize("kind", ["generator", "dataset"])
@pytest.mark.parametrize("stop", [5, 6, 12, 13])
def test_a_run_on_pulled_batches_goes_on_from_the_committed_step(
    kind: str, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distnn.training, "SEGMENT_SECONDS", 1e9)
    monkeypatch.setattr(distnn.feeding, "PULL_SECONDS", 1e9)
    whole, first = MemoryRecorder(), Sudden(stop_at=stop)
    expected = fit_parts(kind, "skip", whole)
    with pytest.raises(Stopped):
        fit_parts(kind, "skip", first)
    kept = first.saved[-1]
    assert kept.step == stop and kept.metadata["training"]["pulled"]["samples"] == 8 * ((stop - 1) % 7 + 1)
    again = MemoryRecorder(snapshot=kept)
    assert fit_parts(kind, "skip", again) == expected
    assert again.epochs == whole.epochs[stop // 7 :]
    assert "not-exactly-resumed" not in again.events


@pytest.mark.parametrize("kind", ["generator", "dataset"])
def test_pulled_batches_that_stop_a_run_leave_a_checkpoint(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distnn.training, "SEGMENT_SECONDS", 1e9)
    whole, first = MemoryRecorder(), MemoryRecorder()
    expected = fit_parts(kind, "skip", whole)
    with pytest.raises(NonFiniteError):
        fit_parts(kind, "stop", first)
    assert [kept.step for kept in first.saved] == [5]
    again = MemoryRecorder(snapshot=first.saved[-1])
    assert fit_parts(kind, "skip", again) == expected
    assert again.epochs == whole.epochs and "not-exactly-resumed" not in again.events
