"""`CallbackList`: all callbacks of a training, called as one, and their states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from distnn.callbacks.callback import Callback, Logs, is_overridden

if TYPE_CHECKING:
    from distnn.models.model import Model


class CallbackList:
    """All callbacks of a training, called in order, the same `logs` going to each.

    Args:
        callbacks: one or several.
        model: given to each.
        params: given to each.
        stream: where they write what they say; standard output by default.
    """

    def __init__(
        self,
        callbacks: Iterable[Callback] | Callback | None = None,
        *,
        model: Model | None = None,
        params: dict[str, Any] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or ())
        for callback in given:
            if not isinstance(callback, Callback):
                raise ValueError(
                    "`callbacks` must be `distnn.callbacks.Callback` objects. "
                    f"Received: {callback!r} (of type {type(callback).__name__})"
                )
        self.callbacks: list[Callback] = given
        for callback in given:
            callback.stream = stream
        self.set_model(model)
        self.set_params(params)

    def set_model(self, model: Model | None) -> None:
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any] | None) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    @property
    def wants_batches(self) -> bool:
        """Whether any callback must be called for every batch."""
        return any(callback.wants_batches() for callback in self.callbacks)

    def users_override(self, *hooks: str) -> bool:
        """Whether any callback written by users has one of these hooks."""
        return any(
            is_overridden(callback, hook)
            for callback in self.callbacks
            if not type(callback).__module__.startswith("distnn.")
            for hook in hooks
        )

    def without_state(self) -> list[str]:
        """Names of the classes, written by users, that keep no state for a checkpoint.

        A training with one of them may not resume to the same bytes.
        """
        names = {
            type(callback).__name__
            for callback in self.callbacks
            if not type(callback).__module__.startswith("distnn.")
            and not is_overridden(callback, "get_state")
        }
        return sorted(names)

    def get_states(self) -> dict[str, dict[str, Any]]:
        """States by class name and occurrence, of the callbacks that have one."""
        states = {key: callback.get_state() for key, callback in self._keyed()}
        return {key: state for key, state in states.items() if state}

    def set_states(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the callbacks the states that `get_states` returned; one without a state begins anew."""
        for key, callback in self._keyed():
            if key in states:
                callback.set_state(states[key])

    def _keyed(self) -> list[tuple[str, Callback]]:
        counts: dict[str, int] = {}
        keyed = []
        for callback in self.callbacks:
            name = type(callback).__name__
            keyed.append((f"{name}-{counts.get(name, 0)}", callback))
            counts[name] = counts.get(name, 0) + 1
        return keyed

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._call("on_train_begin", _given(logs))

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._call("on_train_end", _given(logs))

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_begin", epoch, _given(logs))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_end", epoch, _given(logs))

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        logs = _given(logs)
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch, logs)
            callback.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        logs = _given(logs)
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)
            callback.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._call("on_test_begin", _given(logs))

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._call("on_test_end", _given(logs))

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_begin", batch, _given(logs))

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_end", batch, _given(logs))

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._call("on_predict_begin", _given(logs))

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._call("on_predict_end", _given(logs))

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_begin", batch, _given(logs))

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_end", batch, _given(logs))

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)


def _given(logs: Logs | None) -> Logs:
    return {} if logs is None else logs
