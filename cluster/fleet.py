"""Whether the workers are alike enough for the promise of equal bytes: same package, same arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import distnn.models  # noqa: F401  (before distnn.recipe, which needs it to be there)
from distnn.recipe import arithmetic_facts as arithmetic_facts
from distnn.recipe import differences

_ROOT = Path(__file__).resolve().parent.parent


def _digest_of_packages() -> str:
    digest = hashlib.blake2b(digest_size=16)
    for package in ("distnn", "cluster"):
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


PACKAGE_DIGEST = _digest_of_packages()
"""Of the source of distnn and cluster, taken as this process imports them: files may change later."""


def other_version_message(hosts: list[str], is_here: bool) -> str:
    """For workers whose package differs from the coordinator's.

    Args:
        hosts: where they run.
        is_here: whether one of them is this very machine, which reads the same files.
    """
    if is_here:
        return (
            "the files of distnn have changed since this program started, so that its workers would compute "
            "with other code than it does: start the program again"
        )
    return (
        f"another version of distnn is installed on {', '.join(sorted(set(hosts)))} than here: install the "
        "same one on every node, or use `distnn submit`, which ships its own"
    )


def mixed_fleet_message(mine: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> str | None:
    """A warning if `distnn.recipe.arithmetic_facts` differ between hosts; None if they agree."""
    found = {host: differences(mine, facts) for host, facts in sorted(others.items())}
    told = "; ".join(f"{host}: {', '.join(lines)}" for host, lines in found.items() if lines)
    if not told:
        return None
    return (
        f"the cluster's machines compute differently ({told}): the last bit of the weights may depend on "
        "which of them computes what"
    )
