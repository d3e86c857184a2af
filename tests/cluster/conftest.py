"""One embedded Ray for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cluster.connect import Connection


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Connection]:
    """Engines made while it lives share it, so that each costs its actors only."""
    from cluster.connect import connect

    connection = connect(None, workers=2)
    yield connection
    connection.close()
