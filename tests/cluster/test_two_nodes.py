"""A cluster of two real nodes: two raylets on this machine, with one worker and two."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from test_ray_engine import wait_until_gone
from test_ray_processes import finish, read_line, start

from jobs.chaos.watch import wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """The program that has begun them."""
    program = start("serve_two_nodes")
    try:
        yield program
    finally:
        program.communicate(timeout=60)  # the end of its input ends it


@pytest.fixture(scope="module")
def two_nodes(server: subprocess.Popen[str]) -> str:
    """The address of their cluster."""
    word, address = read_line(server)
    assert word == "address"
    return address


def wait_for_no_segment(seconds: float = 30.0) -> None:
    """Other programs of this machine may have memory with a name, but none for long."""
    left = partial(Path("/dev/shm").glob, "distnn-shared-*")
    assert wait_until(lambda: not list(left()), seconds), f"{list(left())} was left"


def train(address: str, exchange: str, *rest: str) -> list[str]:
    """What the program says; Ray may say something, too."""
    output, errors = finish(start("train_on_nodes", address, exchange, *rest), 240)
    said = [line for line in output.splitlines() if line.startswith(("nodes ", "exchange ", "same "))]
    assert len(said) == 3 and said[0] == "nodes 1 2 1", output + errors
    return said[1:]


@pytest.mark.parametrize(
    ("exchange", "used"),
    [("auto", "hierarchical"), ("object_store", "object_store")],
)
def test_same_bytes_on_two_nodes(two_nodes: str, exchange: str, used: str) -> None:
    """Both are on one machine, and still two nodes; `auto` knows."""
    assert train(two_nodes, exchange, "60") == [f"exchange {used}", "same True survivors 3"]
    wait_for_no_segment()


@pytest.mark.parametrize(("which", "place"), [("0", "computing"), ("1", "adding"), ("0", "answering")])
def test_a_worker_killed_in_the_middle_of_a_step_changes_no_byte(
    two_nodes: str, which: str, place: str
) -> None:
    """The one that waits for it is released at once; the next generation has one worker on each node."""
    lines = train(two_nodes, "auto", "60", which, place, str(int(signal.SIGKILL)))
    assert lines == ["exchange object_store", "same True survivors 2"]
    wait_for_no_segment()


def test_a_stopped_worker_is_given_up_and_not_the_one_that_waits_for_it(two_nodes: str) -> None:
    lines = train(two_nodes, "hierarchical", "1.5", "1", "computing", str(int(signal.SIGSTOP)))
    assert lines == ["exchange hierarchical", "same True survivors 2"]
    wait_for_no_segment()


def test_whoever_is_stopped_for_a_while_is_waited_for(server: subprocess.Popen[str], two_nodes: str) -> None:
    """The driving process, each raylet and the head of the cluster, for twice the deadline each."""
    deadline_s = 1.5
    program = start("train_until_told", two_nodes, str(deadline_s))
    try:
        assert read_line(program) == ["training", "3"]
        of_ray = psutil.Process(server.pid).children(recursive=True)
        parties = [process for process in of_ray if process.name() in ("raylet", "gcs_server")]
        assert sorted(process.name() for process in parties) == ["gcs_server", "raylet", "raylet"]
        for party in (psutil.Process(program.pid), *parties):
            party.suspend()
            try:
                time.sleep(2 * deadline_s)  # what is to be seen is that nothing comes of it
                assert party.status() == psutil.STATUS_STOPPED
            finally:
                party.resume()
        output, errors = program.communicate(timeout=120)
        assert "same True" in output.splitlines(), output + errors
    finally:
        program.kill()
    wait_for_no_segment()


def test_ctrl_c_and_a_killed_coordinator_leave_nothing(two_nodes: str) -> None:
    program = start("train_for_ever", two_nodes, "3")
    try:
        word, *pids = read_line(program)
        assert word == "training" and len(pids) == 3
        os.killpg(program.pid, signal.SIGINT)
        word, _, is_whole, has_same_workers = read_line(program)
        assert (word, is_whole, has_same_workers) == ("interrupted", "True", "True")
        wait_for_no_segment()
        program.kill()
        program.communicate(timeout=10)
        wait_until_gone([int(pid) for pid in pids])
        wait_for_no_segment()
    finally:
        program.kill()
