"""`TensorBoard`: logs that TensorBoard shows, written by tensorboardX."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distnn.callbacks.callback import Callback, Logs


class TensorBoard(Callback):
    """Write losses and metrics under `train/` and `validation/` of a folder, as `epoch_loss` and so on.

    Needs the extra `tensorboard` (tensorboardX). With an `update_freq` other than "epoch" every batch is
    looked at, which makes segments of steps one step long.

    Args:
        log_dir: the folder.
        histogram_freq: write histograms of the weights every so many epochs; 0 for none.
        write_graph, write_images, profile_batch, embeddings_freq, embeddings_metadata: accepted with the
            values by which nothing is written.
        write_steps_per_second: write how many steps a second an epoch made.
        update_freq: "epoch", "batch", or a number of batches.

    Raises:
        ImportError: tensorboardX is not there.
    """

    def __init__(
        self,
        log_dir: str | Path = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        given = {"write_images": write_images, "profile_batch": profile_batch}
        given |= {"embeddings_freq": embeddings_freq, "embeddings_metadata": embeddings_metadata}
        for name, value in given.items():
            if value:
                raise ValueError(f"TensorBoard: `{name}` is not supported: leave it out. Received: {value!r}")
        if update_freq not in ("epoch", "batch") and not _is_count(update_freq):
            raise ValueError(
                "TensorBoard: `update_freq` must be 'epoch', 'batch' or a positive number of batches. "
                f"Received: {update_freq!r}"
            )
        self.log_dir = Path(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self._writer_class = _writer_class()
        self._writers: dict[str, Any] = {}
        self._next_epoch = 0
        self._batches = 0
        self._began = 0.0

    def wants_batches(self) -> bool:
        return self.update_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._next_epoch, self._batches = 0, 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if isinstance(self.update_freq, str):
            return
        self._batches += 1
        if self._batches % self.update_freq == 0:
            for name, value in (logs or {}).items():
                self._writer("train").add_scalar(f"batch_{name}", value, self._batches)

    def on_test_end(self, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            tag = f"evaluation_{name}_vs_iterations"
            self._writer("validation").add_scalar(tag, value, self.model.optimizer.iterations)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = dict(logs or {})
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        for name, value in logs.items():
            run = "validation" if name.startswith("val_") else "train"
            self._writer(run).add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.write_steps_per_second:
            steps = (self.params or {}).get("steps") or 0
            per_second = steps / max(time.monotonic() - self._began, 1e-9)
            self._writer("train").add_scalar("epoch_steps_per_second", per_second, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for variable in self.model.variables:
                self._writer("train").add_histogram(f"{variable.path}/histogram", variable.numpy(), epoch)
        self._next_epoch = epoch + 1
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        while self._writers:
            self._writers.popitem()[1].close()

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            # what an earlier part of the same training wrote beyond its checkpoint is not shown
            options = {"purge_step": self._next_epoch} if self._next_epoch else {}
            self._writers[run] = self._writer_class(str(self.log_dir / run), **options)
        return self._writers[run]

    def get_state(self) -> dict[str, Any]:
        return {"next_epoch": self._next_epoch, "batches": self._batches}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._next_epoch, self._batches = state["next_epoch"], state["batches"]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _writer_class() -> Any:
    try:
        return importlib.import_module("tensorboardX").SummaryWriter
    except ImportError as error:
        raise ImportError(
            "The TensorBoard callback needs tensorboardX: install the extra, "
            "`pip install distnn[tensorboard]`"
        ) from error
