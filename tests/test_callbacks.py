from __future__ import annotations

from typing import Any

import pytest

from distnn.callbacks import Callback, CallbackList, History, LambdaCallback

HOOKS = [name for name in dir(Callback) if name.startswith("on_")]


class Recording(Callback):
    """Notes every hook that is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *arguments: self.calls.append((name, *arguments))
        return super().__getattribute__(name)


class Counting(Callback):
    def __init__(self) -> None:
        self.count = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.count += 1

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def set_state(self, state: Any) -> None:
        self.count = state["count"]


class EachBatch(Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


class OldName(Callback):
    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        pass


@pytest.mark.parametrize("hook", [h for h in HOOKS if h not in ("on_batch_begin", "on_batch_end")])
def test_every_hook_reaches_every_callback(hook: str) -> None:
    first, second = Recording(), Recording()
    arguments = (3,) if "batch" in hook or "epoch" in hook else ()
    logs = {"loss": 1.0}
    getattr(CallbackList([first, second]), hook)(*arguments, logs)
    assert first.calls[0] == (hook, *arguments, logs) and first.calls == second.calls
    assert first.calls[0][-1] is logs
    getattr(CallbackList([first]), hook)(*arguments)
    assert first.calls[-1][-1] == {}


def test_training_batches_also_reach_the_old_names() -> None:
    callback = Recording()
    CallbackList(callback).on_train_batch_end(2, {})
    assert [call[0] for call in callback.calls] == ["on_train_batch_end", "on_batch_end"]


def test_model_and_params_are_given() -> None:
    class Model:
        history = None

    model: Any = Model()
    callback = Callback()
    CallbackList([callback], model=model, params={"epochs": 3})
    assert callback.model is model and callback.params == {"epochs": 3}


def test_only_those_who_look_at_batches_want_them() -> None:
    assert not CallbackList([History(), Counting(), Callback()]).wants_batches
    assert CallbackList([EachBatch()]).wants_batches and CallbackList([OldName()]).wants_batches
    assert CallbackList([LambdaCallback(on_train_batch_end=lambda batch, logs: None)]).wants_batches
    assert not CallbackList([LambdaCallback(on_epoch_end=lambda epoch, logs: None)]).wants_batches


def test_states_go_out_and_in() -> None:
    first, second = Counting(), Counting()
    callbacks = CallbackList([first, Callback(), second])
    callbacks.on_epoch_end(0)
    second.count = 7
    states = callbacks.get_states()
    assert states == {"Counting-0": {"count": 1}, "Counting-1": {"count": 7}}
    fresh = CallbackList([Counting(), Counting(), Counting()])
    fresh.set_states(states)
    assert [c.count for c in fresh.callbacks if isinstance(c, Counting)] == [1, 7, 0]


def test_users_callbacks_without_state_are_named() -> None:
    callbacks = CallbackList([History(), Counting(), EachBatch(), EachBatch(), LambdaCallback()])
    assert callbacks.without_state() == ["EachBatch"]


def test_refuses_what_is_no_callback() -> None:
    with pytest.raises(ValueError, match="must be `distnn.callbacks.Callback` objects. Received: 'x'"):
        CallbackList(["x"])  # type: ignore[list-item]


def test_history_sorts_names_as_keras_does() -> None:
    class Model:
        history: Any = None

    model: Any = Model()
    history = History()
    callbacks = CallbackList([history], model=model)
    callbacks.on_epoch_end(0, {"val_loss": 4.0, "loss": 1.0, "val_accuracy": 3.0, "accuracy": 2.0})
    callbacks.on_epoch_end(1, {"loss": 0.5, "accuracy": 2.5, "learning_rate": 0.1})
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss", "learning_rate"]
    assert history.history["loss"] == [1.0, 0.5] and history.history["val_loss"] == [4.0]
    assert history.epoch == [0, 1] and model.history is history
    assert repr(history).startswith("<History of 2 epochs: accuracy, loss")


def test_what_a_callback_adds_to_the_logs_is_recorded() -> None:
    history = History()
    adds = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(learning_rate=0.5))
    CallbackList([adds, history]).on_epoch_end(0, {"loss": 1.0})
    assert history.history == {"learning_rate": [0.5], "loss": [1.0]}


def test_lambda_callback() -> None:
    seen: list[Any] = []
    callback = LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(("begin", epoch)),
        on_train_end=lambda logs: seen.append("end"),
        on_epoch_end=None,
    )
    callbacks = CallbackList([callback])
    callbacks.on_epoch_begin(2)
    callbacks.on_epoch_end(2)
    callbacks.on_train_end()
    assert seen == [("begin", 2), "end"]
    with pytest.raises(ValueError, match="LambdaCallback has no hook 'on_epoch'. Expected some of: on_batch"):
        LambdaCallback(on_epoch=lambda: None)
