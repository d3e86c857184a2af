"""A piece of memory that the workers of a node and the coordinator share: one per node and generation.

A file in shared memory, with a name only until everybody has mapped it; then it ends with the last process
that maps it, however that ends. Should its maker be killed before, the next one finds its lock free and
removes it. What lies in it is `SharedLayout`'s to say.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import secrets
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from distnn.errors import EngineError
from distnn.recording import TrainingState
from distnn.tensor import Array

FOLDER = Path("/dev/shm")
_PREFIX = "distnn-shared-"
_MAGIC = int.from_bytes(b"distnn 1", "little")
_LINE_BYTES = 64
FINGERPRINTS = 8192
"""Steps that workers do in one call at most: as many fingerprints have room."""
MAPPING_S_PER_BYTE = 1 / 200e6
"""What mapping may take beyond the deadline of a step: every page is touched."""
_TRIES = 100


class SharedMemoryError(EngineError):
    """The machine has no shared memory, too little of it, or a worker cannot reach it."""


@dataclass(frozen=True)
class SharedLayout:
    """Sizes of what a generation shares.

    `workers`: W. `subtrees`: G, each with a place for its sums. `weights`: N; `slots` x `trainable`: of the
    optimizer. `gradient`, `sums`, `moments`: of a shard. `epoch_sums`: of a state. `blocks`: K. `states`: how
    many of weights, slots and epoch sums. `fingerprints`: of so many steps.
    """

    workers: int
    subtrees: int
    weights: int
    slots: int
    trainable: int
    gradient: int
    sums: int
    moments: int
    epoch_sums: int
    blocks: int
    states: int = 2
    fingerprints: int = FINGERPRINTS

    def fields(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """What lies in the file, in its order: element type and shape. Everything begins on a line."""
        return {
            "header": (np.int64, (8,)),
            # a line for each worker's word, one for the word that ends the generation, one for trouble
            "words": (np.int64, (8 * (self.workers + 2),)),
            # a line for each worker's word again, for meetings beside the steps'
            "meetings": (np.int64, (8 * (self.workers + 1),)),
            "fingerprints": (np.uint64, (self.workers, self.fingerprints)),
            "blocks": (np.float64, (3, self.blocks)),
            "part_sums": (np.float64, (self.subtrees, _whole_lines(self.sums))),
            "part_moments": (np.float64, (self.subtrees, _whole_lines(self.moments))),
            "epoch_sums": (np.float64, (self.states, _whole_lines(self.epoch_sums))),
            "weights": (np.float32, (self.states, self.weights)),
            "slots": (np.float32, (self.states, self.slots, self.trainable)),
            "gradients": (np.float32, (self.subtrees, self.gradient)),
        }

    def offsets(self) -> dict[str, int]:
        found, position = {}, 0
        for name, (dtype, shape) in self.fields().items():
            found[name] = position
            position += -(-np.dtype(dtype).itemsize * prod(shape) // _LINE_BYTES) * _LINE_BYTES
        return {**found, "": position}

    @property
    def num_bytes(self) -> int:
        return self.offsets()[""]

    @property
    def abort(self) -> int:
        """Where in `words` the word is that ends the generation."""
        return 8 * self.workers

    @property
    def trouble(self) -> int:
        """Where in `words` stands, plus 1, the step that came to values that are not finite."""
        return 8 * (self.workers + 1)


class _Name:
    """A locked file and its name, which goes at `remove`, or with the last who holds this (after Ctrl-C)."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self.file = file
        self.remove = weakref.finalize(self, _remove, path, file)


