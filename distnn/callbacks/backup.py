"""`BackupAndRestore`: a run directory by Keras's name for it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

from distnn.callbacks.callback import Callback


class BackupAndRestore(Callback):
    """`fit(..., run_dir=backup_dir)`: the same call goes on from the newest checkpoint, to the same bytes.

    Args:
        backup_dir: the run directory; nobody else's files lie there.
        save_freq: `"epoch"`: at the ends of epochs, not more often than every second, and every 30 s; a
            number: after so many batches, and at the ends of epochs.
        double_checkpoint: passed over: several checkpoints are always kept.
        delete_checkpoint: remove the directory when the training is complete.

    Raises:
        ValueError: for an empty `backup_dir` or another `save_freq`.
    """

    def __init__(
        self,
        backup_dir: str | Path,
        save_freq: int | str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not str(backup_dir):
            raise ValueError("Empty `backup_dir` argument passed")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(
                f"Invalid value for argument `save_freq`. Received: save_freq={save_freq}. Expected either "
                "'epoch' or a positive integer."
            )
        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint

    @property
    def every_steps(self) -> int | None:
        """After how many steps a checkpoint is saved, whatever the clock says."""
        return None if isinstance(self.save_freq, str) else self.save_freq

    def clean_up(self) -> None:
        """The training is complete."""
        if not self.delete_checkpoint:
            return
        try:
            _remove(self.backup_dir)
        except OSError as error:
            warnings.warn(
                f"BackupAndRestore: the training is complete, but {self.backup_dir} cannot be removed "
                f"({error.strerror})",
                stacklevel=4,
            )


def _remove(folder: Path) -> None:
    """Killed here it leaves the folder whole or none of it: half a run would be in the way of the next.

    What a link leads to is emptied, and the link stays.
    """
    there = folder.resolve()
    aside = there.with_name(f".{there.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)  # of somebody who was killed here
    there.rename(aside)
    if folder.is_symlink():
        there.mkdir()
    shutil.rmtree(aside)


def backup_among(callbacks: Any) -> BackupAndRestore | None:
    """The one `BackupAndRestore` among what was given for callbacks.

    Raises:
        ValueError: for more than one.
    """
    given = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    found = [callback for callback in given if isinstance(callback, BackupAndRestore)]
    if len(found) > 1:
        raise ValueError(f"one BackupAndRestore is enough. Received: {len(found)}")
    return found[0] if found else None
