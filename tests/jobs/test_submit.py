"""`distnn submit`: addresses, tokens, exit codes; and, over a real head node, the whole way."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import submit
from jobs.chaos.watch import wait_until
from jobs.errors import RequestError, UnreachableError

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(status: int, body: bytes) -> Iterator[str]:
    """Something that answers every request in the same way."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802  (the library's name)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("given", "environment", "address"),
    [
        (None, {}, "http://127.0.0.1:8265"),
        ("http://head:8265/", {}, "http://head:8265"),
        ("head:8265", {}, "http://head:8265"),
        (None, {"RAY_ADDRESS": "https://head"}, "https://head"),
        (None, {"RAY_ADDRESS": "10.0.0.1:6379"}, "http://127.0.0.1:8265"),
        ("http://mine:1", {"RAY_API_SERVER_ADDRESS": "http://other:2"}, "http://mine:1"),
    ],
)
def test_address_is_made_a_url(
    monkeypatch: pytest.MonkeyPatch, given: str | None, environment: dict[str, str], address: str
) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert submit.normalized_address(given) == address


@pytest.mark.parametrize("given", ["ray://head:10001", "ftp://head", "http://"])
def test_other_kinds_of_address_are_refused(given: str) -> None:
    with pytest.raises(RequestError, match="expected the job service's URL"):
        submit.normalized_address(given)


def test_nobody_there_is_told_with_the_time_waited() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match=r"does not answer: Connection refused \(waited 0\.\d s\)"):
        submit.probe(address)


def test_silence_ends_at_the_deadline() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(UnreachableError, match=r"does not answer: .*timed out.* \(waited 0\.2 s\)"):
            submit.probe(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline_s=0.2)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"", "answers with HTTP 404"),
        (200, b"<html>", "does not answer as Ray's job service does"),
        (200, b'{"version": "4"}', "does not answer as Ray's job service does"),
    ],
)
def test_somebody_else_is_told(status: int, body: bytes, reason: str) -> None:
    with server(status, body) as address, pytest.raises(UnreachableError, match=reason):
        submit.probe(address)


def test_a_service_with_and_without_a_token_is_recognised() -> None:
    with server(200, b'{"ray_version": "2.60.0"}') as address:
        assert submit.probe(address) is False
    with server(401, b"") as address:
        assert submit.probe(address) is True


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        ("FAILED", None, 1),
        ("FAILED", -9, 1),
        ("FAILED", 127, 1),
        ("STOPPED", None, 3),
        ("STOPPED", -15, 3),
    ],
)
def test_exit_code_is_the_jobs_own(status: str, driver: int | None, code: int) -> None:
    assert submit.exit_code(status, driver) == code


def test_entrypoint_survives_odd_paths() -> None:
    command = submit.entrypoint("/shared/my runs/$x")
    assert command.endswith("distnn_start.py run spec.json --address auto --run-dir '/shared/my runs/$x'")


def test_installed_dependencies_leave_ray_alone() -> None:
    packages = submit.runtime_env("folder", True)["pip"]["packages"]
    assert "numba>=0.62" in packages
    assert not [name for name in packages if name.startswith("ray")]
    assert submit.runtime_env("folder", False) == {"working_dir": "folder"}


def test_bad_requests_do_not_leave_this_machine(small_job: Path) -> None:
    def refused(*options: str) -> str:
        command = [sys.executable, "-m", "jobs", "submit", str(small_job), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert "there is no loss 'mze'" in refused("--set", "training.loss=mze")
    assert "expected an absolute path on the cluster" in refused("--run-dir", "here")
    assert "does not answer: Connection refused" in refused("--address", f"127.0.0.1:{free_port()}")


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A stock `ray start --head` with token authentication; yields the environment of its users."""
    folder = tmp_path_factory.mktemp("head")
    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
        "HOME": str(folder),
        "DISTNN_HOME": str(folder / "distnn"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_TMPDIR": f"/tmp/distnn-test-{os.getpid()}",
    }
    ray = str(Path(sys.executable).with_name("ray"))
    options = ["--port", str(free_port()), "--dashboard-port", str(port), "--num-cpus", "2"]
    for name in ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "ray-client-server-port"):
        options += [f"--{name}", str(free_port())]
    options += ["--temp-dir", environment["RAY_TMPDIR"], "--disable-usage-stats", "--block"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [ray, "start", "--head", *options],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for_port(port, folder / "log")
        yield {**environment, "ADDRESS": f"http://127.0.0.1:{port}"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        shutil.rmtree(environment["RAY_TMPDIR"], ignore_errors=True)


def _wait_for_port(port: int, log: Path) -> None:
    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    assert wait_until(answers, 60, every_s=0.2), log.read_text()


def submitted(
    head: dict[str, str], spec: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs", "submit", str(spec), "--address", head["ADDRESS"], *options]
    return subprocess.run(
        command, cwd=ROOT, env={**head, **environment}, capture_output=True, text=True, timeout=110
    )


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_goes_the_whole_way(head: dict[str, str], small_job: Path, tmp_path: Path) -> None:
    local = tmp_path / "local"
    command = [sys.executable, "-m", "jobs", "run", str(small_job), "--run-dir", str(local)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    done = submitted(head, small_job, "--follow", "--run-dir", str(tmp_path / "far"), RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Epoch 2/2" in done.stdout
    assert (tmp_path / "far" / "model.safetensors").read_bytes() == (local / "model.safetensors").read_bytes()


@pytest.mark.ray
@pytest.mark.slow
def test_a_jobs_failure_comes_back(head: dict[str, str], small_job: Path) -> None:
    (small_job.parent / "mine.py").write_text("def build():\n    return 5\n")
    options = ["--follow", "--json", "--set", "model={factory='mine:build'}"]
    done = submitted(head, small_job, *options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "model.factory: mine:build returned a int, expected a model" in done.stderr
    facts = json.loads(done.stdout)
    assert (facts["status"], facts["exit_code"]) == ("FAILED", 2)


@pytest.mark.ray
@pytest.mark.slow
def test_tokens_are_asked_for(head: dict[str, str], small_job: Path) -> None:
    without = {key: value for key, value in head.items() if not key.startswith("RAY_AUTH")}
    done = submitted(without, small_job)
    assert done.returncode == 2
    assert "wants a token: set RAY_AUTH_TOKEN" in done.stderr
    done = submitted(head, small_job, RAY_AUTH_TOKEN="wrong" * 8)
    assert done.returncode == 2
    assert "refuses the token of this machine" in done.stderr
