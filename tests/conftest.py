"""Fixtures for all tests: a home of their own, seeded data, no bytes left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# The first example may compile a kernel; the same examples in every run.
settings.register_profile("distnn", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("distnn")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, a file is run by one process, and by one in turn all files that start Ray.

    Tests there look at shared memory, and at the processes of this machine, as a whole.
    """
    from xdist.scheduler import LoadScopeScheduling

    @cache
    def group(path: str) -> str:
        starts_ray = "cluster/" in path or "mark.ray" in (config.rootpath / path).read_text()
        return "ray" if starts_ray else path

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid.partition("::")[0])

    return Scheduling(config, log)


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
