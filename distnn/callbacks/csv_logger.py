"""`CSVLogger`: a row per epoch in a file."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distnn.callbacks.callback import Callback, Logs


class CSVLogger(Callback):
    """Write each epoch's number and logs as a row; the file is whole after every epoch.

    A training that goes on from a checkpoint cuts the rows that lie beyond it, and adds its own. (With
    `append`, rows of a training that was killed before its first checkpoint stay.)

    Args:
        filename: of the file.
        separator: between values.
        append: go on with a file that exists, rather than write it anew.
    """

    def __init__(self, filename: str | Path, separator: str = ",", append: bool = False) -> None:
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self._size = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.keys = None
        self._size = os.path.getsize(self.filename) if self.append and os.path.exists(self.filename) else 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        mode = "w" if self.keys is None and not self.append else "a"
        if mode == "a":
            self._cut()
        if self.keys is None:
            self.keys = _columns(logs)
        with open(self.filename, mode, newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.sep)
            if file.tell() == 0:
                writer.writerow(["epoch", *self.keys])
            writer.writerow([epoch, *(logs.get(key, "NA") for key in self.keys)])
            file.flush()
            self._size = file.tell()

    def _cut(self) -> None:
        """Let the file end where this training's last row does."""
        held = os.path.getsize(self.filename) if os.path.exists(self.filename) else 0
        wanted = self._size
        if held > wanted:
            os.truncate(self.filename, wanted)
        elif held < wanted:
            warnings.warn(
                f"CSVLogger: {self.filename} is shorter than this training left it; the rows in between are "
                "lost",
                stacklevel=4,
            )

    def get_state(self) -> dict[str, Any]:
        return {"keys": self.keys, "size": self._size}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.keys, self._size = state["keys"], state["size"]


def _columns(logs: Logs) -> list[str]:
    """The names of the first epoch, sorted; with room for a validation that comes later, as in Keras."""
    names = sorted(logs)
    if names and not any(name.startswith("val_") for name in names):
        names += [f"val_{name}" for name in names]
    return names
