"""Whether this installation is whole: the three packages side by side, and which version they are."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

from jobs.errors import RequestError

PACKAGES = ("distnn", "cluster", "jobs")


def package_folder(name: str) -> Path | None:
    """Where Python would import `name` from, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    locations = list(spec.submodule_search_locations or ())
    place = locations[0] if locations else spec.origin
    return None if place is None else Path(place).resolve()


def check_packages() -> Path:
    """The folder that holds distnn, cluster and jobs.

    Raises:
        RequestError: one of them is missing, or another package of that name comes before it.
    """
    root = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        found = package_folder(name)
        if found is None:
            raise RequestError(
                f"the package '{name}' is missing beside {root / 'jobs'}: install distnn again"
            )
        if found != root / name:
            raise RequestError(
                f"another package '{name}' at {found} hides distnn's own in {root}: remove it from the "
                "Python path (PYTHONPATH, or the current folder), or rename it"
            )
    return root


def program() -> str:
    """How the user calls the `distnn` command: by name if the shell finds this one, else as it was called."""
    called = Path(sys.argv[0])
    if called.name != "distnn":
        return "distnn"
    found = shutil.which("distnn")
    if found is not None and Path(found).resolve() == called.resolve():
        return "distnn"
    return shlex.quote(str(called))


def version() -> str:
    """The installed version; for a copy without metadata, that of pyproject.toml beside it or 'unknown'."""
    from importlib import metadata

    try:
        return metadata.version("distnn")
    except metadata.PackageNotFoundError:
        return "unknown (a copy that was not installed)"
