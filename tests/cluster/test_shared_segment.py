"""Segments of shared memory: their layout, their end, and what killed programs leave."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.exchange import segment as segments
from cluster.exchange.segment import SharedLayout, SharedMemoryError, SharedSegment, sweep

LAYOUT = SharedLayout(
    workers=3,
    subtrees=4,
    weights=48,
    slots=2,
    trainable=32,
    gradient=32,
    sums=5,
    moments=0,
    epoch_sums=5,
    blocks=1,
)  # fmt: skip
ROOT = Path(__file__).parent.parent.parent


def test_everything_begins_on_a_line_and_nothing_overlaps() -> None:
    for layout in (
        LAYOUT,
        replace(LAYOUT, slots=0, moments=7),
        replace(LAYOUT, weights=16, trainable=0, blocks=0),
    ):
        offsets = list(layout.offsets().values())
        assert all(offset % 64 == 0 for offset in offsets) and offsets == sorted(offsets)
        sizes = [np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in layout.fields().values()]
        assert all(start + n <= end for start, n, end in zip(offsets, sizes, offsets[1:], strict=False))
        assert layout.num_bytes == offsets[-1]


def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    mine = SharedSegment.create(LAYOUT, 7, tmp_path)
    other = SharedSegment.attach(mine.path, LAYOUT, 7)
    mine.gradients[3, 31] = 2.5
    mine.states[1].weights[47] = 1.5
    mine.states[0].sums[4] = 3.5
    assert (other.gradients[3, 31], other.states[1].weights[47], other.states[0].sums[4]) == (2.5, 1.5, 3.5)
    assert other.states[1].slots.shape == (2, 32) and not other.states[1].slots.any()
    assert other.states[0].weights.ctypes.data % 64 == 0


def test_the_name_goes_and_the_memory_stays(tmp_path: Path) -> None:
    mine = SharedSegment.create(LAYOUT, 1, tmp_path)
    assert mine.path.stat().st_mode & 0o777 == 0o600
    assert mine.path.stat().st_blocks * 512 >= LAYOUT.num_bytes
    other = SharedSegment.attach(mine.path, LAYOUT, 1)
    mine.forget_name()
    mine.forget_name()
    assert not list(tmp_path.iterdir())
    mine.words[0] = 4
    assert other.words[0] == 4


def test_a_foreign_segment_is_refused(tmp_path: Path) -> None:
    mine = SharedSegment.create(LAYOUT, 1, tmp_path)
    with pytest.raises(SharedMemoryError, match="not the segment of generation 2"):
        SharedSegment.attach(mine.path, LAYOUT, 2)
    mine.forget_name()
    with pytest.raises(SharedMemoryError, match="cannot reach"):
        SharedSegment.attach(mine.path, LAYOUT, 1)


def test_a_full_file_system_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SharedMemoryError, match=f"need {LAYOUT.num_bytes:,} bytes of shared memory"):
        SharedSegment.create(LAYOUT, 1, tmp_path)
    assert not list(tmp_path.iterdir())


KILLED_WHERE = {
    "before it has a size": "os.posix_fallocate = die",
    "before it is mapped": "segment._mapped = die",
    "when it is whole": "segment.np.frombuffer = die",
}


@pytest.mark.parametrize("where", KILLED_WHERE)
def test_sweeping_takes_only_what_a_killed_program_left(tmp_path: Path, where: str) -> None:
    code = (
        "import os, sys; from pathlib import Path; from cluster.exchange import segment;"
        "from test_shared_segment import LAYOUT; die = lambda *_: os.kill(os.getpid(), 9);"
        f"{KILLED_WHERE[where]}; segment.SharedSegment.create(LAYOUT, 1, Path({str(tmp_path)!r}))"
    )
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    ended = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    (orphan,) = tmp_path.iterdir()
    others = tmp_path / "distnn-shared-77777-0-1"
    others.write_bytes(b"x")
    assert segments.orphans(tmp_path) == [orphan] and orphan.exists()
    living = SharedSegment.create(LAYOUT, 1, tmp_path)  # sweeps first
    assert sweep(tmp_path) == segments.orphans(tmp_path) == []
    assert set(tmp_path.iterdir()) == {living.path, others}


def test_a_file_that_is_swept_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = segments._try_to_lock, []

    def sweep_then_lock(file: int) -> bool:
        monkeypatch.setattr(segments, "_try_to_lock", lock)
        swept.extend(sweep(tmp_path))
        return lock(file)

    monkeypatch.setattr(segments, "sweep", lambda folder: [])
    monkeypatch.setattr(segments, "_try_to_lock", sweep_then_lock)
    segment = SharedSegment.create(LAYOUT, 1, tmp_path)
    assert len(swept) == 1 and [*tmp_path.iterdir()] == [segment.path] != swept


def test_a_folder_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_try_to_lock", lambda file: False)
    with pytest.raises(SharedMemoryError, match="cannot be locked"):
        SharedSegment.create(LAYOUT, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_segment_that_nobody_holds_has_no_name(tmp_path: Path) -> None:
    """Ctrl-C may come when it has just been made."""
    SharedSegment.create(LAYOUT, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_followed_that_is_no_segment(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"x")
    (tmp_path / f"distnn-shared-{os.geteuid()}-0-1").symlink_to(target)
    assert sweep(tmp_path) == [] and target.exists()


def test_the_folder_is_where_linux_has_shared_memory() -> None:
    assert segments.FOLDER == Path("/dev/shm")
