"""A small job, and where runs go in these tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from job_samples import SMALL_JOB


@pytest.fixture
def distnn_home() -> Path:
    """`$DISTNN_HOME` of this test."""
    return Path(os.environ["DISTNN_HOME"])


@pytest.fixture
def small_job(tmp_path: Path) -> Path:
    """A spec that trains for two epochs in one process."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL_JOB)
    return path
