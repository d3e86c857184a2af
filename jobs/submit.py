"""`distnn submit`: hand a job to the job service of a Ray cluster, and follow it.

The only file in jobs that imports ray. The service is asked over HTTP; this machine need not be a node of the
cluster, nor run Ray.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shlex
import tempfile
import time
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, TextIO
from urllib import error as url_errors
from urllib import request as url_request

from distnn.errors import EngineError
from jobs import shipment
from jobs.catalog import make_parts
from jobs.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_REQUEST,
    EXIT_STOPPED,
    RequestError,
    UnreachableError,
)
from jobs.remote_start import REQUIREMENTS
from jobs.specfile import SpecFile

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
PROBE_S = 10.0
AGENT_S = 30.0
LOST_CONTACT_S = 120.0
_POLL_S = 1.0


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    address: str | None = None
    run_dir: str | None = None
    follow: bool = False
    install_deps: bool = False
    ship: bool = True


def submit(file: SpecFile, options: Options, *, as_json: bool, out: TextIO, err: TextIO) -> int:
    """Submit, and follow if asked; returns the exit code.

    Raises:
        RequestError: the spec cannot travel, or no job service answers.
    """
    _check(file, options)
    address = normalized_address(options.address)
    needs_token = probe(address)
    client = connect(address, needs_token)
    name = f"{file.spec.name}-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix="distnn-submit-") as folder:
        sent = shipment.stage(file, Path(folder), ship_package=options.ship)
        for remark in sent.remarks:
            err.write(f"distnn: note: {remark}\n")
        request = {
            "entrypoint": entrypoint(options.run_dir),
            "submission_id": name,
            "runtime_env": runtime_env(folder, options.install_deps),
            "metadata": {"distnn_name": file.spec.name, "distnn_digest": sent.digest()},
        }
        _hand_over(client, request, address)
    err.write(f"submitted {name} to {address}\n")
    folder_there = options.run_dir or f"$DISTNN_HOME/runs/{name} (~/.distnn/runs/{name}) on the head node"
    err.write(f"run directory: {folder_there}\n")
    err.flush()
    if options.follow:
        return _follow_or_leave(client, name, address, as_json=as_json, out=out, err=err)
    err.write(f"its log: ray job logs --follow {name} --address {shlex.quote(address)}\n")
    out.write(json.dumps({"submission_id": name, "address": address}) + "\n" if as_json else f"{name}\n")
    return EXIT_DONE


def _hand_over(client: Any, request: dict[str, Any], address: str) -> None:
    """Submit; a cluster that has just started may need some seconds before it takes jobs.

    Raises:
        EngineError: the service does not take the job.
    """
    began = time.monotonic()
    while True:
        try:
            client.submit_job(**request)
            return
        except RuntimeError as error:
            waited_s = time.monotonic() - began
            if "No available agent" not in str(error) or waited_s > AGENT_S:
                reason = f"{_short(str(error))} (waited {waited_s:.1f} s)"
                raise EngineError(f"{address} did not take the job: {reason}") from error
        time.sleep(_POLL_S)


def _check(file: SpecFile, options: Options) -> None:
    """Refuse here what the cluster would refuse in half a minute."""
    _, problems = make_parts(file.spec)
    if problems:
        raise file.fail(problems)
    if options.run_dir is not None and not Path(options.run_dir).is_absolute():
        raise RequestError(
            f"--run-dir {options.run_dir}: expected an absolute path on the cluster, best one that all its "
            "nodes see (Ray deletes the job's own folder)"
        )


def entrypoint(run_dir: str | None) -> str:
    """The shell command that the cluster runs, in the folder that was shipped."""
    arguments = ["run", shipment.SPEC_NAME, "--address", "auto"]
    if run_dir is not None:
        arguments += ["--run-dir", run_dir]
    python = '"$(command -v python || command -v python3)"'
    return f"exec {python} {shipment.START_NAME} {shlex.join(arguments)}"


def runtime_env(folder: str, install_deps: bool) -> dict[str, Any]:
    """What Ray prepares before it runs the command. Ray itself must be what the cluster has."""
    environment: dict[str, Any] = {"working_dir": folder}
    if install_deps:
        packages = [name for name in REQUIREMENTS if not name.startswith("ray")]
        environment["pip"] = {"packages": packages, "pip_check": False}
    return environment


# Reaching the service


def normalized_address(given: str | None) -> str:
    """The service's URL.

    Raises:
        RequestError: for what is no such URL.
    """
    from_environment = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    if given is None and from_environment.startswith(("http://", "https://")):
        given = from_environment
    address = (given or DEFAULT_ADDRESS).rstrip("/")
    if "://" not in address and not address.endswith(":"):
        address = f"http://{address}"
    if not address.startswith(("http://", "https://")):
        raise RequestError(f"--address {given}: expected the job service's URL, such as http://HEAD:8265")
    return address


def probe(address: str, deadline_s: float = PROBE_S) -> bool:
    """Ask who is there; returns whether a token is needed.

    Raises:
        UnreachableError: nobody answers, or somebody who is not Ray's job service.
    """
    began = time.monotonic()
    try:
        with url_request.urlopen(f"{address}/api/version", timeout=deadline_s) as response:
            answer = json.loads(response.read(1 << 16))
        if not isinstance(answer, dict) or "ray_version" not in answer:
            raise ValueError("no version")
        return False
    except url_errors.HTTPError as error:
        if error.code in (401, 403):
            return True
        reason = f"answers with HTTP {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(error, (ValueError, HTTPException)):
            reason = "does not answer as Ray's job service does"
        else:
            cause = getattr(error, "reason", error)
            reason = f"does not answer: {getattr(cause, 'strerror', None) or cause}"
    waited_s = time.monotonic() - began
    raise UnreachableError(
        f"{address} {reason} (waited {waited_s:.1f} s): give the URL that `ray start --head` shows for the "
        "dashboard, such as http://HEAD:8265"
    )


def connect(address: str, needs_token: bool) -> Any:
    """Ray's client for the service.

    Raises:
        RequestError: a token is needed and none is there, or it is refused.
    """
    from cluster.ray_import import has_token

    if needs_token:
        if not has_token():
            raise RequestError(
                f"{address} wants a token: set RAY_AUTH_TOKEN, or put the cluster's token into "
                "~/.ray/auth_token"
            )
        os.environ["RAY_AUTH_MODE"] = "token"
    # Ray prefers these variables to the address it is given.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in ("ray", "ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        raise RequestError(f"{address} refuses the token of this machine: is it the cluster's?") from None
    except (ConnectionError, RuntimeError) as error:
        raise UnreachableError(f"{address}: {str(error).splitlines()[0]}") from None


# Following


def _follow_or_leave(client: Any, name: str, address: str, *, as_json: bool, out: TextIO, err: TextIO) -> int:
    """Follow until the job ends, or until Ctrl-C, which leaves the job alone."""
    try:
        return _follow(client, name, err if as_json else out, err, out if as_json else None)
    except KeyboardInterrupt:
        how = f"ray job stop {name} --address {shlex.quote(address)}"
        err.write(f"\nno longer following; {name} goes on. To stop it: {how}\n")
        return EXIT_INTERRUPTED


def _follow(client: Any, name: str, log: TextIO, err: TextIO, json_out: TextIO | None) -> int:
    """Copy the job's log until it ends; reconnects."""
    shown = 0
    last_contact = time.monotonic()
    while True:
        try:
            shown = asyncio.run(_tail(client, name, log, shown))
            details = client.get_job_info(name)
            last_contact = time.monotonic()
            if details.status.is_terminal():
                break
        except KeyboardInterrupt:
            raise
        except Exception as error:
            silent_s = time.monotonic() - last_contact
            if silent_s > LOST_CONTACT_S:
                err.write(f"distnn: lost contact with the cluster for {silent_s:.0f} s: {error}\n")
                return EXIT_FAILED
        time.sleep(_POLL_S)
    code = exit_code(str(details.status.value), details.driver_exit_code)
    if details.driver_exit_code is None and code != EXIT_DONE:
        err.write(f"distnn: {name} {details.status.value}: {_short(details.message)}\n")
    if json_out is not None:
        facts = {"submission_id": name, "status": details.status.value, "exit_code": code}
        json_out.write(json.dumps(facts, sort_keys=True) + "\n")
    return code


async def _tail(client: Any, name: str, log: TextIO, shown: int) -> int:
    """Write what of the log was not shown yet; a new connection begins at the beginning of the log."""
    seen = 0
    async for text in client.tail_job_logs(name):
        fresh = text[max(0, shown - seen) :]
        seen += len(text)
        log.write(fresh)
        log.flush()
        shown = max(shown, seen)
    return shown


def exit_code(status: str, driver_exit_code: int | None) -> int:
    """The job's own exit code where it has one of ours."""
    if status == "SUCCEEDED":
        return EXIT_DONE
    if status == "STOPPED":
        return EXIT_STOPPED
    ours = (EXIT_FAILED, EXIT_REQUEST, EXIT_STOPPED)
    return driver_exit_code if driver_exit_code in ours else EXIT_FAILED


def _short(message: str | None) -> str:
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
