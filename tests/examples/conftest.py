"""Examples as tests run them: the program in this process, and its spec, each to the weights it ends with."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distnn.checkpoint import load_tensors
from jobs.build import Placement
from jobs.runner import run_spec

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DATA_VARIABLE = "DISTNN_EXAMPLE_DATA"

Weights = dict[str, bytes]


def weights_of(model: Path) -> Weights:
    """The bytes of each tensor in a saved model."""
    tensors, _ = load_tensors(model)
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


@pytest.fixture
def example_data() -> Path:
    """The folder with the examples' data, if the user has it."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{DATA_VARIABLE} names no folder with the examples' data (docs/examples.md)")
    return Path(folder)


@pytest.fixture
def train_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Weights]:
    """`train_program(NAME, *arguments, **constants)` runs `examples/NAME.py`, with other constants in it."""

    def train(name: str, *arguments: str, **constants: Any) -> Weights:
        module = importlib.import_module(name)
        saved = tmp_path / "program.safetensors"
        with monkeypatch.context() as patch:
            for constant, value in constants.items():
                patch.setattr(module, constant, value)
            patch.setattr(sys, "argv", [f"{name}.py", *arguments, "--save", str(saved)])
            module.main()
        return weights_of(saved)

    return train


@pytest.fixture
def train_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Weights]:
    """`train_spec(NAME, *overrides)` runs `examples/NAME.toml`, as `distnn run` does."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def train(name: str, *overrides: str, placement: Placement | None = None) -> Weights:
        spec, run_dir = EXAMPLES / f"{name}.toml", tmp_path / "run"
        done = run_spec(
            str(spec), overrides=overrides, placement=placement, run_dir=str(run_dir), err=sys.stderr
        )
        assert done.exit_code == 0
        return weights_of(done.run.model)

    return train
