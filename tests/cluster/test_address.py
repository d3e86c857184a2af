"""Addresses of clusters: what is understood, what is refused, and how long a dead one is waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import address as module
from cluster.address import Address, find_address, wait_for_port
from distnn.errors import ClusterUnreachableError
from jobs.chaos.watch import wait_until


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10.0.0.1:6379", Address("10.0.0.1", 6379)),
        ("head", Address("head", 6379)),
        ("head.example:7000", Address("head.example", 7000)),
    ],
)
def test_find_address_understands(given: str, expected: Address) -> None:
    assert find_address(given) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("http://head:8265", "distnn submit SPEC --address http://head:8265"),
        ("ray://head:10001", "Ray Client"),
        ("head:port", "HOST:PORT"),
        ("head:0", "HOST:PORT"),
        (":6379", "HOST:PORT"),
        ("", "HOST:PORT"),
    ],
)
def test_find_address_refuses(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_address(given)


def test_auto_takes_the_environments_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:7000")
    assert find_address("auto") == Address("10.0.0.1", 7000)


def test_auto_takes_the_only_cluster_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(module, "local_clusters", lambda: {"10.0.0.1:7000"})
    assert find_address("auto") == Address("10.0.0.1", 7000)


@pytest.mark.parametrize(
    ("clusters", "words"), [(set(), "no Ray cluster has a node"), ({"a:1", "b:2"}, "several .*a:1, b:2")]
)
def test_auto_refuses_to_guess(monkeypatch: pytest.MonkeyPatch, clusters: set[str], words: str) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(module, "local_clusters", lambda: clusters)
    with pytest.raises(ClusterUnreachableError, match=words):
        find_address("auto")


def test_own_names_mean_the_same_address() -> None:
    own = [info for info in ("localhost", "127.0.0.1", socket.gethostname()) if _resolves(info)]
    for name in own:
        assert Address(name, 6379).is_same("127.0.0.1:6379")
    assert not Address("127.0.0.1", 6379).is_same("127.0.0.1:6380")
    assert not Address("127.0.0.1", 6379).is_same("203.0.113.7:6379")


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def test_local_clusters_reads_the_raylets_command_lines(tmp_path: Path) -> None:
    raylet = tmp_path / "raylet"
    raylet.symlink_to(sys.executable)
    process = subprocess.Popen(
        [str(raylet), "-c", "input()", "--gcs-address=203.0.113.7:7000"],
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONHOME": sys.base_prefix},
    )
    try:
        assert wait_until(lambda: "203.0.113.7:7000" in module.local_clusters(), 10)
        assert Address("203.0.113.7", 7000).is_on_this_node()
    finally:
        process.communicate(b"\n", timeout=10)


def test_wait_for_port_finds_a_listener(listener: int) -> None:
    assert wait_for_port(Address("127.0.0.1", listener), 5.0) < 5.0


def test_wait_for_port_tells_address_and_seconds(free_port: int) -> None:
    began = time.monotonic()
    words = rf"127\.0\.0\.1:{free_port}: Connection refused \(waited 0\.\d s\)"
    with pytest.raises(ClusterUnreachableError, match=words):
        wait_for_port(Address("127.0.0.1", free_port), 0.3)
    assert time.monotonic() - began < 2.0
