"""The benchmarks are not run here; they must begin without what only their peers need."""

from __future__ import annotations

import gzip
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if 'if __name__ == "__main__"' in path.read_text())

HELP = """
import contextlib, io, json, runpy, sys
found = {}
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            found[path] = [end.code, text.getvalue(), sorted({"ray", "torch"} & set(sys.modules))]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def help_of_all() -> dict[str, Any]:
    """Of each script: exit code, text, and which of Ray and PyTorch it had imported by then."""
    paths = [str(FOLDER / name) for name in SCRIPTS]
    command = [sys.executable, "-c", HELP, *paths]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    return {Path(path).name: found for path, found in json.loads(done.stdout).items()}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_needs_neither_ray_nor_torch(help_of_all: dict[str, Any], name: str) -> None:
    code, text, imported = help_of_all[name]
    assert code == 0
    assert text.startswith(f"usage: {name}")
    assert imported == []


def test_the_readme_names_every_script() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [name for name in SCRIPTS if f"`{name}`" not in text] == []


def idx(array: np.ndarray[Any, Any]) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.tobytes())


def test_fashion_mnist_reads_idx_files_and_archives_alike(tmp_path: Path) -> None:
    data = runpy.run_path(str(FOLDER / "fashion_data.py"))
    rng = np.random.default_rng(0)
    raw = {key: rng.integers(0, 256, (5, 28, 28), np.uint8) for key in ("x_train", "x_test")}
    raw |= {key: rng.integers(0, 10, 5, np.uint8) for key in ("y_train", "y_test")}
    for key, name in data["_IDX_NAMES"].items():
        (tmp_path / name).write_bytes(idx(raw[key]))
    np.savez(tmp_path / "data.npz", **raw)
    from_idx, from_archive = data["load"](tmp_path), data["load"](tmp_path / "data.npz")
    for one, other in zip(from_idx, from_archive, strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    assert from_idx.x_train.shape == (5, 784)
    assert np.allclose(from_idx.x_train[0, 0], raw["x_train"][0, 0, 0] / 127.5 - 1, atol=1e-6)


def test_fashion_mnist_says_where_its_data_may_be(tmp_path: Path) -> None:
    data = runpy.run_path(str(FOLDER / "fashion_data.py"))
    with pytest.raises(SystemExit, match="install Debian's package dataset-fashion-mnist, or give `--data`"):
        data["load"](tmp_path / "nowhere")
