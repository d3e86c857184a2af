"""Callbacks: what is told of a training as it goes, and may change what comes next.

All hooks run in the process that drives the training. A callback's state (`get_state`) is saved in
checkpoints, so that a resumed training goes on as the unbroken one would. The training loop calls
`CallbackList`; nothing here trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distnn.models.model import Model

Logs = dict[str, float]


class Callback:
    """Base class; override the hooks that are wanted.

    Attributes:
        params: of the training: `epochs`, `steps` (per epoch), `verbose`, and others.
        model: what is trained; set `model.stop_training = True` to end after the running batch.
    """

    params: dict[str, Any] | None = None
    _model: Any = None

    def set_params(self, params: dict[str, Any] | None) -> None:
        self.params = params

    def set_model(self, model: Model | None) -> None:
        self._model = model

    @property
    def model(self) -> Any:
        return self._model

    def get_state(self) -> dict[str, Any]:
        """What must be saved to go on from a checkpoint; JSON-able."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""

    def wants_batches(self) -> bool:
        """Whether a hook for single training batches is overridden; then segments are one step long."""
        hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
        return any(_overridden(self, hook) for hook in hooks)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the last epoch, with its logs."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before epoch number `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called with the epoch's loss and metrics (`val_` too); what is added to `logs` is recorded."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a training batch, counted from 0 in its epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a training batch, with the epoch's loss and metrics so far."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Old name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Old name of `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after an evaluation, with its loss and metrics."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before an evaluation batch."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after an evaluation batch."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a prediction batch."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a prediction batch."""


class CallbackList:
    """All callbacks of a training, called in order, the same `logs` going to each.

    Args:
        callbacks: one or several.
        model: given to each.
        params: given to each.
    """

    def __init__(
        self,
        callbacks: Iterable[Callback] | Callback | None = None,
        *,
        model: Model | None = None,
        params: dict[str, Any] | None = None,
    ) -> None:
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or ())
        for callback in given:
            if not isinstance(callback, Callback):
                raise ValueError(
                    "`callbacks` must be `distnn.callbacks.Callback` objects. "
                    f"Received: {callback!r} (of type {type(callback).__name__})"
                )
        self.callbacks: list[Callback] = given
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

    def without_state(self) -> list[str]:
        """Names of the classes, written by users, that keep no state for a checkpoint.

        A training with one of them may not resume to the same bytes.
        """
        names = {
            type(callback).__name__
            for callback in self.callbacks
            if not type(callback).__module__.startswith("distnn.") and not _overridden(callback, "get_state")
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


class History(Callback):
    """Loss and metrics of each epoch; `fit` returns one.

    Attributes:
        history: a list of floats for each loss and metric, training's names first, each group sorted.
        epoch: the epochs' numbers.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in sorted_logs(_given(logs)).items():
            self.history.setdefault(name, []).append(value)
        if self.model is not None:
            self.model.history = self

    def __repr__(self) -> str:
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history)}>"


class LambdaCallback(Callback):
    """A callback of single functions: `LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))`."""

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        known = [name for name in dir(Callback) if name.startswith("on_")]
        for name, function in hooks.items():
            if name not in known:
                raise ValueError(f"LambdaCallback has no hook '{name}'. Expected some of: {', '.join(known)}")
            if function is not None:
                setattr(self, name, function)


def sorted_logs(logs: Mapping[str, float]) -> Logs:
    """Training's names first, then `val_` ones, each group sorted, as Keras shows them."""
    return {name: logs[name] for name in sorted(logs, key=lambda name: (name.startswith("val_"), name))}


def _given(logs: Logs | None) -> Logs:
    return {} if logs is None else logs


def _overridden(callback: Callback, name: str) -> bool:
    """Whether `callback`, its class or its instance, has a `name` of its own."""
    return name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)
