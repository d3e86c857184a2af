"""The training loop: segments change nothing; stopped anywhere and gone on, it ends in the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder, stored
from trainings import Outcome, classification, weight_bytes

from distnn.callbacks import Callback
from distnn.errors import CheckpointError
from distnn.layers import BatchNormalization, Dense, Dropout, Input
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, prepare
from distnn.optimizers import OPTIMIZERS, Adam
from distnn.recording import Snapshot
from distnn.snapshots import read_snapshot, write_snapshot
from distnn.training import Stopped
from distnn.updater import state_fingerprint

pytestmark = [
    pytest.mark.filterwarnings("ignore:BatchNormalization"),
    pytest.mark.filterwarnings("ignore:.*no .get_state."),
]

STEPS = 4
EPOCHS = 2
TOTAL = STEPS * EPOCHS
X, Y = classification(53)
FIT: dict[str, Any] = {
    "batch_size": 16,
    "shards": 3,
    "epochs": EPOCHS,
    "seed": 5,
    "verbose": 0,
    "validation_data": (X[:20], Y[:20]),
}


def make() -> Sequential:
    model = Sequential([Input((6,)), Dense(7, "relu", kernel_regularizer="l2"), BatchNormalization()])
    model.add(Dropout(0.2))
    model.add(Dense(3, "softmax"))
    model.compile(Adam(0.01, clipnorm=1.0), "sparse_categorical_crossentropy", ["accuracy"])
    return model


class Meddler(Callback):
    """Changes the learning rate and the weights wherever a callback may; keeps a count in its state."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.count = 0
        self.model.optimizer.learning_rate *= 0.9

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate *= 0.8
        self._scale(0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.count % 3 == 1:
            self._scale(3)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.count += 1
        if self.count % 3 == 0:
            self.model.optimizer.learning_rate *= 0.7
            self._scale(0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        assert logs is not None
        logs["count"] = float(self.count)
        self._scale(3)

    def _scale(self, index: int) -> None:
        layer = self.model.layers[index]
        layer.set_weights([0.99 * array for array in layer.get_weights()])

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


class StopAfter(Callback):
    """Ends the training after so many batches, or epochs."""

    def __init__(self, batches: int | None = None, epochs: int | None = None) -> None:
        self.batches, self.epochs, self.done = batches, epochs, 0

    def wants_batches(self) -> bool:
        return self.batches is not None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.batches is not None:
            self.done += 1
            self.model.stop_training = self.done >= self.batches

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.epochs is not None:
            self.model.stop_training = epoch + 1 >= self.epochs

    def get_state(self) -> dict[str, Any]:
        return {"done": self.done}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.done = state["done"]


CALLBACKS: dict[str, Any] = {
    "none": lambda: [],
    "meddler": lambda: [Meddler()],
    "stops after 6 batches": lambda: [StopAfter(batches=6)],
    "stops after an epoch": lambda: [StopAfter(epochs=1), Meddler()],
}


def fit(recorder: MemoryRecorder, callbacks: str = "none", **options: Any) -> Outcome | None:
    """The outcome, or None if the run was stopped."""
    with make() as model:
        try:
            history = model.fit(
                X, Y, recorder=recorder, callbacks=CALLBACKS[callbacks](), **{**FIT, **options}
            )
        except Stopped as stopped:
            assert stopped.total_steps == TOTAL
            assert stopped.step == recorder.step == recorder.saved[-1].step
            assert recorder.final is None and recorder.events[-2:] == ["stopped", "abandoned: Stopped"]
            return None
        prints = tuple(recorder.fingerprints[step] for step in sorted(recorder.fingerprints))
        return Outcome(weight_bytes(model), history.history, prints)


def final_bytes(recorder: MemoryRecorder) -> dict[str, bytes]:
    assert recorder.final is not None
    return {name: array.tobytes() for name, array in recorder.final.tensors.items()}


@pytest.mark.parametrize("segment", [1, 2, 3, 5])
def test_segments_change_nothing(segment: int) -> None:
    whole, cut = MemoryRecorder(), MemoryRecorder(segment=segment)
    assert fit(cut) == fit(whole)
    assert max(stop - start for start, stop in cut.segments) <= segment
    assert sum(stop - start for start, stop in cut.segments) == TOTAL
    assert cut.epochs == whole.epochs
    assert cut.recipe == whole.recipe and cut.plan == whole.plan


@pytest.mark.parametrize("callbacks", CALLBACKS)
@pytest.mark.parametrize("stop", range(1, TOTAL + 1))
def test_stopped_at_any_step_it_goes_on_to_the_same_bytes(callbacks: str, stop: int) -> None:
    unbroken = MemoryRecorder()
    expected = fit(unbroken, callbacks)
    first = MemoryRecorder(stop_at=stop)
    if fit(first, callbacks) is not None:
        assert stop >= unbroken.step, "a stop that comes too late lets the training finish"
        assert final_bytes(first) == final_bytes(unbroken)
        return
    assert first.step == stop
    second = MemoryRecorder(snapshot=first.saved[-1], fingerprints=dict(first.fingerprints))
    assert fit(second, callbacks) == expected
    assert second.segments[:1] != [(0, 1)]
    assert final_bytes(second) == final_bytes(unbroken)
    assert first.epochs + second.epochs == unbroken.epochs


@pytest.mark.parametrize("callbacks", ["none", "meddler"])
@pytest.mark.parametrize("place", [{}, {"backend": "threads", "workers": 3}])
def test_stopped_at_every_step_in_turn(callbacks: str, place: dict[str, Any]) -> None:
    unbroken = MemoryRecorder()
    expected = fit(unbroken, callbacks)
    recorder = MemoryRecorder(stop_at=1)
    outcome = fit(recorder, callbacks)
    for stop in range(2, TOTAL + 1):
        assert outcome is None
        recorder = MemoryRecorder(
            stop_at=stop, snapshot=recorder.saved[-1], fingerprints=recorder.fingerprints
        )
        outcome = fit(recorder, callbacks, **place)
    assert outcome == expected
    assert final_bytes(recorder) == final_bytes(unbroken)


@pytest.mark.parametrize("callbacks", CALLBACKS)
def test_any_checkpoint_will_do(callbacks: str) -> None:
    """As after a crash: nothing said that the run would end."""
    recorder = MemoryRecorder(save_at=tuple(range(1, TOTAL + 1)))
    expected = fit(recorder, callbacks)
    assert {snapshot.step for snapshot in recorder.saved} == set(range(1, recorder.step + 1))
    for snapshot in recorder.saved:
        kept = {step: value for step, value in recorder.fingerprints.items() if step < snapshot.step}
        again = MemoryRecorder(snapshot=snapshot, fingerprints=kept)
        assert fit(again, callbacks) == expected
        assert final_bytes(again) == final_bytes(recorder)


def test_a_stop_at_the_last_step_finishes() -> None:
    recorder = MemoryRecorder(stop_at=TOTAL)
    assert fit(recorder) is not None
    assert recorder.final is not None and recorder.final.step == TOTAL


def test_saved_snapshots_say_where_they_are() -> None:
    recorder = MemoryRecorder(save_at=(3, 4, 7))
    fit(recorder)
    facts = [(s.step, s.metadata["iterations"], s.metadata["training"]["epoch"]) for s in recorder.saved]
    assert facts == [(3, 3, 0), (4, 4, 1), (7, 7, 1)]
    within = [snapshot.metadata["training"]["is_within_epoch"] for snapshot in recorder.saved]
    assert within == [True, False, True]
    assert [len(snapshot.metadata["training"]["epochs"]) for snapshot in recorder.saved] == [0, 1, 1]


def test_a_snapshot_holds_everything_that_is_committed() -> None:
    recorder = MemoryRecorder(save_at=(3,))
    fit(recorder)
    names = set(recorder.saved[0].tensors)
    trainable = ["dense/kernel", "dense/bias", "batch_normalization/gamma", "batch_normalization/beta"]
    trainable += ["dense_1/kernel", "dense_1/bias"]
    moving = ["batch_normalization/moving_mean", "batch_normalization/moving_variance"]
    expected = {f"weights/{name}" for name in trainable + moving} | {"training/sums"}
    expected |= {f"optimizer/{slot}/{name}" for slot in ("momentum", "velocity") for name in trainable}
    assert names == expected


def prepared() -> Any:
    return prepare(make(), FitArguments(x=X, y=Y, **{k: v for k, v in FIT.items() if k != "epochs"}))


def test_a_snapshot_is_read_as_it_was_written() -> None:
    training = prepared()
    training.engine.load(training.task, training.data, training.model.training_state(0))
    training.engine.run_segment(3)
    state = training.engine.state().copy()
    written = write_snapshot(training.task, training.engine.state(), {"epoch": 0})
    training.engine.run_segment(2)  # into the arrays that were written
    snapshot = stored(written)
    again = read_snapshot(snapshot, training.task, training.model.training_state(0))
    assert (again.step, again.iterations) == (3, 3)
    for name in ("weights", "slots", "sums"):
        np.testing.assert_array_equal(getattr(again, name), getattr(state, name), name)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_snapshot_has_the_fingerprint_of_its_step(name: str) -> None:
    model = Sequential([Input((6,)), Dense(3, "softmax")])
    model.compile(OPTIMIZERS[name](), "sparse_categorical_crossentropy")
    recorder = MemoryRecorder(save_at=(2,))
    model.fit(X, Y, seed=1, verbose=0, recorder=recorder)
    training = prepare(model, FitArguments(X, Y, seed=1, verbose=0))
    state = read_snapshot(recorder.saved[0], training.task, model.training_state(0))
    assert state_fingerprint(state) == recorder.fingerprints[1]  # of the second step


def test_snapshots_of_other_models_are_refused() -> None:
    recorder = MemoryRecorder(stop_at=3)
    fit(recorder)
    snapshot = recorder.saved[-1]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"weights/dense/kernel": None}, "the checkpoint of step 3 lacks 'weights/dense/kernel'"),
        ({"optimizer/velocity/dense/bias": None}, "step 3 lacks 'optimizer/velocity/dense/bias'"),
        (
            {"weights/dense/kernel": np.zeros((6, 8))},
            r"'weights/dense/kernel' has shape \(6, 8\), the model's",
        ),
    ]
    for change, message in changes:
        tensors = {**snapshot.tensors, **change}
        broken = {name: array for name, array in tensors.items() if array is not None}
        model = make()
        model.ensure_initialized(1)
        before = weight_bytes(model)
        with pytest.raises(CheckpointError, match=message):
            other = Snapshot(3, broken, snapshot.metadata)
            model.fit(X, Y, recorder=MemoryRecorder(snapshot=other), **FIT)
        assert weight_bytes(model) == before


