"""What travels with a submitted job, and what the start script checks where it arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from jobs import remote_start, shipment
from jobs.errors import SpecError
from jobs.remote_start import RESTARTED_VARIABLE
from jobs.shipment import Shipment
from jobs.specfile import load_spec

ROOT = Path(__file__).parent.parent.parent


def staged(
    spec: Path, folder: Path, *overrides: str, ship_package: bool = False
) -> tuple[Shipment, dict[str, object]]:
    folder.mkdir()
    sent = shipment.stage(load_spec(spec, overrides), folder, ship_package=ship_package)
    return sent, json.loads((folder / "spec.json").read_text())


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_package_travels_and_gives_the_same_digest(small_job: Path, tmp_path: Path) -> None:
    first, _ = staged(small_job, tmp_path / "a", ship_package=True)
    second, _ = staged(small_job, tmp_path / "b", ship_package=True)
    assert first.digest() == second.digest()
    there = names(tmp_path / "a")
    assert {"spec.json", "distnn_start.py", "jobs/cli.py", "cluster/__init__.py"} <= there
    assert "distnn/datasets/digits.npz" in there
    assert not [name for name in there if "__pycache__" in name or name.endswith(".pyc")]
    changed, _ = staged(small_job, tmp_path / "c", "training.epochs=3", ship_package=True)
    assert changed.digest() != first.digest()


def test_what_was_shipped_runs_by_itself(small_job: Path, tmp_path: Path) -> None:
    staged(small_job, tmp_path / "there", ship_package=True)
    command = [sys.executable, "distnn_start.py", "run", "spec.json", "--backend", "local"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["RAY_JOB_CONFIG_JSON_ENV_VAR"] = '{"metadata": {"job_submission_id": "small-abc123"}}'
    done = subprocess.run(
        command, cwd=tmp_path / "there", env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert f"model          {os.environ['DISTNN_HOME']}/runs/small-abc123/model.safetensors" in done.stdout


def test_small_data_files_travel(small_job: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    np.save(tmp_path / "y.npy", np.arange(4))
    sent, spec = staged(small_job, tmp_path / "there", "data.source=x.npy", "data.labels=y.npy")
    assert spec["data"]["source"] == "data/source.npy"  # type: ignore[index]
    assert spec["data"]["labels"] == "data/labels.npy"  # type: ignore[index]
    assert {"data/source.npy", "data/labels.npy"} <= names(tmp_path / "there")
    assert sent.data_bytes == sum((tmp_path / name).stat().st_size for name in ("x.npy", "y.npy"))
    assert not sent.remarks


def test_large_data_files_do_not_travel(
    small_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipment, "MAX_DATA_BYTES", 100)
    np.savez(tmp_path / "big.npz", x=np.ones((40, 2)), y=np.arange(40))
    with pytest.raises(SpecError, match="put it on a path that the cluster sees too"):
        staged(small_job, tmp_path / "there", "data.source=big.npz")
    path = str(tmp_path / "big.npz")
    sent, spec = staged(small_job, tmp_path / "shared", f"data.source={path}")
    assert spec["data"]["source"] == path  # type: ignore[index]
    assert sent.remarks == [f"data.source does not travel: the cluster must see {path}"]


def test_missing_data_is_refused_unless_its_path_is_absolute(small_job: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"data.source: .*nothing.npz: no such file"):
        staged(small_job, tmp_path / "a", "data.source=nothing.npz")
    sent, _ = staged(small_job, tmp_path / "b", "data.source=/far/away.npz")
    assert sent.remarks == ["data.source does not travel: the cluster must see /far/away.npz"]


def test_user_modules_travel_with_what_they_import(small_job: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import numpy\nimport helper\nfrom parts.deep import x\n")
    (tmp_path / "helper.py").write_text("import mine\n")
    (tmp_path / "unrelated.py").write_text("")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "deep.py").write_text("x = 1\n")
    model = "model={factory='mine:build'}"
    sent, _ = staged(small_job, tmp_path / "there", model, "data.source=python:elsewhere:load")
    assert sorted(sent.modules) == ["helper", "mine", "parts"]
    there = names(tmp_path / "there")
    assert {"mine.py", "helper.py", "parts/__init__.py", "parts/deep.py"} <= there
    assert "unrelated.py" not in there
    assert sent.remarks == [
        "module 'elsewhere' is not beside the spec and does not travel: the cluster must have it"
    ]


def test_folders_that_a_loader_is_told_do_not_travel(
    small_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    options = f"data.options={{folder='{tmp_path}', other='mine.py', kind='small', rows=5}}"
    sent, spec = staged(small_job, tmp_path / "there", "data.source=python:mine:load", options)
    assert spec["data"]["options"]["kind"] == "small"  # type: ignore[index]
    assert sent.remarks == [
        f"data.options.folder does not travel: the cluster must see {tmp_path}",
        "data.options.other does not travel: the cluster must see mine.py by an absolute path",
    ]


def test_user_module_may_not_hide_ours(small_job: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a module of yours cannot be called 'jobs'"):
        staged(small_job, tmp_path / "there", "model={factory='jobs.mine:build'}")


def test_seed_is_drawn_before_the_job_travels(small_job: Path, tmp_path: Path) -> None:
    small_job.write_text(small_job.read_text().replace("seed = 3\n", ""))
    _, spec = staged(small_job, tmp_path / "there")
    assert isinstance(spec["seed"], int)


# The start script


def test_requirements_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [entry.replace("ray[default]", "ray") for entry in project["dependencies"]]
    assert list(remote_start.REQUIREMENTS) == declared
    assert project["requires-python"] == f">={'.'.join(map(str, remote_start.MIN_PYTHON))}"


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [
        ("2.4.6", ">=2.0,<2.6", True),
        ("2.6.0", ">=2.0,<2.6", False),
        ("1.26.4", ">=2.0,<2.6", False),
        ("2.0", ">=2.0", True),
        ("2.60.0", ">=2.50", True),
        ("2.9.3", ">=2.50", False),
        ("0.62.0rc1", ">=0.62", True),
        ("8.10", ">=8.1", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, bounds: str, fits: bool) -> None:
    assert remote_start.satisfies(version, bounds) is fits


def test_missing_libraries_are_one_line(tmp_path: Path) -> None:
    """A Python without site-packages, as a bare cluster has, which is not left for that of a Ray above it."""
    script = tmp_path / "distnn_start.py"
    script.write_bytes((ROOT / "jobs" / "remote_start.py").read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script), "run", "spec.json"],
        capture_output=True,
        text=True,
        env={**os.environ, RESTARTED_VARIABLE: sys.executable},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("distnn: missing on the cluster: numpy, numba, pydantic, safetensors, ray, click")
    assert line.endswith("install it there, or submit with --install-deps")


def test_package_that_was_not_shipped_is_one_line(tmp_path: Path) -> None:
    script = tmp_path / "distnn_start.py"
    script.write_bytes((ROOT / "jobs" / "remote_start.py").read_bytes())
    code = (
        "import sys, importlib.util, runpy\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'jobs' else find(name, *a)\n"
        f"sys.argv = ['distnn_start.py', 'run']; runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "distnn is not installed on the cluster" in done.stderr
    assert done.stderr.rstrip().endswith("submit without --no-ship")
