"""`distnn doctor`: what this machine has of what distnn needs, what is wrong with it, and how to mend it.

Each check is a function that looks at one thing; none changes anything but a temporary file of its own.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from jobs import installation
from jobs.errors import RequestError
from jobs.rundir import home

MIN_PYTHON = (3, 11)
MIN_SHARED_MEMORY_BYTES = 64 << 20
_MIB = 1 << 20
_GIB = 1 << 30


class Health(Enum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and what to do if it is not well."""

    name: str
    health: Health
    found: str
    remedy: str = ""

    @property
    def is_broken(self) -> bool:
        return self.health is Health.BROKEN

    def to_plain(self) -> dict[str, Any]:
        return {**asdict(self), "health": self.health.value}


def examine() -> list[Check]:
    """All checks; one that fails by itself counts as broken."""
    return [_safely(check) for check in _CHECKS]


def lines(checks: list[Check]) -> list[str]:
    """The checks for people."""
    marks = {Health.OK: "ok     ", Health.WARNING: "warning", Health.BROKEN: "BROKEN "}
    found = []
    for check in checks:
        found.append(f"{marks[check.health]}  {check.name:<14} {check.found}")
        if check.remedy:
            found.append(f"{'':<9}{'':<15}-> {check.remedy}")
    broken = sum(check.is_broken for check in checks)
    found.append("all is well" if not broken else f"{broken} thing(s) to mend")
    return found


def _safely(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        name = check.__name__.removeprefix("_").replace("_", " ")
        return Check(name, Health.BROKEN, f"{type(error).__name__}: {error}", "see the message")


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable}), {platform.machine()} {platform.system()}"
    if sys.version_info < MIN_PYTHON:
        return Check("python", Health.BROKEN, found, "distnn needs Python 3.11 or newer")
    if platform.system() != "Linux":
        return Check("python", Health.WARNING, found, "only Linux is tested")
    return Check("python", Health.OK, found)


def _packages() -> Check:
    try:
        root = installation.check_packages()
    except RequestError as error:
        return Check("distnn", Health.BROKEN, str(error), "remove the intruder, or install distnn again")
    return Check("distnn", Health.OK, f"{installation.version()} in {root}")


def _numpy() -> Check:
    return _library("numpy")


def _blas() -> Check:
    import numpy  # noqa: F401  (its BLAS must be loaded to be found)
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool.get("user_api") == "blas"]
    if not pools:
        return Check(
            "blas",
            Health.WARNING,
            "none that threadpoolctl knows",
            "install NumPy from PyPI: its wheels bring OpenBLAS; bytes may depend on the number of threads",
        )
    described = [
        f"{pool.get('internal_api')} {pool.get('version')}, kernels for "
        f"{pool.get('architecture', 'unknown')}, {pool.get('num_threads')} threads"
        for pool in pools
    ]
    return Check("blas", Health.OK, "; ".join(described))


def _numba() -> Check:
    found = _library("numba")
    if found.is_broken:
        return found
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return Check(
            "numba",
            Health.WARNING,
            f"{found.found}, switched off",
            "unset NUMBA_DISABLE_JIT: it is very slow",
        )
    from distnn.kernels.jit import cache_folder, cache_problem

    if cache_folder() is None:
        return Check(
            "numba",
            Health.WARNING,
            f"{found.found}; {cache_problem()}",
            "set DISTNN_CACHE_DIR to a folder of yours, else each process compiles the kernels anew",
        )
    return Check("numba", Health.OK, f"{found.found}, compiled kernels in {cache_folder()}")


def _ray() -> Check:
    found = _library("ray")
    if found.is_broken:
        return Check("ray", Health.BROKEN, found.found, "pip install 'ray[default]'")
    try:
        metadata.version("aiohttp")
    except metadata.PackageNotFoundError:
        return Check(
            "ray", Health.WARNING, f"{found.found} without its job client", "pip install 'ray[default]'"
        )
    return Check("ray", Health.OK, found.found)


