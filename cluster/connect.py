"""Starting Ray on this machine, or joining a cluster, and leaving again. It creates no workers.

Several engines of a process share one connection; who leaves last ends what we began. A connection that the
program itself made with `ray.init` is used and left alone.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cluster.address import find_address, wait_for_port
from cluster.lean_start import lean_start
from cluster.ray_import import environment, has_token, ray
from cluster.session_folder import SessionFolder
from distnn.errors import ClusterUnreachableError, EngineError

logger = logging.getLogger("distnn.cluster")

CONNECT_DEADLINE_S = 20.0
SHARED_MEMORY = Path("/dev/shm")
MAX_OBJECT_FILES_BYTES = 10 << 30
"""Of Ray's objects where they lie in files; as Ray itself has it."""
_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray's job service in the processes of a job."""


@dataclass
class _Held:
    """The connection of this process, and how many engines use it.

    `is_ours`: we called `ray.init`, so we call `ray.shutdown`. `is_embedded`: Ray was started for us alone.
    """

    is_ours: bool
    is_embedded: bool
    users: int = 0
    folder: SessionFolder | None = None


_token = secrets.token_hex(32)
"""Of every embedded Ray of this process; Ray reads it once."""
_lock = threading.Lock()
_held: _Held | None = None


@dataclass(frozen=True)
class Connection:
    """A use of this process's connection to Ray."""

    is_embedded: bool

    def close(self) -> None:
        _leave()


def connect(address: str | None, workers: int, deadline_s: float = CONNECT_DEADLINE_S) -> Connection:
    """Join the cluster at `address`, or start Ray on this machine.

    Without an address a training stays on this machine, in an embedded Ray of its own: neither `RAY_ADDRESS`
    (often exported in a shell for other things) nor another Ray on the machine (a colleague's) is taken up
    silently. `address="auto"` asks for them. There are two exceptions, where the program has said already
    which cluster it means: it called `ray.init` itself, or it runs as a Ray job.

    Args:
        address: `host:port` of a cluster that this machine is a node of, `auto`, or None.
        workers: how many processes an embedded Ray gets ready for.
        deadline_s: how long to wait for a cluster to answer.

    Raises:
        ClusterUnreachableError: nothing answers there, or this machine is not a node of that cluster.
        EngineError: Ray could not be started, or the process is connected elsewhere already.
    """
    global _held
    with _lock:
        if _held is not None and not ray.is_initialized():
            _held = None  # the program called ray.shutdown itself
        if _held is None and ray.is_initialized():
            _held = _Held(is_ours=False, is_embedded=False)
        if _held is None:
            if address is None and _JOB_VARIABLE in os.environ:
                address = "auto"
            _held = _start(workers) if address in (None, "local") else _join(str(address), deadline_s)
            atexit.register(_leave_at_exit)
        elif address not in (None, "auto", "local"):
            _check_same(str(address), deadline_s)
        _held.users += 1
        return Connection(_held.is_embedded)


def _leave() -> None:
    global _held
    with _lock:
        if _held is None:
            return
        _held.users -= 1
        if _held.users <= 0:
            held, _held = _held, None
            _end(held)


def _leave_at_exit() -> None:
    global _held
    with _lock:
        held, _held = _held, None
    if held is not None:
        _end(held)


def _end(held: _Held) -> None:
    if held.is_ours and ray.is_initialized():
        ray.shutdown()
    if held.folder is not None:
        held.folder.remove()


# Embedded


def _start(workers: int) -> _Held:
    folder = SessionFolder()
    variables: dict[str, str | None] = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if not has_token():
        # Otherwise Ray writes one into the home, which may be read-only.
        variables["RAY_AUTH_TOKEN"] = _token
    try:
        with environment(**variables), lean_start():
            _init(
                address="local",
                num_cpus=max(1, workers),
                include_dashboard=False,
                _temp_dir=str(folder.path),
                **_object_store(folder.path),
            )
    except BaseException as error:
        folder.remove()
        if not isinstance(error, Exception):
            raise
        raise EngineError(f"Ray could not be started on this machine: {_first_line(error)}") from error
    logger.info("started Ray on this machine for %d workers", workers)
    return _Held(is_ours=True, is_embedded=True, folder=folder)


def _object_store(folder: Path) -> dict[str, Any]:
    """Where there is no shared memory Ray does not start unless it is told where else to keep objects."""
    if SHARED_MEMORY.is_dir():
        return {}
    size = min(int(psutil.virtual_memory().available * 0.3), MAX_OBJECT_FILES_BYTES)
    return {"_plasma_directory": str(folder), "object_store_memory": size}


def _init(**arguments: Any) -> None:
    """`ray.init` without its talk, and with the program's own handler of SIGTERM left in place.

    Where the program has none, Ray's is welcome: it exits, so that everything is taken down in order.
    """
    with _kept_sigterm_handler():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **arguments)


@contextmanager
def _kept_sigterm_handler() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler not in (None, signal.SIG_DFL):
            signal.signal(signal.SIGTERM, handler)


# Joining


def _join(address: str, deadline_s: float) -> _Held:
    found = find_address(address)
    waited_s = wait_for_port(found, deadline_s)
    if not found.is_on_this_node():
        raise ClusterUnreachableError(
            f"this machine is not a node of the Ray cluster at {found}: from here, submit the run with "
            f"`distnn submit SPEC --address http://{found.host}:8265`"
        )
    try:
        # The port answers: whatever fails now does not get better by waiting for long.
        with environment(RAY_gcs_server_port_wait_time_s="3"):
            _init(address=str(found))
    except Exception as error:
        raise _why_not_joined(str(found), error, waited_s) from error
    logger.info("joined the Ray cluster at %s", found)
    return _Held(is_ours=True, is_embedded=False)


def _why_not_joined(address: str, error: BaseException, waited_s: float) -> EngineError:
    text = f"{error} {error.__cause__}"
    if "AuthToken" in text or "AuthenticationError" in text:
        return EngineError(
            f"the Ray cluster at {address} wants a token, and the one given is missing or wrong: set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or put the token into ~/.ray/auth_token)"
        )
    return ClusterUnreachableError(
        f"the Ray cluster at {address} answered after {waited_s:.1f} s but could not be joined: "
        f"{_first_line(error)}"
    )


def _check_same(address: str, deadline_s: float) -> None:
    current = str(ray.get_runtime_context().gcs_address)
    found = find_address(address)
    if not found.is_same(current):
        raise EngineError(
            f"this process uses the Ray at {current} already and cannot join the one at {found}: close the "
            "models that use it (`model.close()`), or start another process"
        )


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