def test_a_stopped_model_holds_the_last_committed_step() -> None:
    recorder = MemoryRecorder(stop_at=6)
    with make() as model:
        with pytest.raises(Stopped, match="stopped at step 6 of 8"):
            model.fit(X, Y, recorder=recorder, **FIT)
        for variable in model.variables:
            np.testing.assert_array_equal(
                variable.numpy(), recorder.saved[-1].tensors[f"weights/{variable.path}"]
            )
        assert model.optimizer.iterations == 6


def test_the_recorder_sees_running_means_and_whole_epochs() -> None:
    recorder = MemoryRecorder(segment=1)
    outcome = fit(recorder)
    assert outcome is not None
    assert [(epoch, step) for epoch, step, _ in recorder.epochs] == [(0, 4), (1, 8)]
    for epoch, _, logs in recorder.epochs:
        assert {name: values[epoch] for name, values in outcome.history.items()} == logs
        last = recorder.step_logs[STEPS * (epoch + 1) - 1]
        assert last == {name: logs[name] for name in ("loss", "accuracy")}
    assert recorder.events == ["engine-ready"]


def test_hooks_come_in_keras_order() -> None:
    told: list[str] = []

    class Listener(Callback):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("on_") and not name.startswith("on_batch"):
                return lambda *arguments, **named: told.append(name)
            return super().__getattribute__(name)

        def wants_batches(self) -> bool:
            return True

    with make() as model:
        model.fit(X, Y, callbacks=[Listener()], **FIT)
    batch = ["on_train_batch_begin", "on_train_batch_end"]
    epoch = ["on_epoch_begin", *batch * STEPS, "on_test_begin", "on_test_end", "on_epoch_end"]
    assert told == ["on_train_begin", *epoch * EPOCHS, "on_train_end"]


def test_weights_set_when_a_training_ends_are_kept() -> None:
    class Zero(Callback):
        def on_train_end(self, logs: Any = None) -> None:
            assert logs is not None and {"loss", "val_loss"} <= set(logs)
            self.model.set_weights([np.zeros_like(array) for array in self.model.get_weights()])

    recorder = MemoryRecorder()
    with make() as model:
        model.fit(X, Y, callbacks=[Zero()], recorder=recorder, **FIT)
        assert not any(array.any() for array in model.get_weights())
    assert recorder.final is not None
    assert not any(array.any() for array in recorder.final.tensors.values())
