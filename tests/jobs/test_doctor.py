"""`distnn doctor`: every check answers, and what is broken is told with its remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click.testing
import pytest

from cluster.exchange import segment
from jobs import doctor
from jobs.cli import cli


def test_doctor_reports_on_this_machine() -> None:
    result = click.testing.CliRunner().invoke(cli, ["doctor", "--json"])
    found = {check["name"]: check for check in json.loads(result.stdout)}
    assert {"python", "distnn", "numpy", "blas", "numba", "ray", "libraries", "cores", "memory"} <= set(found)
    assert not [check for check in found.values() if check["health"] == "broken"], result.stdout
    assert result.exit_code == 0
    assert "kernels for" in found["blas"]["found"]


def test_doctor_for_people_ends_with_a_verdict() -> None:
    result = click.testing.CliRunner().invoke(cli, ["doctor"])
    assert result.stdout.splitlines()[-1] == "all is well"


def test_missing_library_is_broken_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str | None:
        return None if name in ("ray", "rich") else "1.0"

    monkeypatch.setattr(doctor, "_version", version)
    broken = {check.name: check for check in doctor.examine() if check.is_broken}
    assert broken["ray"].remedy == "pip install 'ray[default]'"
    assert broken["libraries"].found == "missing: rich"
    assert doctor.lines(list(broken.values()))[-1] == "2 thing(s) to mend"


def shared_memory() -> doctor.Check:
    (found,) = (check for check in doctor.examine() if check.name == "shared memory")
    return found


def test_orphaned_segments_are_told_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "FOLDER", tmp_path)
    assert "killed runs" not in shared_memory().found and f"in {tmp_path}" in shared_memory().found
    orphan = tmp_path / f"distnn-shared-{os.geteuid()}-abc-1"
    orphan.write_bytes(bytes(3 << 20))
    check = shared_memory()
    assert check.health is doctor.Health.OK and check.remedy.startswith("the next run")
    assert check.found.endswith("; 1 segment(s) of killed runs hold 3.0 MiB")
    assert orphan.exists()


def test_absent_shared_memory_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "FOLDER", tmp_path / "shm")
    check = shared_memory()
    assert check.health is doctor.Health.WARNING and check.found == f"no {tmp_path / 'shm'}"
    assert check.remedy.startswith(f"mount -t tmpfs tmpfs {tmp_path / 'shm'}")


def test_check_that_fails_counts_as_broken() -> None:
    def _of_mine() -> doctor.Check:
        raise OSError("no such thing")

    check = doctor._safely(_of_mine)
    assert check.is_broken
    assert check.found == "OSError: no such thing"


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({}, None, None),
        ({"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        ({"cpu.max": "150000 100000", "memory.max": "1073741824"}, 1.5, 1 << 30),
        (
            {
                "cpu/cpu.cfs_quota_us": "200000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "4096",
            },
            2.0,
            4096,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": str((1 << 63) - 4096)}, None, None),
    ],
)
def test_limits_of_the_control_group(
    tmp_path: Path, files: dict[str, str], cores: float | None, memory: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert doctor.cgroup_cores(tmp_path) == cores
    assert doctor.cgroup_memory(tmp_path) == memory
