"""`EarlyStopping`: end the training when a number no longer gets better."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from distnn.callbacks.callback import Logs
from distnn.callbacks.monitoring import Monitor
from distnn.tensor import Array


class EarlyStopping(Monitor):
    """Stop after `patience` epochs in which `monitor` did not improve.

    Args:
        monitor: a name of the logs.
        min_delta: a change of less than this is no improvement.
        patience: epochs without improvement to wait for.
        verbose: 1 says that it stopped.
        mode: "min", "max" or "auto".
        baseline: if the value does not become better than this, stop too.
        restore_best_weights: go back to the weights of the best epoch in the end.
        start_from_epoch: epochs to let pass at first.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: list[Array] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.direction()
        current = self._current(logs or {})
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self.is_improvement(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self._keep(epoch)
            if self.baseline is None or self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_epoch, self.best_weights = epoch, self.model.get_weights()

    def _current(self, logs: Logs) -> float | None:
        value = logs.get(self.monitor)
        if value is None:
            warnings.warn(
                f"Early stopping conditioned on metric `{self.monitor}` which is not available. "
                f"Available metrics are: {','.join(logs)}",
                stacklevel=2,
            )
        return value

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            self.say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                self.say(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_state(self) -> dict[str, Any]:
        state = {
            "wait": self.wait,
            "stopped_epoch": self.stopped_epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        if self.best_weights is None:
            return state
        return {**state, **{f"best_weights/{i}": array for i, array in enumerate(self.best_weights)}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.wait = state["wait"]
        self.stopped_epoch = state["stopped_epoch"]
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        count = sum(name.startswith("best_weights/") for name in state)
        self.best_weights = [state[f"best_weights/{i}"] for i in range(count)] or None
