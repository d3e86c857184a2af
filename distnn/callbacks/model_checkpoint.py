"""`ModelCheckpoint`: save the model, or its weights, as the training goes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distnn.callbacks.callback import Logs
from distnn.callbacks.monitoring import Monitor

WHOLE = (".safetensors", ".keras", ".h5")
WEIGHTS = (".weights.safetensors", ".weights.h5")


class ModelCheckpoint(Monitor):
    """Save at the ends of epochs, or every so many batches. A file is there whole or not at all.

    With a number for `save_freq` every batch is looked at, which makes segments of steps one step long.

    Args:
        filepath: ends in `.safetensors` or `.keras`, for weights in `.weights.safetensors` or `.weights.h5`
            (safetensors files all of them); `{epoch}` (from 1), `{batch}` and names of the logs may stand in
            it, with formats: `{epoch:02d}-{val_loss:.2f}.safetensors`.
        monitor: a name of the logs.
        verbose: 1 says what is saved and why.
        save_best_only: save only if `monitor` is better than ever before.
        save_weights_only: the weights, not the whole model.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: what the first value must be better than.
    """

    def __init__(
        self,
        filepath: str | Path,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._epoch = 0
        self._batches = 0
        if save_freq != "epoch" and (isinstance(save_freq, bool) or not isinstance(save_freq, int)):
            raise ValueError(
                f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' or integer values"
            )
        suffixes = WEIGHTS if save_weights_only else WHOLE
        if not self.filepath.endswith(suffixes) or (self.filepath.endswith(WEIGHTS) != save_weights_only):
            when = f" with `save_weights_only={bool(save_weights_only)}`"
            allowed = " or ".join(f"`{suffix}`" for suffix in suffixes)
            raise ValueError(
                f"The filepath provided must end in {allowed}{when} ('{WEIGHTS[0]}' is for weights alone). "
                f"Received: filepath={self.filepath}"
            )

    def wants_batches(self) -> bool:
        return self.save_freq != "epoch"

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if isinstance(self.save_freq, str):
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_best_only:
            self.direction()
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        path = self._path(epoch, batch, logs)
        if not self._should_save(epoch, logs, path):
            return
        if os.path.isdir(path):
            raise OSError(
                "Please specify a non-directory filepath for ModelCheckpoint. Filepath used is an existing "
                f"directory: {path}"
            )
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path, overwrite=True)
        if self.verbose > 0:
            self.say(f"\nEpoch {epoch + 1}: finished saving model to {path}")

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        values: dict[str, Any] = {"epoch": epoch + 1, **logs}
        if batch is not None:
            values.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**values)
        except KeyError as error:
            raise KeyError(
                f'Failed to format this callback filepath: "{self.filepath}". Reason: {error}'
            ) from None

    def _should_save(self, epoch: int, logs: Logs, path: str) -> bool:
        said = f"\nEpoch {epoch + 1}: "
        if not self.save_best_only:
            self._tell(f"{said}saving model to {path}")
            return True
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(f"Can save best model only with {self.monitor} available.", stacklevel=4)
            return True
        best = "None" if self.best is None else f"{self.best:.5f}"
        if not self.is_improvement(current, self.best):
            self._tell(f"{said}{self.monitor} did not improve from {best}")
            return False
        self._tell(f"{said}{self.monitor} improved from {best} to {current:.5f}, saving model to {path}")
        self.best = current
        return True

    def _tell(self, text: str) -> None:
        if self.verbose > 0:
            self.say(text)

    def get_state(self) -> dict[str, Any]:
        return {"best": self.best, "batches": self._batches}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.best, self._batches = state["best"], state["batches"]
