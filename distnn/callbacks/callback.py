"""`Callback`: what is told of a training as it goes, and may change what comes next."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from distnn.models.model import Model

Logs = dict[str, float]


class Callback:
    """Base class; override the hooks that are wanted.

    Attributes:
        params: of the training: `epochs`, `steps` (per epoch), `verbose`, `directions` ("min" or "max" by the
            names of the logs, where it is known), and others.
        model: what is trained; set `model.stop_training = True` to end after the running batch.
        stream: where `say` writes; None for standard output.
    """

    params: dict[str, Any] | None = None
    stream: TextIO | None = None
    _model: Any = None

    def set_params(self, params: dict[str, Any] | None) -> None:
        self.params = params

    def set_model(self, model: Model | None) -> None:
        self._model = model

    @property
    def model(self) -> Any:
        return self._model

    def say(self, text: str) -> None:
        """Write a line where the progress is written: standard output, unless `fit` was told otherwise."""
        stream = sys.stdout if self.stream is None else self.stream
        stream.write(f"{text}\n")
        stream.flush()

    def get_state(self) -> dict[str, Any]:
        """What must be saved to go on from a checkpoint: JSON-able values, and arrays, by name."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""

    def wants_batches(self) -> bool:
        """Whether a hook for single training batches is overridden; then segments are one step long."""
        hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
        return any(is_overridden(self, hook) for hook in hooks)

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


def sorted_logs(logs: Mapping[str, float]) -> Logs:
    """Training's names first, then `val_` ones, each group sorted, as Keras shows them."""
    return {name: logs[name] for name in sorted(logs, key=lambda name: (name.startswith("val_"), name))}


def is_overridden(callback: Callback, name: str) -> bool:
    """Whether `callback`, its class or its instance, has a `name` of its own."""
    return name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)
