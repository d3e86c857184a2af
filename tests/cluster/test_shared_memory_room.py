"""Machines with next to no shared memory, or none: the real thing, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HERE = Path(__file__).parent
TINY = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
NONE = """
mkdir -p "$HOLD" && mount --rbind /dev "$HOLD" && mount -t tmpfs tmpfs /dev
for name in null zero random urandom; do touch /dev/$name; mount --bind "$HOLD/$name" /dev/$name; done
"""


def in_namespace(script: str, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    variables |= {"PYTHONPATH": f"{HERE.parent.parent}:{HERE}", "HOLD": str(folder / "dev")}
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-ec", f'{script}\nexec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        env=variables,
        cwd=folder,
        timeout=100,
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (TINY, "bytes of shared memory, and 65,536 are free in /dev/shm: enlarge it"),
        (NONE, "this machine has no shared memory (/dev/shm: No such file or directory): mount one"),
    ],
    ids=["tiny", "none"],
)
def test_too_little_shared_memory(script: str, words: str, tmp_path: Path) -> None:
    """`auto` goes on without it and says so; who asked for it gets the same words as an error."""
    if in_namespace(script, tmp_path, "true").returncode != 0:
        pytest.skip("no mount namespaces for this user")
    done = in_namespace(script, tmp_path, sys.executable, str(HERE / "programs.py"), "train_both_ways")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("auto True") and words in lines[0], done
    assert lines[0].endswith("Going on with the slower object store")
    assert lines[1].startswith("SharedMemoryError at step 0") and words in lines[1]
    assert lines[1].endswith("or use exchange='object_store'")
    assert done.stderr == ""
