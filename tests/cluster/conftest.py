"""One embedded Ray for all tests that need one, and shared memory that nobody else uses."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.exchange import segment as segments

if TYPE_CHECKING:
    from cluster.connect import Connection


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Connection]:
    """Engines made while it lives share it, so that each costs its actors only."""
    from cluster.connect import connect

    connection = connect(None, workers=2)
    yield connection
    connection.close()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's segments are made, unseen by other programs; empty in the end."""
    path = Path(tempfile.mkdtemp(prefix="distnn-test-", dir=segments.FOLDER))
    monkeypatch.setattr(segments, "FOLDER", path)
    yield path
    left = list(path.iterdir())
    shutil.rmtree(path)
    assert not left
