"""Whole programs over Ray: Ctrl-C, a driver that is killed, other clusters, addresses that do not answer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cases import arrays, rich_model

from jobs.chaos.watch import wait_until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:BatchNormalization takes the statistics of its shard"),
]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A program of `programs.py` in a process group of its own."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    variables |= {"PYTHONPATH": f"{ROOT}:{HERE}", **environment}
    return subprocess.Popen(
        [sys.executable, str(HERE / "programs.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
        cwd=tempfile.gettempdir(),
        start_new_session=True,
    )


def read_line(program: subprocess.Popen[str]) -> list[str]:
    assert program.stdout is not None
    line = program.stdout.readline().split()
    assert line, program.communicate(timeout=10)
    return line


def finish(program: subprocess.Popen[str], seconds: float = 60) -> tuple[str, str]:
    try:
        return program.communicate(timeout=seconds)
    finally:
        program.kill()


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until_busy(pids: list[int]) -> None:
    """Every process has computed for a while since now."""
    left = {process: process.cpu_times().user + 0.1 for process in map(psutil.Process, pids)}
    assert wait_until(lambda: all(one.cpu_times().user >= enough for one, enough in left.items()), 30)


def local_loss() -> str:
    x, y = arrays()
    model = rich_model()
    history = model.fit(x, y, batch_size=16, epochs=2, seed=3, verbose=0, shards=4)
    return f"loss {history.history['loss'][-1].hex()}"


def test_ctrl_c_stops_at_a_commit_and_a_killed_program_leaves_no_worker() -> None:
    program = start("train_for_ever")
    try:
        word, *pids = read_line(program)
        assert word == "training" and len(pids) == 2
        wait_until_busy([int(pid) for pid in pids])
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        assert read_line(program) == ["interrupted", "True", "True", "True"]
        assert all(is_running(int(pid)) for pid in pids)
        program.kill()
        _, errors = program.communicate(timeout=10)
        assert errors == ""
        assert wait_until(lambda: not any(is_running(int(pid)) for pid in pids), 15)
    finally:
        program.kill()


# Clusters that this program did not start


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def other_cluster() -> Iterator[str]:
    """A cluster started by `ray start`, with a token; the address of its head."""
    folder = tempfile.mkdtemp(prefix="other-", dir="/tmp")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).parent / "ray", "start", "--head", f"--port={port}", "--num-cpus=2"]
    command += [f"--temp-dir={folder}", "--include-dashboard=false", "--disable-usage-stats", "--block"]
    variables = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t" * 64}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables, start_new_session=True
    )
    address = f"127.0.0.1:{port}"
    try:
        from cluster.address import find_address

        def is_up() -> bool:
            return _answers(port) and find_address(address).is_on_this_node()

        assert wait_until(lambda: process.poll() is not None or is_up(), 90) and process.poll() is None
        yield address
    finally:
        process.terminate()  # ends what it started
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(180)
def test_fit_on_a_running_cluster_with_too_little_room(other_cluster: str) -> None:
    output, errors = finish(start("fit_at", other_cluster, RAY_AUTH_TOKEN="t" * 64))
    lines = output.splitlines()
    assert lines[0].startswith(
        "warning only 2 of 3 workers could be started (each worker asks for 1 CPU; now"
    )
    assert local_loss() in lines
    assert len(lines[2].split()) == 3
    assert errors == ""


@pytest.mark.timeout(180)
def test_workers_of_a_running_cluster_end_with_their_coordinator(other_cluster: str) -> None:
    """Their Ray lives on; one of them is stopped and can do nothing by itself."""
    program = start("train_for_ever", other_cluster, RAY_AUTH_TOKEN="t" * 64)
    try:
        word, *pids = read_line(program)
        workers = [psutil.Process(int(pid)) for pid in pids]
        assert word == "training" and len(workers) == 2
        workers[0].suspend()
        program.kill()
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive
    finally:
        program.kill()
        program.communicate(timeout=20)


@pytest.mark.timeout(180)
def test_without_an_address_other_clusters_are_left_alone(other_cluster: str) -> None:
    program = start("embedded_beside", RAY_ADDRESS=other_cluster, HOME="/proc/no-home")
    output, errors = finish(program)
    assert local_loss() in output
    assert not re.search(rf"head \S+:{other_cluster.split(':')[1]}\n", output)
    assert "token in home False" in output
    assert errors == ""
    # The other one has the port that agents listen on by default.
    (port,) = re.findall(r"^agent's port (-?\d+)$", output, re.MULTILINE)
    assert int(port) > 0
    assert "helpers" in output.splitlines()


def test_a_program_that_imported_ray_may_have_a_token_in_its_home(tmp_path: Path) -> None:
    """Ray itself writes one there; a Ray that is imported does not look for it again."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("t" * 64)
    output, errors = finish(start("import_ray_first", HOME=str(tmp_path)))
    assert local_loss() in output, errors


def test_a_missing_token_is_told_in_a_sentence(other_cluster: str) -> None:
    output, _ = finish(start("fail_at", other_cluster, HOME="/proc/no-home"))
    kind, seconds, *words = output.split()
    assert kind == "EngineError" and int(seconds) < 10
    assert "wants a token" in output and "RAY_AUTH_TOKEN" in output


def test_an_address_that_does_not_answer_is_told_with_the_seconds() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output, errors = finish(start("fail_at", f"127.0.0.1:{port}"))
    kind, seconds, *words = output.split()
    assert kind == "ClusterUnreachableError" and int(seconds) < 8
    assert re.search(rf"no Ray cluster answers at 127.0.0.1:{port}: .* \(waited \d\.\d s\)", " ".join(words))
    assert errors == ""


def test_from_a_machine_that_is_no_node_submit_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        output, errors = finish(start("fail_at", f"127.0.0.1:{port}"))
    assert "this machine is not a node of the Ray cluster at" in output
    assert "distnn submit SPEC --address http://127.0.0.1:8265" in output
    assert errors == ""
