"""What an import brings with it: quick beginnings, and no machinery that was not asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import distnn

ROOT = Path(__file__).parent.parent

TRAIN = """
import numpy as np
from distnn.models import Sequential
from distnn.layers import Dense
model = Sequential([Dense(2)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0{place})
model.predict(np.ones((8, 3)))
model.close()
"""


def modules_after(code: str) -> set[str]:
    """Names of what is loaded in a fresh process after `code`."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_next_to_nothing() -> None:
    loaded = modules_after("import distnn")
    assert not loaded & {"numba", "numpy", "ray", "pydantic", "rich", "click", "cluster", "jobs"}
    assert {name for name in loaded if name.startswith("distnn")} == {"distnn"}


@pytest.mark.parametrize("place", ["", ', backend="threads"'], ids=["local", "threads"])
def test_training_in_one_process_needs_no_cluster(place: str) -> None:
    loaded = modules_after(TRAIN.format(place=place))
    assert not loaded & {"ray", "pydantic", "click", "cluster", "jobs"}


def test_what_the_package_names_is_there() -> None:
    for name in distnn.__all__:
        assert name in dir(distnn)
        if name != "__version__":
            assert getattr(distnn, name) is importlib.import_module(f"distnn.{name}")
    with pytest.raises(AttributeError, match="module 'distnn' has no attribute 'layer'"):
        distnn.layer  # noqa: B018
