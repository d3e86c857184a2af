"""Fixtures for all tests: a home of their own, seeded data, no bytes left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from cluster.connect import Connection

# The first example may compile a kernel; the same examples in every run.
settings.register_profile("distnn", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("distnn")


@cache
def _group(path: Path) -> str:
    """Of tests that one process runs, one after the other: a file, or all files that start Ray.

    Those of the cluster look at shared memory, and at the processes of this machine, as a whole; those of
    jobs and of models share theirs with nobody.
    """
    if path.parent.name == "cluster":
        return "cluster"
    return "ray" if "mark.ray" in path.read_text() else str(path)


_LONG = ("cluster", "ray")
"""Groups that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first; with `-n`, two processes begin with a group each."""
    order = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: order.get(_group(item.path), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, groups are given out in the order of their first tests."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(config.rootpath / nodeid.partition("::")[0])

    config.option.loadscopereorder = False  # it would begin with the most tests
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Connection]:
    """An embedded Ray: engines made while it lives share it, so that each costs its actors only."""
    from cluster.connect import connect

    connection = connect(None, workers=2)
    yield connection
    connection.close()


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs go to a temporary home; the user's kernel cache is kept, since compiling takes long."""
    cache = os.environ.get("DISTNN_CACHE_DIR") or str(Path.home() / ".cache" / "distnn" / "kernels")
    monkeypatch.setenv("DISTNN_CACHE_DIR", cache)
    monkeypatch.setenv("DISTNN_HOME", str(tmp_path_factory.mktemp("home")))
    yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run of the test."""
    return np.random.default_rng(20240607)
