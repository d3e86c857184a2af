"""What another thread can have of a training while a call of the engine takes long."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder, stored
from trainings import classification, weight_bytes

from distnn.callbacks import Callback
from distnn.layers import Dense, Input
from distnn.local_engine import LocalEngine
from distnn.models import Sequential
from distnn.recording import Snapshot
from distnn.rescue import Rescue

X, Y = classification(53)
FIT: dict[str, Any] = {"batch_size": 16, "shards": 3, "epochs": 2, "seed": 5, "verbose": 0}


def test_only_while_a_call_is_long_there_is_something_to_be_had() -> None:
    step = 7
    rescue = Rescue(lambda epoch: Snapshot(step, {}, {"epoch": epoch}))
    assert rescue.snapshot() is None
    with rescue.possible(1, 7):
        found = rescue.snapshot()
        assert found is not None and (found.step, found.metadata["epoch"]) == (7, 1)
        step = 8
        assert rescue.snapshot() is None, "the next step has been committed meanwhile"
    with rescue.possible(1, 8, begins_anew=False):
        assert rescue.snapshot() is None
    with pytest.raises(KeyboardInterrupt), rescue.possible(1, 8):
        raise KeyboardInterrupt
    assert rescue.snapshot() is None


def test_who_takes_a_snapshot_is_waited_for() -> None:
    taking, go_on, order = threading.Event(), threading.Event(), []

    def take(epoch: int) -> Snapshot:
        taking.set()
        assert go_on.wait(60)
        order.append("taken")
        return Snapshot(1, {})

    rescue = Rescue(take)
    with rescue.possible(0, 1):
        thread = threading.Thread(target=rescue.snapshot)
        thread.start()
        assert taking.wait(60)
        go_on.set()
    order.append("went on")
    thread.join()
    assert order == ["taken", "went on"]


class Offered(MemoryRecorder):
    """Takes what is offered at each call of the engine, as a signal in its middle would."""

    segment = 1

    def offer(self, last_committed: Any) -> None:
        self.last_committed = last_committed
        self.rescued: list[Snapshot | None] = []

    def take(self) -> None:
        found: list[Snapshot | None] = []
        thread = threading.Thread(target=lambda: found.append(self.last_committed()))
        thread.start()
        thread.join()
        self.rescued += [None if one is None else stored(one) for one in found]


def make() -> Sequential:
    model = Sequential([Input((6,)), Dense(7, "relu"), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


class ActsBefore(Callback):
    """What it does before a batch must not be done twice."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        pass

    def get_state(self) -> dict[str, Any]:
        return {}


def rescued(monkeypatch: pytest.MonkeyPatch, *callbacks: Callback) -> tuple[Offered, bytes]:
    """A training whose every call of the engine is looked into, and its weights."""
    recorder = Offered(segment=1)
    run_segment, evaluate = LocalEngine.run_segment, LocalEngine.evaluate

    def looked_into(call: Any) -> Any:
        def looking(engine: LocalEngine, *arguments: Any) -> Any:
            recorder.take()
            return call(engine, *arguments)

        return looking

    monkeypatch.setattr(LocalEngine, "run_segment", looked_into(run_segment))
    monkeypatch.setattr(LocalEngine, "evaluate", looked_into(evaluate))
    with make() as model:
        model.fit(X, Y, validation_data=(X[:20], Y[:20]), recorder=recorder, callbacks=list(callbacks), **FIT)
        return recorder, weight_bytes(model)


def test_a_training_goes_on_from_whatever_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, expected = rescued(monkeypatch)
    monkeypatch.undo()
    taken = [snapshot for snapshot in recorder.rescued if snapshot is not None]
    assert [snapshot.step for snapshot in taken] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8], "validations included"
    for snapshot in taken:
        kept = {step: value for step, value in recorder.fingerprints.items() if step < snapshot.step}
        again = MemoryRecorder(snapshot=snapshot, fingerprints=kept)
        with make() as model:
            model.fit(X, Y, validation_data=(X[:20], Y[:20]), recorder=again, **FIT)
            assert weight_bytes(model) == expected
        assert again.fingerprints == recorder.fingerprints
        assert again.epochs == recorder.epochs[-len(again.epochs) :]
    np.testing.assert_array_equal(taken[0].tensors["optimizer/momentum/dense/kernel"], 0)


def test_nothing_is_taken_where_a_callback_has_begun_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, _ = rescued(monkeypatch, ActsBefore())
    taken = [snapshot.step for snapshot in recorder.rescued if snapshot is not None]
    assert taken == [4, 8], "only in validations"
