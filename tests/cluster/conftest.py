"""Shared memory that nobody else uses."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.exchange import segment as segments


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's segments are made, unseen by other programs; empty in the end."""
    path = Path(tempfile.mkdtemp(prefix="distnn-test-", dir=segments.FOLDER))
    monkeypatch.setattr(segments, "FOLDER", path)
    yield path
    left = list(path.iterdir())
    shutil.rmtree(path)
    assert not left
