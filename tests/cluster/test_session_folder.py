"""The folder of an embedded Ray is removed, by us or by whoever comes next."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cluster.session_folder import SessionFolder, sweep


def make_old(folder: Path) -> None:
    long_ago = time.time() - 3600
    os.utime(folder, (long_ago, long_ago))


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    folder = SessionFolder(str(tmp_path))
    (folder.path / "session").mkdir()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_sweep_removes_the_folder_of_a_killed_program_only(tmp_path: Path) -> None:
    alive = SessionFolder(str(tmp_path))
    abandoned, young = tmp_path / "distnn-ray-abandoned", tmp_path / "distnn-ray-young"
    for folder in (abandoned, young):
        folder.mkdir()
        (folder / "lock").touch()
    make_old(alive.path)
    make_old(abandoned)
    assert sweep(tmp_path) == [abandoned]
    assert alive.path.exists() and young.exists() and not abandoned.exists()
    alive.remove()


def test_sockets_under_it_fit_into_their_limit() -> None:
    folder = SessionFolder()
    try:
        socket_path = (
            folder.path / "session_2026-01-01_00-00-00_000000_4194304" / "sockets" / "plasma_store.1"
        )
        assert len(str(socket_path)) < 108
    finally:
        folder.remove()
