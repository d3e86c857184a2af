"""How kernels are compiled and kept: the cache, the plain-Python run, no silent recompilation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distnn.kernels
from distnn.kernels import activations, normalization, random, reductions, softmax, update
from distnn.kernels.gather import gather_rows
from distnn.kernels.jit import REGISTRY, folder_problem

ROOT = Path(distnn.kernels.__file__).parents[2]
IS_COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
only_compiled = pytest.mark.skipif(not IS_COMPILED, reason="says something about compiled code")

PROGRAM = """
import numpy as np, sys
from distnn.kernels.activations import relu
from distnn.kernels.jit import cache_folder, cache_problem
x = np.array([-1, 2], np.float32); y = np.empty_like(x)
relu(x, y)
assert y.tolist() == [0, 2]
print(sum(relu.stats.cache_hits.values()), cache_folder(), cache_problem(), sep="|")
"""


def run_program(where: Path, **environment: str) -> list[str]:
    """Cache hits, folder and problem of a fresh process that runs one kernel of the package under `where`."""
    hidden = ("DISTNN_CACHE_DIR", "DISTNN_HOME", "NUMBA_DISABLE_JIT")
    base = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=where,
        env={**base, "PYTHONPATH": str(where), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    """The kernels at another path."""
    target = tmp_path / "elsewhere"
    shutil.copytree(
        ROOT / "distnn" / "kernels",
        target / "distnn" / "kernels",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return target


@only_compiled
def test_a_copy_at_another_path_finds_the_compiled_code(tmp_path: Path, copied_package: Path) -> None:
    folder = str(tmp_path / "cache")
    assert run_program(ROOT, DISTNN_CACHE_DIR=folder)[0] == "0"
    assert run_program(ROOT, DISTNN_CACHE_DIR=folder)[0] == "1"
    assert run_program(copied_package, DISTNN_CACHE_DIR=folder)[0] == "1"
    with (copied_package / "distnn" / "kernels" / "activations.py").open("a") as source:
        source.write("\n# changed\n")
    assert run_program(copied_package, DISTNN_CACHE_DIR=folder)[0] == "0"


@only_compiled
def test_damaged_code_is_compiled_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    run_program(ROOT, DISTNN_CACHE_DIR=str(folder))
    (compiled,) = folder.glob("*/*.nbc")
    compiled.write_bytes(b"torn")
    assert run_program(ROOT, DISTNN_CACHE_DIR=str(folder))[0] == "0"
    assert run_program(ROOT, DISTNN_CACHE_DIR=str(folder))[0] == "1"


@only_compiled
def test_old_versions_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    root.mkdir(mode=0o700)
    for i in range(12):
        (root / f"{i:016x}").mkdir()
        os.utime(root / f"{i:016x}", (i, i))
    (root / "notes").mkdir()
    used = Path(run_program(ROOT, DISTNN_CACHE_DIR=str(root))[1])
    kept = {path.name for path in root.iterdir()}
    assert kept == {"notes", used.name, *(f"{i:016x}" for i in range(5, 12))}


@only_compiled
def test_the_cache_lies_in_distnn_home(tmp_path: Path) -> None:
    _, folder, problem = run_program(ROOT, DISTNN_HOME=str(tmp_path / "home"))
    assert Path(folder).parent == tmp_path / "home" / "cache" / "kernels" and problem == ""
    assert Path(folder).parent.stat().st_mode & 0o777 == 0o700


@only_compiled
def test_no_folder_means_no_cache_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    hits, folder, problem = run_program(ROOT, DISTNN_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert (hits, folder) == ("0", "None") and "no kernel cache" in problem


@only_compiled
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    hits, used, problem = run_program(ROOT, DISTNN_CACHE_DIR=str(folder))
    assert (hits, used) == ("0", "None") and "chmod 700" in problem
    assert list(folder.iterdir()) == []


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    assert folder_problem(tmp_path) == ""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert "belongs to user" in folder_problem(tmp_path)


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert "not a folder" in folder_problem(tmp_path / "link")


@only_compiled
def test_kernels_run_uncompiled() -> None:
    """The other tests of this folder, in plain Python."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).parent)],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_kernel_is_named_in_a_test() -> None:
    for path in (ROOT / "distnn" / "kernels").glob("*.py"):
        __import__(f"distnn.kernels.{path.stem}")
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    missing = [name for name in REGISTRY if name.rpartition(".")[2] not in text]
    assert not missing, f"no test names {missing}"


def call_typical_kernels(size: int) -> None:
    """What a training step calls, on arrays of another size each time."""
    x = np.linspace(-1, 1, size * 3, dtype=np.float32)
    y, rows = np.empty_like(x), x.reshape(size, 3)
    out, mask, labels = np.empty_like(rows), np.empty(x.size, np.uint8), np.zeros(size, np.int32)
    per_row, vector = np.ones(size, np.float32), np.ones(3, np.float32)
    activations.relu(x, y)
    activations.relu_gradient(x, x, y)
    activations.bias_relu(rows, vector, out)
    activations.leaky_relu(x, 0.2, y)
    softmax.softmax(rows, out)
    softmax.sparse_cross_entropy(rows, labels, per_row, out)
    reductions.sum_axis(x.reshape(1, size, 3), np.empty((1, 3), np.float32))
    normalization.layer_norm(rows, vector, vector, 1e-3, out, per_row, per_row.copy())
    random.dropout(x, np.zeros(8, np.int64), size, size << 20, 2.0, y, mask)
    gather_rows(rows, np.zeros(size, np.int64), out)
    slots = np.ones((2, x.size), np.float32)
    update.adam(x, y, slots, y.copy(), slots.copy(), np.ones(update.NUM_SCALARS), size % 3, x.size)


@only_compiled
def test_other_sizes_compile_nothing() -> None:
    call_typical_kernels(4)
    before = {name: len(_signatures(function)) for name, function in REGISTRY.items()}
    for size in (1, 5, 40):
        call_typical_kernels(size)
    assert {name: len(_signatures(function)) for name, function in REGISTRY.items()} == before


def _signatures(function: Any) -> list[Any]:
    return list(function.signatures)
