"""A run directory: every file name in it, how it is found, and what can be read from it.

This is the only place that knows the names. Reading works on any machine that sees the directory, with no
server; writing is the recorder's (`jobs.recorder`), one process at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distnn.checkpoint import canonical_json, write_atomically
from distnn.errors import RunDirectoryError
from distnn.naming import did_you_mean
from jobs.errors import RequestError

_CHECKPOINT = re.compile(r"step-(\d{8,})\.safetensors")


@dataclass(frozen=True)
class RunDir:
    """The files of one run. `path` is absolute."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).expanduser().absolute())

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def steps(self) -> Path:
        return self.path / "steps.bin"

    @property
    def digests(self) -> Path:
        return self.path / "digests.json"

    @property
    def scale_request(self) -> Path:
        """There while somebody asks a live run to go on with another number of workers."""
        return self.path / "scale.json"

    @property
    def taken_scale_request(self) -> Path:
        """Where the run moves the request that it reads; swept if it is killed over that."""
        return self.path / ".scale-taken.json.tmp"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def stop_request(self) -> Path:
        """There while somebody asks the run to stop (`distnn stop`)."""
        return self.path / "stop"

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of `step` is."""
        return self.checkpoints / f"step-{step:08d}.safetensors"

    def checkpoint_steps(self) -> list[int]:
        """Steps that have a checkpoint file, ascending, whether or not the file is whole."""
        if not self.checkpoints.is_dir():
            return []
        with os.scandir(self.checkpoints) as entries:
            matches = [_CHECKPOINT.fullmatch(entry.name) for entry in entries if entry.is_file()]
        return sorted(int(match.group(1)) for match in matches if match)

    def log(self, attempt: int) -> Path:
        """The log of an attempt, for people."""
        return self.logs / f"attempt-{attempt:04d}.log"

    def holds_run(self) -> bool:
        """Whether there is a run here, as far as the names tell; any one file of it may be missing."""
        marks = (self.events, self.status, self.recipe, self.steps)
        return (self.events.is_file() or self.recipe.is_file()) and sum(m.is_file() for m in marks) > 1

    def create(self) -> None:
        """Make the folders.

        Raises:
            RunDirectoryError: the path is taken by something that is no run, or cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"{self.path}: is a file, expected a run directory or a new path")
        try:
            strange = self._strangers()
            if strange:
                raise RunDirectoryError(
                    f"{self.path}: is not empty and holds no run (there is {strange[0]!r}): "
                    "give a new or empty directory"
                )
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"{error.filename or self.path}: cannot be made: {error.strerror}: set --run-dir (or "
                "DISTNN_HOME) to a folder that can be written"
            ) from None

    def _strangers(self) -> list[str]:
        if not self.path.is_dir() or self.events.exists() or self.holds_run():
            return []
        own = {entry.name for entry in (self.spec, self.status, self.checkpoints, self.logs)}
        return sorted(entry.name for entry in self.path.iterdir() if entry.name not in own)

    def sweep(self) -> None:
        """Remove what killed writers left half-written. Only for who holds the run's lock."""
        for folder in (self.path, self.checkpoints):
            for left in folder.glob(".*.tmp"):
                with contextlib.suppress(OSError):
                    left.unlink()

    def write_json(self, file: Path, value: Any, *, durable: bool = True) -> None:
        """Replace a JSON file of this run, whole or not at all.

        Without `durable` nobody waits for the disk: a power cut may lose it.
        """
        data = canonical_json(value).encode() + b"\n"
        if durable:
            write_atomically(file, data)
            return
        beside = file.with_name(f".{file.name}.tmp")
        beside.write_bytes(data)
        os.replace(beside, file)

    def read_json(self, file: Path) -> Any:
        """A JSON file of this run, or None if it is not there.

        Raises:
            RunDirectoryError: it is there and cannot be read.
        """
        try:
            return json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{file}: cannot be read: {error}") from None


def home() -> Path:
    """`$DISTNN_HOME`, by default `~/.distnn`; absolute."""
    given = os.environ.get("DISTNN_HOME")
    return Path(given or "~/.distnn").expanduser().absolute()


def run_root() -> Path:
    """Where runs are that were given no directory."""
    return home() / "runs"


def new_run_dir(name: str) -> RunDir:
    """A run directory with a new id under the run root; nothing is made yet."""
    root = run_root()
    while True:
        run = RunDir(root / f"{name}-{secrets.token_hex(3)}")
        if not run.path.exists():
            return run


def command_name(run: RunDir) -> str:
    """How to name the run on a command line: by its name under the run root, else by its path."""
    return shlex.quote(run.name if run.path.parent == run_root() else str(run.path))


def find_run(text: str) -> RunDir:
    """The run that `text` means: a path, a name under the run root, or the unique beginning of a name or id.

    Raises:
        RequestError: there is none, or several.
    """
    by_path = RunDir(Path(text))
    if by_path.holds_run():
        return by_path
    if "/" in text or text in (".", ".."):
        if not by_path.path.exists():
            raise RequestError(f"{text}: no such run directory")
        raise RequestError(f"{by_path.path}: holds no run (there is no events.jsonl)")
    runs = list_runs()
    names = [run.name for run in runs]
    found = [run for run in runs if run.name == text] or [
        run for run in runs if run.name.startswith(text) or run.name.rpartition("-")[2].startswith(text)
    ]
    if not text or not found:
        hint = did_you_mean(text, names) or (" `distnn ls` shows those there are." if names else "")
        raise RequestError(f"there is no run '{text}' in {run_root()}.{hint}")
    if len(found) > 1:
        some = ", ".join(run.name for run in found[:5]) + (", ..." if len(found) > 5 else "")
        raise RequestError(f"'{text}' could be any of {len(found)} runs: {some}")
    return found[0]


def list_runs(root: Path | None = None) -> list[RunDir]:
    """The runs under the run root, oldest first."""
    root = root or run_root()
    if not root.is_dir():
        return []
    runs = [run for run in map(RunDir, root.iterdir()) if run.holds_run()]
    return sorted(runs, key=lambda run: (_ctime_ns(run), run.name))


def _ctime_ns(run: RunDir) -> int:
    try:
        return run.events.stat().st_ctime_ns
    except OSError:
        return 0
