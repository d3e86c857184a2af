"""What an import brings with it: quick beginnings, and no machinery that was not asked for."""

from __future__ import annotations

import ast
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
        assert name in dir(distnn) and hasattr(distnn, name)
    for name in distnn._SUBMODULES:
        assert getattr(distnn, name) is importlib.import_module(f"distnn.{name}")
    with pytest.raises(AttributeError, match="module 'distnn' has no attribute 'layer'"):
        distnn.layer  # noqa: B018


def test_names_of_the_top_level_are_those_of_the_submodules() -> None:
    assert distnn.Model is distnn.models.Model and distnn.Sequential is distnn.models.Sequential
    assert distnn.Layer is distnn.layers.Layer and distnn.Input is distnn.layers.Input
    assert distnn.Loss is distnn.losses.Loss and distnn.Metric is distnn.metrics.Metric
    assert distnn.Optimizer is distnn.optimizers.Optimizer
    assert distnn.Initializer is distnn.initializers.Initializer
    assert distnn.Regularizer is distnn.regularizers.Regularizer
    assert isinstance(distnn.Input((2,)), distnn.KerasTensor)
    assert distnn.version() == distnn.__version__


def test_what_type_checkers_see_is_what_there_is() -> None:
    """The names under TYPE_CHECKING and those loaded at their first use are two lists of one thing."""
    tree = ast.parse((ROOT / "distnn" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    shown = {
        alias.asname: (str(node.module).removeprefix("distnn."), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == distnn._NAMES


def test_names_that_keras_has_and_distnn_has_not_say_what_to_do() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Variable': .*add_weight"):
        distnn.Variable  # noqa: B018