def _others() -> Check:
    names = ("pydantic", "safetensors", "click", "rich", "threadpoolctl", "psutil")
    missing = [name for name in names if _version(name) is None]
    found = ", ".join(f"{name} {_version(name)}" for name in names if name not in missing)
    if missing:
        remedy = f"pip install {' '.join(missing)}"
        return Check("libraries", Health.BROKEN, f"missing: {', '.join(missing)}", remedy)
    return Check("libraries", Health.OK, found)


def _cores() -> Check:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0))
    limit = cgroup_cores()
    found = f"{usable} of {total} usable by this process"
    if limit is not None:
        found += f", limited to {limit:g} by the cgroup"
        if limit < usable:
            return Check(
                "cores", Health.WARNING, found, f"use at most {max(1, int(limit))} workers times threads"
            )
    return Check("cores", Health.OK, found)


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    limit = cgroup_memory()
    found = f"{memory.total / _GIB:.1f} GiB, {memory.available / _GIB:.1f} GiB free"
    if limit is not None and limit < memory.total:
        found += f", limited to {limit / _GIB:.1f} GiB by the cgroup"
    if min(memory.available, limit or memory.available) < _GIB:
        return Check("memory", Health.WARNING, found, "Ray alone wants about 1 GiB: close other programs")
    return Check("memory", Health.OK, found)


def _shared_memory() -> Check:
    from cluster.exchange import segment  # late: NumPy may be broken

    name = "shared memory"
    folder = segment.FOLDER
    if not folder.is_dir():
        remedy = f"mount -t tmpfs tmpfs {folder}; without, workers exchange objects in files, which is slower"
        return Check(name, Health.WARNING, f"no {folder}", remedy)
    usage = shutil.disk_usage(folder)
    found = f"{usage.total / _GIB:.2f} GiB in {folder}, {usage.free / _GIB:.2f} GiB free"
    if not _can_write(folder):
        return Check(name, Health.WARNING, f"{found}, not writable", "check its permissions")
    left = segment.orphans()
    if left:
        size = sum(path.stat().st_size for path in left)
        found += f"; {len(left)} segment(s) of killed runs hold {size / _MIB:.1f} MiB"
    if usage.free < MIN_SHARED_MEMORY_BYTES:
        remedy = f"in a container: docker run --shm-size=2g; else remove what was left in {folder}"
        return Check(name, Health.WARNING, found, remedy)
    return Check(name, Health.OK, found, "the next run that shares memory removes them" if left else "")


def _run_root() -> Check:
    folder = home()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {free / _GIB:.1f} GiB free"
    if not _can_write(existing):
        return Check(
            "run directories", Health.WARNING, f"{found}, not writable", "set DISTNN_HOME, or use --run-dir"
        )
    return Check("run directories", Health.OK, found)


def _temporary_folder() -> Check:
    folder = Path(tempfile.gettempdir())
    if not _can_write(folder):
        return Check("temporary", Health.BROKEN, f"{folder} cannot be written", "set TMPDIR")
    free = shutil.disk_usage(folder).free
    return Check("temporary", Health.OK, f"{folder}, {free / _GIB:.1f} GiB free")


_CHECKS = (
    _python,
    _packages,
    _numpy,
    _blas,
    _numba,
    _ray,
    _others,
    _cores,
    _memory,
    _shared_memory,
    _run_root,
    _temporary_folder,
)


def cgroup_cores(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The CPU limit of the control group in cores, or None."""
    words = _read(root / "cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return int(words[0]) / int(words[1])
    quota, period = _read(root / "cpu/cpu.cfs_quota_us"), _read(root / "cpu/cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        return int(quota) / int(period)
    return None


def cgroup_memory(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The memory limit of the control group in bytes, or None."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(root / name)
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _library(name: str) -> Check:
    """A library that must be importable, with its version."""
    version = _version(name)
    if version is None:
        return Check(name, Health.BROKEN, "is not installed", f"pip install {name}")
    try:
        if name != "ray":  # slow to import, and its version tells enough
            importlib.import_module(name)
    except ImportError as error:
        return Check(name, Health.BROKEN, f"{version} does not import: {error}", f"pip install -U {name}")
    return Check(name, Health.OK, version)


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
