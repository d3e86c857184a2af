"""The arguments of `fit`, and what comes back from one `fit` to the next."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from trainings import classification, train, weight_bytes

import distnn.local_engine
from distnn.callbacks import Callback, LambdaCallback
from distnn.layers import Dense, Dropout, Input
from distnn.models import Model, Sequential
from distnn.optimizers import SGD, Adam
from distnn.optimizers.schedules import PiecewiseConstantDecay

pytestmark = pytest.mark.filterwarnings("ignore:.*no .get_state.")

X, Y = classification(53)
QUIET: dict[str, Any] = {"verbose": 0, "seed": 5}


def make(optimizer: Any = None) -> Sequential:
    model = Sequential([Input((6,)), Dense(7, "relu"), Dropout(0.2), Dense(3, "softmax")])
    model.compile(optimizer or Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    return model


# Data


def test_validation_split_takes_the_last_part() -> None:
    """As Keras: before any shuffling, the whole part after `int(n * (1 - split))`."""
    split = train(make, X, Y, validation_split=0.25, epochs=2)
    given = train(make, X[:39], Y[:39], validation_data=(X[39:], Y[39:]), epochs=2)
    assert split == given
    lost = train(make, X[:39], Y[:39], epochs=2)
    assert lost.weights == split.weights, "validation leaves the training alone"


def test_validation_is_what_evaluate_says() -> None:
    model = make()
    history = model.fit(X[:40], Y[:40], validation_data=(X[40:], Y[40:]), epochs=2, **QUIET).history
    logs = model.evaluate(X[40:], Y[40:], verbose=0, return_dict=True)
    assert {name: values[-1] for name, values in history.items() if name.startswith("val_")} == {
        f"val_{name}": value for name, value in logs.items()
    }


def test_validation_every_so_many_epochs_and_on_so_many_batches() -> None:
    options: dict[str, Any] = {"epochs": 5, "validation_data": (X, Y), "validation_freq": 2}
    history = make().fit(X, Y, **options, **QUIET).history
    assert len(history["loss"]) == 5 and len(history["val_loss"]) == 2
    model = make()
    some = model.fit(X, Y, validation_data=(X, Y), validation_steps=2, validation_batch_size=4, **QUIET)
    assert some.history["val_loss"] == [model.evaluate(X[:8], Y[:8], batch_size=4, verbose=0)[0]]


def test_validation_after_the_epochs_named() -> None:
    history = make().fit(X, Y, epochs=4, validation_data=(X, Y), validation_freq=[1, 4], **QUIET).history
    assert len(history["val_loss"]) == 2


def test_validation_may_have_weights_where_the_training_has_none() -> None:
    weights = np.where(Y == 0, 3.0, 1.0)
    plain = train(make, X, Y, validation_data=(X, Y), epochs=2)
    weighted = train(make, X, Y, validation_data=(X, Y, weights), epochs=2)
    assert weighted.weights == plain.weights
    assert weighted.history["loss"] == plain.history["loss"]
    model = make()
    model.fit(X, Y, validation_data=(X, Y, weights), epochs=2, **QUIET)
    logs = model.evaluate(X, Y, sample_weight=weights, verbose=0)
    assert model.history is not None and model.history.history["val_loss"][-1] == logs[0]


def test_class_weights_are_sample_weights() -> None:
    weights = np.where(Y == 0, 3.0, np.where(Y == 2, 0.5, 1.0))
    by_class = train(make, X, Y, class_weight={0: 3.0, 2: 0.5})
    assert by_class == train(make, X, Y, sample_weight=weights)
    assert by_class.weights != train(make, X, Y).weights


def test_class_weights_of_one_hot_targets() -> None:
    def categorical() -> Sequential:
        model = make()
        model.compile("sgd", "categorical_crossentropy")
        return model

    one_hot = np.eye(3)[Y]
    weights = np.where(Y == 1, 2.0, 1.0)
    assert train(categorical, X, one_hot, class_weight={1: 2.0}) == train(
        categorical, X, one_hot, sample_weight=weights
    )


def test_class_weights_are_for_one_output() -> None:
    x = Input((6,))
    model = Model(x, [Dense(3, "softmax")(x), Dense(1)(x)])
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
    with pytest.raises(ValueError, match="`class_weight` is only supported for models with a single output"):
        model.fit(X, [Y, X[:, :1]], class_weight={0: 2.0}, **QUIET)


def test_a_batch_larger_than_the_data_is_one_batch() -> None:
    outcome = train(make, X, Y, batch_size=1000, epochs=2)
    assert len(outcome.fingerprints) == 2
    assert outcome == train(make, X, Y, batch_size=53, epochs=2)


def test_data_of_any_number_dtype_are_taken() -> None:
    whole = np.rint(4 * X)
    expected = train(make, whole, Y).weights
    for dtype in (np.int8, np.int64, np.float16, np.float64):
        assert train(make, whole.astype(dtype), Y.astype(np.int64)).weights == expected, dtype
    assert train(make, whole.tolist(), Y.tolist()).weights == expected
    assert train(make, whole, Y[:, None].astype(float)).weights == expected


def test_shuffling_is_seeded_and_can_be_left_out() -> None:
    seeds = [train(make, X, Y, seed=seed, shuffle=False).weights for seed in (5, 5)]
    assert seeds[0] == seeds[1] != train(make, X, Y).weights


# Epochs and steps


def test_initial_epoch_is_where_counting_begins() -> None:
    seen: list[int] = []
    model = make()
    note = LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    history = model.fit(X, Y, epochs=5, initial_epoch=3, callbacks=[note], **QUIET)
    assert seen == history.epoch == [3, 4]
    assert len(history.history["loss"]) == 2


def test_two_halves_of_a_training_are_the_whole() -> None:
    """With `initial_epoch`, order and noise go on where the first half ended."""

    def halves() -> bytes:
        model = make()
        model.fit(X, Y, epochs=2, shards=2, **QUIET)
        model.fit(X, Y, epochs=4, initial_epoch=2, shards=2, **QUIET)
        return weight_bytes(model)

    assert halves() == train(make, X, Y, epochs=4, shards=2).weights


def test_an_epoch_already_done_trains_nothing() -> None:
    model = make()
    model.ensure_initialized(1)
    before = weight_bytes(model)
    assert model.fit(X, Y, epochs=2, initial_epoch=2, **QUIET).history == {}
    assert weight_bytes(model) == before


def test_steps_per_epoch() -> None:
    recorder = MemoryRecorder()
    outcome = train(make, X, Y, batch_size=16, steps_per_epoch=3, epochs=2, recorder=recorder)
    assert len(outcome.fingerprints) == 6
    assert recorder.plan is not None and recorder.plan.steps_per_epoch == 3
    many = train(make, X, Y, batch_size=16, steps_per_epoch=10)
    assert len(many.fingerprints) == 10, "a pass begins anew within the epoch"


def test_the_plan_counts_shards() -> None:
    for options, shards in (
        ({"shards": 5}, 5),
        ({"workers": 2}, 2),
        ({"workers": 9}, 2),
        ({}, 1),
        ({"workers": 9, "shards": 4}, 4),
    ):
        recorder = MemoryRecorder()
        train(make, X, Y, recorder=recorder, **options)
        assert recorder.plan is not None and recorder.plan.shards == shards, options


# From fit to fit


def test_a_second_fit_goes_on() -> None:
    model = make()
    first = model.fit(X, Y, epochs=3, **QUIET).history["loss"]
    assert model.optimizer.iterations == 6
    moments = [slot.copy() for slot in model.training_state(0).slots]
    second = model.fit(X, Y, epochs=3, **QUIET).history["loss"]
    assert model.optimizer.iterations == 12
    assert second[0] < first[0]
    assert all((new != old).any() for new, old in zip(model.training_state(0).slots, moments, strict=True))


def test_compile_begins_the_optimizer_anew() -> None:
    model = make()
    model.fit(X, Y, **QUIET)
    weights = model.get_weights()
    model.compile("adam", "sparse_categorical_crossentropy")
    assert model.optimizer.iterations == 0
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_compile_with_the_same_optimizer_goes_on() -> None:
    one, other = make(), make()
    for model in (one, other):
        model.fit(X, Y, **QUIET)
    one.compile(one.optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    for model in (one, other):
        model.fit(X, Y, **QUIET)
    assert weight_bytes(one) == weight_bytes(other)


def test_freezing_between_fits_keeps_what_stays_trained() -> None:
    model = make()
    model.fit(X, Y, **QUIET)
    model.layers[0].trainable = False
    frozen, moving = model.layers[0].get_weights(), model.layers[2].get_weights()
    model.fit(X, Y, **QUIET)
    for old, new in zip(frozen, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (moving[0] != model.layers[2].get_weights()[0]).any()
    model.layers[0].trainable = True
    model.fit(X, Y, **QUIET)
    assert (frozen[0] != model.layers[0].get_weights()[0]).any()


def test_engines_stay_warm_and_end_with_the_model() -> None:
    with make() as model:
        options: dict[str, Any] = {"backend": "threads", "workers": 2}
        model.fit(X, Y, **options, **QUIET)
        engine = model.engines["threads"]
        model.fit(X, Y, **options, **QUIET)
        assert model.engines["threads"] is engine
    assert not len(model.engines)
    model.close()
    assert model.predict(X).shape == (53, 3), "a closed model still works"


def test_layers_added_after_a_fit() -> None:
    model = Sequential([Input((6,)), Dense(7, "relu")])
    model.compile("adam", "mse")
    model.fit(X, np.zeros((53, 7)), **QUIET)
    kept = model.layers[0].get_weights()
    model.add(Dense(3, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    for old, new in zip(kept, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(X, Y, **QUIET)
    assert model.predict(X).shape == (53, 3)


# Learning rates and callbacks


def test_schedules_are_told_the_update() -> None:
    """Rate 0 from the third update on: the rest of the epoch changes nothing."""

    def scheduled() -> Sequential:
        return make(SGD(PiecewiseConstantDecay([1], [0.1, 0.0])))

    outcome = train(scheduled, X, Y, batch_size=16)
    assert outcome.fingerprints[1] == outcome.fingerprints[2] == outcome.fingerprints[3]
    assert outcome.fingerprints[0] != outcome.fingerprints[1]
    assert outcome.weights == train(lambda: make(SGD(0.1)), X, Y, batch_size=16, steps_per_epoch=2).weights


def test_a_callback_may_set_the_learning_rate() -> None:
    class Off(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = 0.1 if epoch == 0 else 0.0

    two = train(lambda: make(SGD(9.0)), X, Y, epochs=2, callbacks=[Off()])
    assert two.weights == train(lambda: make(SGD(0.1)), X, Y, epochs=1).weights


def test_a_callback_may_stop_the_training() -> None:
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: None)

    class Stop(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    history = make().fit(X, Y, epochs=9, callbacks=[stop, Stop()], **QUIET)
    assert history.epoch == [0, 1]


def test_a_callback_may_stop_within_an_epoch() -> None:
    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 1

    model = make()
    history = model.fit(X, Y, batch_size=16, epochs=9, callbacks=[Stop()], **QUIET)
    assert history.epoch == [0] and model.optimizer.iterations == 2
    expected = train(make, X, Y, batch_size=16, steps_per_epoch=2)
    assert weight_bytes(model) == expected.weights
    assert history.history == expected.history


@pytest.mark.parametrize("how", ["model", "layer", "variable"])
def test_a_callback_may_set_weights(how: str) -> None:
    class Reset(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                self.first = self.model.get_weights()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                return
            if how == "model":
                self.model.set_weights(self.first)
            elif how == "layer":
                self.model.layers[0].set_weights(self.first[:2])
                self.model.layers[2].set_weights(self.first[2:])
            else:
                for variable, value in zip(self.model.variables, self.first, strict=True):
                    variable.assign(value)

    recorder = MemoryRecorder()
    model = make(SGD(0.1))
    model.fit(X, Y, batch_size=53, epochs=2, callbacks=[Reset()], recorder=recorder, shuffle=False, **QUIET)
    again = make(SGD(0.1))
    again.ensure_initialized(5)
    again.fit(X, Y, batch_size=53, epochs=2, initial_epoch=1, shuffle=False, **QUIET)
    assert weight_bytes(model) == weight_bytes(again)


@pytest.mark.parametrize("place", [{}, {"backend": "threads", "workers": 2}])
def test_a_callback_may_evaluate_and_predict(place: dict[str, Any]) -> None:
    """With the model that is being trained, on the same kind of engine, in the middle of an epoch."""

    class Look(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.predict(X, **place)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert logs is not None
            found = self.model.evaluate(X, Y, verbose=0, return_dict=True, **place)
            assert found == {name: logs[f"val_{name}"] for name in ("loss", "accuracy")}

    options = {"epochs": 3, "batch_size": 16, "validation_data": (X, Y), "validation_batch_size": 32, **place}
    if not place:
        options["threads"] = 1
    looked = train(make, X, Y, callbacks=[Look()], **options)
    assert looked == train(make, X, Y, **options)


def test_hooks_for_batches_change_nothing() -> None:
    seen: list[int] = []
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    assert train(make, X, Y, batch_size=16, epochs=2, callbacks=[note]) == train(
        make, X, Y, batch_size=16, epochs=2
    )
    assert seen == [0, 1, 2, 3] * 2


def test_progress_goes_where_it_is_asked_to() -> None:
    stream = io.StringIO()
    make().fit(X, Y, epochs=2, validation_split=0.2, verbose=2, seed=1, progress_stream=stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Epoch 1/2" and lines[2] == "Epoch 2/2"
    assert lines[1].startswith("2/2 - ") and "val_accuracy: " in lines[1]


# Interruptions


def test_an_interrupted_thread_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the shards are computed: none is still running when the workers are used again."""
    wait = distnn.local_engine.wait  # type: ignore[attr-defined]
    waited: list[Any] = []

    def interrupted(futures: Any) -> Any:
        waited.append(futures)
        if len(waited) == 3:
            raise KeyboardInterrupt
        return wait(futures)

    monkeypatch.setattr(distnn.local_engine, "wait", interrupted)
    with make() as model:
        options: dict[str, Any] = {"batch_size": 16, "shards": 2, "backend": "threads", "workers": 2}
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, **options, **QUIET)
        assert waited[2] is waited[3]
        assert all(future.done() for future in waited[2])
        assert model.optimizer.iterations == 2
        model.fit(X, Y, **options, **QUIET)
