"""`BackupAndRestore`: refused, as run directories do its work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distnn.callbacks.callback import Callback


class BackupAndRestore(Callback):
    """Not needed here: give `fit` a `run_dir`, and the same call goes on from its newest checkpoint.

    Raises:
        ValueError: always, saying so.
    """

    def __init__(self, backup_dir: str | Path, save_freq: Any = "epoch", **options: Any) -> None:
        raise ValueError(
            "BackupAndRestore is not needed: leave it out and call `fit(..., "
            f"run_dir={str(backup_dir)!r})`. The run is kept there, and the same call goes on from its "
            "newest checkpoint, to the bytes of a run that was never broken."
        )
