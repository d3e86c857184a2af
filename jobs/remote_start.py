"""What a submitted job runs first on the cluster: are Python and the libraries there? Then `distnn run`.

It travels as `distnn_start.py` beside the spec and is run as a script, so it uses the standard library only
until all is found to be there. What is missing is told in one line, with exit code 2.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from importlib import metadata

REQUIREMENTS = (
    "numpy>=2.0,<2.6",
    "numba>=0.62",
    "pydantic>=2.9",
    "safetensors>=0.5",
    "ray>=2.50",
    "click>=8.1",
    "rich>=13",
    "threadpoolctl>=3.5",
    "psutil>=6",
)
"""As in pyproject.toml (a test holds them equal)."""

MIN_PYTHON = (3, 11)
RESTARTED_VARIABLE = "DISTNN_START_PYTHON"


def problems() -> list[str]:
    """What this Python lacks."""
    found = []
    if sys.version_info < MIN_PYTHON:
        found.append(f"Python {'.'.join(map(str, MIN_PYTHON))} or newer (here: {sys.version.split()[0]})")
    for requirement in REQUIREMENTS:
        name = re.split(r"[<>=]", requirement)[0]
        version = _version(name)
        if version is None:
            found.append(name)
        elif not satisfies(version, requirement.removeprefix(name)):
            found.append(f"{requirement} (here: {version})")
    return found


def satisfies(version: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as `>=2.0,<2.6`; only the leading numbers count."""
    have = _numbers(version)
    for bound in filter(None, bounds.split(",")):
        limit = _numbers(bound.lstrip("<>="))
        if (bound.startswith(">=") and have < limit) or (bound.startswith("<") and have >= limit):
            return False
    return True


def clusters_python() -> str | None:
    """The Python that Ray itself runs in here, found through the process that started this job.

    `python` on the PATH of a Ray that was started as /some/venv/bin/ray may be another one.
    """
    pid = os.getppid()
    for _ in range(5):
        try:
            with open(f"/proc/{pid}/maps") as maps:
                match = re.search(r"(/\S+)/lib/python[\d.]+/site-packages/ray/_raylet", maps.read())
            with open(f"/proc/{pid}/stat") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
        if match:
            python = f"{match.group(1)}/bin/python"
            return python if os.access(python, os.X_OK) else None
    return None


def submission_id() -> str | None:
    """What Ray calls this job."""
    try:
        config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        name = config["metadata"]["job_submission_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(name)


def main(arguments: list[str]) -> None:
    """Check, then become `distnn ARGUMENTS`; the run is named after the submission unless told otherwise."""
    missing = problems()
    other = clusters_python() if missing else None
    if other is not None and RESTARTED_VARIABLE not in os.environ and other != sys.executable:
        os.environ[RESTARTED_VARIABLE] = other
        os.execv(other, [other, *sys.argv])
    if missing:
        _refuse(
            f"missing on the cluster: {', '.join(missing)} ({sys.executable}); install it there, or submit "
            "with --install-deps"
        )
    if importlib.util.find_spec("jobs") is None:
        _refuse(f"distnn is not installed on the cluster ({sys.executable}): submit without --no-ship")
    from jobs.cli import main as distnn
    from jobs.rundir import run_root

    name = submission_id()
    if name is not None and "--run-dir" not in arguments:
        arguments = [*arguments, "--run-dir", str(run_root() / name)]
    sys.argv = ["distnn", *arguments]
    distnn()


def _refuse(message: str) -> None:
    print(f"distnn: {message}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


if __name__ == "__main__":
    main(sys.argv[1:])
