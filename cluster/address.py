"""Addresses of Ray clusters: what the user may give, whether anybody listens there, whether we are a node.

It asks the operating system only, so that a wrong address is told in seconds: `ray.init` may wait for a
minute.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

import psutil

from distnn.errors import ClusterUnreachableError

DEFAULT_PORT = 6379
REFUSED_PATIENCE_S = 3.0
"""A refused connection is an answer; only a cluster that is just starting makes waiting worthwhile."""


@dataclass(frozen=True)
class Address:
    """Host and port of a cluster's head (its GCS)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def is_same(self, other: str) -> bool:
        """Whether `other` (`host:port`) is this address, by name or number."""
        host, _, port = other.rpartition(":")
        if port != str(self.port):
            return False
        return host == self.host or bool(_numbers(host) & _numbers(self.host))

    def is_on_this_node(self) -> bool:
        """Whether a raylet of this cluster runs on this machine."""
        return any(self.is_same(address) for address in local_clusters())


def find_address(given: str) -> Address:
    """The address meant by what the user gave: `host:port`, `host`, or `auto`.

    Raises:
        ValueError: if it is no address of a cluster's head.
        ClusterUnreachableError: `auto`, and there is no cluster, or more than one.
    """
    if given == "auto":
        return _automatic()
    if given.startswith(("http://", "https://")):
        raise ValueError(
            f"{given} is the address of a job service: use `distnn submit SPEC --address {given}`, or give "
            "the HOST:PORT of a cluster that this machine is a node of"
        )
    if "://" in given:
        raise ValueError(
            f"{given}: Ray Client is not used; give the HOST:PORT of a cluster that this machine is a node "
            "of, or use `distnn submit` from elsewhere"
        )
    host, separator, port = given.rpartition(":")
    if not separator:
        host, port = given, str(DEFAULT_PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"not an address: {given!r}. Expected HOST:PORT, such as 10.0.0.1:{DEFAULT_PORT}")
    return Address(host, int(port))


def _automatic() -> Address:
    from_environment = os.environ.get("RAY_ADDRESS", "")
    if from_environment and from_environment != "auto":
        return find_address(from_environment)
    found = sorted(local_clusters())
    if len(found) == 1:
        return find_address(found[0])
    if not found:
        raise ClusterUnreachableError(
            "address 'auto': no Ray cluster has a node on this machine, and RAY_ADDRESS is not set"
        )
    raise ClusterUnreachableError(
        f"address 'auto': several Ray clusters have a node on this machine ({', '.join(found)}); give one"
    )


def local_clusters() -> set[str]:
    """Head addresses of the clusters that have a raylet on this machine."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or ()
        if command and os.path.basename(command[0]) == "raylet":
            found |= {
                argument.removeprefix("--gcs-address=")
                for argument in command
                if argument.startswith("--gcs-address=")
            }
    return found


def wait_for_port(address: Address, deadline_s: float) -> float:
    """Wait until somebody listens at `address`; returns the seconds waited.

    Raises:
        ClusterUnreachableError: nobody did within `deadline_s` (or refused for a few seconds).
    """
    began = time.monotonic()
    while True:
        waited_s = time.monotonic() - began
        try:
            socket.create_connection((address.host, address.port), max(0.1, deadline_s - waited_s)).close()
            return time.monotonic() - began
        except OSError as error:
            problem, refused = error, isinstance(error, ConnectionRefusedError)
        waited_s = time.monotonic() - began
        if waited_s >= (min(deadline_s, REFUSED_PATIENCE_S) if refused else deadline_s):
            raise ClusterUnreachableError(
                f"no Ray cluster answers at {address}: {problem.strerror or problem} "
                f"(waited {waited_s:.1f} s)"
            ) from problem
        time.sleep(0.2)


def _numbers(host: str) -> set[str]:
    """The IP addresses of `host`; for this machine's own, all that mean this machine."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
    mine = {address.address for group in psutil.net_if_addrs().values() for address in group}
    return found | mine if found & mine else found
