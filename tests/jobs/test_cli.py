"""The `distnn` command: what it prints where, its exit codes, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click.testing
import numpy as np
import pytest

from jobs.cli import cli
from jobs.rundir import RunDir, list_runs
from jobs.spec import JobSpec

ROOT = Path(__file__).parent.parent.parent


def distnn(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli, arguments, catch_exceptions=False)


def run_python(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder, timeout=60
    )


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def finished(small_job: Path, tmp_path: Path) -> RunDir:
    """A run that has finished."""
    run = RunDir(tmp_path / "run")
    result = distnn("run", str(small_job), "--run-dir", str(run.path))
    assert result.exit_code == 0, result.output
    return run


# What is loaded, and what is refused before anything


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["ls"], ["schema"]])
def test_light_commands_load_neither_ray_nor_numba(arguments: Sequence[str]) -> None:
    code = (
        "import sys; from jobs.cli import cli\n"
        f"cli.main({list(arguments)!r}, standalone_mode=False)\n"
        "print('LOADED', [m for m in ('ray', 'numba', 'pydantic') if m in sys.modules], file=sys.stderr)"
    )
    done = run_python(code)
    loaded = done.stderr.splitlines()[-1]
    assert loaded == ("LOADED ['pydantic']" if arguments == ["schema"] else "LOADED []"), done.stderr


def test_running_locally_does_not_load_ray(small_job: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from jobs.cli import cli\n"
        "try:\n"
        f"    cli.main(['run', {str(small_job)!r}, '--run-dir', {str(tmp_path / 'r')!r}])\n"
        "except SystemExit as end:\n"
        "    print('END', end.code, 'ray' in sys.modules)"
    )
    assert run_python(code).stdout.splitlines()[-1] == "END 0 False"


def test_misspelt_command_gets_a_suggestion() -> None:
    result = distnn("rnu", "x.toml")
    assert result.exit_code == 2
    assert result.stderr == "distnn: there is no command 'rnu'. Did you mean 'run'?\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "nowhere.toml"], "distnn: nowhere.toml: no such file"),
        (["status", "nothing"], "distnn: there is no run 'nothing' in "),
        (["logs", "./nothing"], "distnn: ./nothing: no such run directory"),
        (["resume", "."], "holds no run (there is no events.jsonl)"),
        (["evaluate", "model.safetensors"], "distnn: model.safetensors: no such file"),
        (["predict", "x", "--data", "a.npy", "--out", "b.npy"], "distnn: there is no run 'x' in "),
    ],
)
def test_what_is_not_there_is_one_line(arguments: list[str], line: str) -> None:
    result = distnn(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert line in result.stderr


def test_address_does_not_go_with_another_backend(small_job: Path) -> None:
    result = distnn("run", str(small_job), "--backend", "local", "--address", "1.2.3.4:6379")
    assert result.exit_code == 2
    assert result.stderr == "distnn: --address is for --backend ray, not local\n"


def test_intruding_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster.py").write_text("")
    code = (
        f"import sys; sys.path.insert(1, {str(ROOT)!r}); from jobs.cli import main\n"
        "sys.argv = ['distnn', 'ls']; main()"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 2
    assert f"another package 'cluster' at {tmp_path / 'cluster.py'} hides distnn's own" in done.stderr


def test_schema_is_that_of_the_models_and_the_examples_fit_it() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    import tomllib

    schema = json.loads(distnn("schema").stdout)
    assert schema == JobSpec.model_json_schema()
    examples = sorted((ROOT / "examples").glob("*.toml"))
    assert examples
    for example in examples:
        jsonschema.validate(tomllib.loads(example.read_text()), schema)


# Running


def test_dry_run_tells_and_writes_nothing(small_job: Path, distnn_home: Path) -> None:
    before = files_under(distnn_home), files_under(small_job.parent)
    result = distnn("run", str(small_job), "--backend", "threads", "--workers", "3", "--dry-run")
    assert result.exit_code == 0
    assert "1438 samples for training, 359 samples for validation" in result.stdout
    assert "1,210 parameters" in result.stdout
    assert "2 epochs of 23 steps = 46 steps; batches of 64, the last of 30" in result.stdout
    assert "4 a step, 1 thread(s) each; thread 0: shards 0-1; thread 1: shard 2; thread 2: shard 3" in (
        result.stdout
    )
    assert result.stdout.endswith("Nothing has been written.\n")
    assert (files_under(distnn_home), files_under(small_job.parent)) == before


def test_dry_run_warns_of_idle_workers(small_job: Path) -> None:
    result = distnn("run", str(small_job), "--backend", "ray", "--workers", "6", "--dry-run")
    assert "6 workers for 4 shard(s): 2 of them will have nothing to do" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--backend", "local"], "exchange:    none: one process computes the shards in turn"),
        (["--backend", "threads"], "exchange:    none: the threads share the process's memory"),
        (
            ["--backend", "ray"],
            "exchange:    shared_memory: Ray is started on this machine alone, so all workers are on the "
            "coordinator's node",
        ),
        (
            ["--address", "10.0.0.1:6379"],
            "exchange:    auto: settled when the cluster has placed the workers: shared_memory if all are on "
            "this node, hierarchical if one has several, object_store if each has one",
        ),
        (
            ["--backend", "ray", "--set", "cluster.exchange='hierarchical'"],
            "exchange:    hierarchical: asked for",
        ),
        (
            ["--address", "10.0.0.1:6379", "--exchange", "shared_memory"],
            "exchange:    shared_memory: asked for; the run fails if a worker is placed on another node",
        ),
    ],
)
def test_dry_run_tells_the_exchange_and_why(small_job: Path, arguments: list[str], line: str) -> None:
    assert line in distnn("run", str(small_job), "--dry-run", *arguments).stdout.splitlines()


def test_dry_run_for_programs(small_job: Path) -> None:
    facts = json.loads(distnn("run", str(small_job), "--dry-run", "--json").stdout)
    assert (facts["steps"], facts["parameters"], facts["spec"]["training"]["shards"]) == (46, 1210, 4)
    assert facts["exchange"]["name"] == "none"


def test_run_prints_the_result_on_stdout_and_progress_on_stderr(small_job: Path, tmp_path: Path) -> None:
    result = distnn("run", str(small_job), "--run-dir", str(tmp_path / "run"))
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["val_accuracy", "val_loss", "model", "next", "distnn"]
    assert "Epoch 2/2" in result.stderr
    assert f"run directory: {tmp_path / 'run'} (on " in result.stderr


def test_run_without_a_directory_goes_under_the_home(small_job: Path, distnn_home: Path) -> None:
    result = distnn("run", str(small_job), "--json")
    facts = json.loads(result.stdout)
    (run,) = list_runs()
    assert run.path.parent == distnn_home / "runs"
    assert facts["run"] == str(run.path)
    assert facts["state"] == "SUCCEEDED"
    assert set(facts["metrics"]) == {"val_loss", "val_accuracy"}


def test_same_bytes_on_any_backend_and_number_of_workers(small_job: Path, tmp_path: Path) -> None:
    models = set()
    for i, (backend, workers) in enumerate([("local", 1), ("threads", 2), ("threads", 3)]):
        run = RunDir(tmp_path / f"run{i}")
        options = ["--backend", backend, "--workers", str(workers), "--run-dir", str(run.path)]
        assert distnn("run", str(small_job), *options).exit_code == 0
        models.add((run.model.read_bytes(), run.steps.read_bytes()))
    assert len(models) == 1


def test_refused_request_leaves_no_directory(small_job: Path, tmp_path: Path) -> None:
    result = distnn("run", str(small_job), "--run-dir", str(tmp_path / "run"), "--set", "training.loss=mae")
    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_another_run_in_the_directory_is_refused_untouched(finished: RunDir, small_job: Path) -> None:
    before = {path: (finished.path / path).stat().st_mtime_ns for path in files_under(finished.path)}
    before.pop("events.jsonl"), before.pop("metrics.jsonl")
    result = distnn("run", str(small_job), "--run-dir", str(finished.path), "--set", "seed=4")
    assert result.exit_code == 2
    assert "holds another run (seed: 3 -> 4): give another directory" in result.stderr
    for path, changed in before.items():
        assert (finished.path / path).stat().st_mtime_ns == changed or path == "logs", path
    assert distnn("status", str(finished.path)).stdout.splitlines()[0] == "run: SUCCEEDED"


def test_the_same_run_again_is_at_its_end(finished: RunDir, small_job: Path) -> None:
    model = finished.model.read_bytes()
    assert distnn("run", str(small_job), "--run-dir", str(finished.path)).exit_code == 0
    result = distnn("resume", str(finished.path))
    assert result.exit_code == 0
    assert "has finished (step 46); there is nothing to resume" in result.stderr
    assert finished.model.read_bytes() == model


def test_resume_goes_on_with_another_backend_to_the_same_bytes(finished: RunDir, tmp_path: Path) -> None:
    """A run whose process died after the checkpoint of step 30."""
    other = RunDir(tmp_path / "other")
    options = ["--run-dir", str(other.path), "--set", "checkpoint.every_steps=30"]
    assert distnn("run", str(tmp_path / "small.toml"), *options).exit_code == 0
    for file in (other.model, other.digests, other.checkpoint(46)):
        file.unlink()
    status = json.loads(other.status.read_text())
    other.status.write_text(json.dumps({**status, "state": "RUNNING"}))
    assert distnn("status", str(other.path)).stdout.splitlines()[0] == "other: INTERRUPTED"
    assert distnn("resume", str(other.path), "--backend", "threads", "--workers", "2").exit_code == 0
    assert other.model.read_bytes() == finished.model.read_bytes()
    assert other.steps.read_bytes() == finished.steps.read_bytes()


# Looking


def test_runs_are_found_by_the_beginning_of_their_id(small_job: Path) -> None:
    for _ in range(2):
        assert distnn("run", str(small_job)).exit_code == 0
    first, second = list_runs()
    listed = distnn("ls").stdout
    assert first.name in listed and second.name in listed and "SUCCEEDED" in listed
    assert distnn("status", first.name.rpartition("-")[2]).stdout.startswith(f"{first.name}: SUCCEEDED")
    result = distnn("status", "small")
    assert result.exit_code == 2
    assert "'small' could be any of 2 runs" in result.stderr
    facts = json.loads(distnn("status", second.name, "--json").stdout)
    assert (facts["state"], facts["step"], facts["model"]) == ("SUCCEEDED", 46, str(second.model))
    assert "epoch 2/2 step 46/46" in distnn("logs", second.name).stdout


# Using the model


def test_evaluate_measures_what_was_held_out_or_other_data(finished: RunDir) -> None:
    held_out = json.loads(distnn("evaluate", str(finished.path), "--json").stdout)
    status = json.loads(finished.status.read_text())
    assert held_out["accuracy"] == pytest.approx(status["logs"]["val_accuracy"])
    assert held_out["loss"] == pytest.approx(status["logs"]["val_loss"], rel=1e-6)
    lines = distnn("evaluate", str(finished.model), "--data", "builtin:digits").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["loss", "accuracy"]
    result = distnn("evaluate", str(finished.model))
    assert (result.exit_code, "--data is needed" in result.stderr) == (2, True)


def test_a_runs_own_loader_is_called_as_the_run_called_it(
    small_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = (
        "import numpy as np\n"
        "def part(rows): return np.ones((rows, 4)), np.arange(rows) % 10\n"
        "def load(rows): return part(rows), part(5)\n"
    )
    (tmp_path / "rows_of_test_cli.py").write_text(loader)
    monkeypatch.setattr(sys, "path", [*sys.path])
    source, run = "python:rows_of_test_cli:load", str(tmp_path / "run")
    data = f"data={{source='{source}', options={{rows=20}}}}"
    assert distnn("run", str(small_job), "--set", data, "--run-dir", run).exit_code == 0
    monkeypatch.chdir("/")
    out = tmp_path / "out.npy"
    result = distnn("predict", run, "--data", source, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert np.load(out).shape == (5, 10)
    assert distnn("evaluate", run, "--data", source).stdout == distnn("evaluate", run).stdout


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_predict_writes_each_kind_of_file(finished: RunDir, tmp_path: Path, suffix: str) -> None:
    from distnn.datasets import digits

    x, y = digits.load_all()
    np.save(tmp_path / "x.npy", x[:50].reshape(50, -1))
    out = tmp_path / f"out{suffix}"
    result = distnn("predict", str(finished.path), "--data", str(tmp_path / "x.npy"), "--out", str(out))
    assert result.exit_code == 0, result.output
    if suffix == ".npy":
        classes = np.load(out).argmax(axis=1)
    elif suffix == ".npz":
        with np.load(out) as arrays:
            classes = arrays["class_index"]
    else:
        table = out.read_text().splitlines()
        assert table[0].startswith("class,p(0),p(1)")
        classes = np.array([int(line.split(",")[0]) for line in table[1:]])
    assert (classes == y[:50]).mean() > 0.8


@pytest.mark.parametrize(
    ("data", "out", "line"),
    [
        ("x.npy", "out.txt", "--out out.txt: expected a file ending in .npy, .npz, .csv"),
        ("x.npy", "no/folder/out.npy", "--out no/folder/out.npy: there is no folder "),
        ("missing.npy", "out.npy", "missing.npy: no such file"),
        ("wide.npy", "out.npy", "x has samples of shape (65,): normalisation was fitted on (64,)"),
        ("pickled.npy", "out.npy", "pickled.npy: cannot be used: "),
        ("table.csv", "out.npy", "the model was not trained on a table"),
    ],
)
def test_predict_refuses_what_it_cannot_use(
    finished: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, out: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((3, 64)))
    np.save("wide.npy", np.zeros((3, 65)))
    np.save("pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("table.csv").write_text("a,b\n1,2\n")
    result = distnn("predict", str(finished.path), "--data", data, "--out", out)
    assert result.exit_code == 2
    assert line in result.stderr
    assert not (tmp_path / out).exists()


def test_unfinished_run_has_no_model_to_use(finished: RunDir) -> None:
    finished.model.unlink()
    result = distnn("evaluate", str(finished.path))
    assert result.exit_code == 2
    assert "has no finished model (it is SUCCEEDED at step 46)" in result.stderr