class SharedSegment:
    """A mapped segment. Made by `create` or `attach`; its arrays keep the memory mapped.

    Attributes:
        layout: what lies in it.
        words: one growing word per worker, a line apart; the word that ends the generation; that for trouble.
        meetings: words as of the workers', for meetings that commit nothing.
        fingerprints: [W, steps of the call], parts that add up.
        penalty_blocks, square_blocks: [2, K] and [K], sums over blocks of values.
        gradients, part_sums, part_moments: one row per subtree.
        states: of even and of odd steps, where there are two.
    """

    def __init__(
        self, path: Path, layout: SharedLayout, memory: mmap.mmap, name: _Name | None = None
    ) -> None:
        self.path = path
        self.layout = layout
        self._name = name
        arrays: dict[str, Array] = {}
        offsets = layout.offsets()
        for field, (dtype, shape) in layout.fields().items():
            flat = np.frombuffer(memory, dtype, prod(shape), offsets[field])
            arrays[field] = flat.reshape(shape)
        self.header = arrays["header"]
        self.words = arrays["words"]
        self.meetings = arrays["meetings"]
        self.fingerprints = arrays["fingerprints"]
        self.penalty_blocks = arrays["blocks"][:2]
        self.square_blocks = arrays["blocks"][2]
        self.gradients = arrays["gradients"]
        self.part_sums = arrays["part_sums"][:, : layout.sums]
        self.part_moments = arrays["part_moments"][:, : layout.moments]
        self.states = tuple(
            TrainingState(0, 0, weights, slots, sums[: layout.epoch_sums])
            for weights, slots, sums in zip(
                arrays["weights"], arrays["slots"], arrays["epoch_sums"], strict=True
            )
        )

    @classmethod
    def create(cls, layout: SharedLayout, generation: int, folder: Path | None = None) -> SharedSegment:
        """A new segment of zeros. Segments that killed programs left are removed first.

        Raises:
            SharedMemoryError: if there is no room for it.
        """
        home = FOLDER if folder is None else folder
        sweep(home)
        check_room(layout.num_bytes, home)
        name = _make_file(home, generation)
        try:
            _reserve(name.file, home, layout.num_bytes)
            segment = cls(name.path, layout, _mapped(name.file, layout.num_bytes), name)
        except BaseException:
            name.remove()
            raise
        segment.header[:3] = _MAGIC, generation, layout.num_bytes
        return segment

    @classmethod
    def attach(cls, path: Path, layout: SharedLayout, generation: int) -> SharedSegment:
        """The segment that another process made.

        Raises:
            SharedMemoryError: if this process does not see it.
        """
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise SharedMemoryError(f"a worker cannot reach {path}: {error.strerror}") from error
        try:
            segment = cls(path, layout, _mapped(file, layout.num_bytes))
        finally:
            os.close(file)
        if segment.header[:3].tolist() != [_MAGIC, generation, layout.num_bytes]:
            raise SharedMemoryError(f"{path} is not the segment of generation {generation}")
        return segment

    def forget_name(self) -> None:
        """Everybody has mapped it, or nobody will: the memory ends with its last process.

        Whoever mapped it may do this, should its maker be gone.
        """
        if self._name is not None:
            self._name.remove()
        else:
            self.path.unlink(missing_ok=True)


def check_room(needed: int, folder: Path | None = None) -> None:
    """Raise if there is no room for so many bytes.

    Raises:
        SharedMemoryError: names needed and free bytes, and how to get more.
    """
    home = FOLDER if folder is None else folder
    try:
        free = _free_bytes(home)
    except OSError as error:
        raise SharedMemoryError(
            f"this machine has no shared memory ({home}: {error.strerror}): mount one "
            f"(`mount -t tmpfs tmpfs {home}`), or use exchange='object_store'"
        ) from error
    if free < needed:
        raise _too_small(home, needed, free)


def sweep(folder: Path) -> list[Path]:
    """Remove this user's segments whose maker is gone; returns them."""
    removed = []
    for path, file in _orphans(folder):
        removed.append(path)
        _remove(path, file)
    return removed


def orphans(folder: Path | None = None) -> list[Path]:
    """This user's segments whose maker is gone."""
    found = []
    for path, file in _orphans(FOLDER if folder is None else folder):
        found.append(path)
        os.close(file)
    return found


def _orphans(folder: Path) -> Iterator[tuple[Path, int]]:
    """Files that nobody had locked, locked now. A maker holds the lock for as long as its file has a name."""
    for path in sorted(folder.glob(f"{_PREFIX}{os.geteuid()}-*")):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        if os.fstat(file).st_uid == os.geteuid() and _try_to_lock(file):
            yield path, file
        else:
            os.close(file)


def _make_file(folder: Path, generation: int) -> _Name:
    """A new file under a lock; who sweeps between the two takes it for an orphan, then another is made."""
    for _ in range(_TRIES):
        path = folder / f"{_PREFIX}{os.geteuid()}-{secrets.token_hex(6)}-{generation}"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SharedMemoryError(f"{folder}: {error.strerror}") from error
        if _try_to_lock(file) and path.exists():
            return _Name(path, file)
        _remove(path, file)
    raise SharedMemoryError(f"files in {folder} cannot be locked")


def _remove(path: Path, file: int) -> None:
    path.unlink(missing_ok=True)
    os.close(file)


def _try_to_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _whole_lines(values: int) -> int:
    """So many float64 values that a row ends with a line."""
    return -(-values // 8) * 8


def _mapped(file: int, size: int) -> mmap.mmap:
    # Pages are entered into the process's table now, not one by one in the first step.
    return mmap.mmap(file, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _reserve(file: int, folder: Path, needed: int) -> None:
    """Claim the memory now: without that, a full file system would kill whoever touches a page."""
    try:
        os.posix_fallocate(file, 0, needed)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise SharedMemoryError(f"{folder}: {error.strerror}") from error
        raise _too_small(folder, needed, _free_bytes(folder)) from error


def _too_small(folder: Path, needed: int, free: int) -> SharedMemoryError:
    return SharedMemoryError(
        f"the workers need {needed:,} bytes of shared memory, and {free:,} are free in {folder}: enlarge it "
        f"(`mount -o remount,size=... {folder}`; `docker run --shm-size=...`; in Kubernetes an emptyDir of "
        f"medium Memory), or use exchange='object_store'"
    )
