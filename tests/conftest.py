"""Fixtures for all tests: a home of their own, seeded data, no bytes left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The first example may compile a kernel; the same examples in every run.
settings.register_profile("distnn", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("distnn")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n`, what starts Ray runs in one process, in turn: shared memory is looked at as a whole."""
    for item in items:
        if item.get_closest_marker("ray") or "cluster" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("ray"))


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
