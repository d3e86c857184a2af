"""Every example on its real data: the figure it must reach, and the same bytes over Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
WITH_DATA = [
    "fashion_convnet",
    "denoising_autoencoder",
    "spam",
    "temperature",
    "moving_digits",
    "shakespeare",
]
WITHOUT_DATA = ["seq2seq", "cartpole"]
WITH_SPEC = [*WITH_DATA, "seq2seq"]
RAY = ["--backend", "ray", "--workers", "2"]


def succeeds(*command: str) -> None:
    """A program of its own: this process has loaded other things, and a test may have left some."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*WITH_DATA, *WITHOUT_DATA])
def test_example_reaches_its_figure_and_the_same_bytes_over_ray(
    name: str, example_data: Path, tmp_path: Path
) -> None:
    if name == "cartpole":
        pytest.importorskip("gymnasium")
    program, data = str(EXAMPLES / f"{name}.py"), ["--data", str(example_data)] * (name in WITH_DATA)
    here, over_ray = tmp_path / "here.safetensors", tmp_path / "ray.safetensors"
    succeeds(program, *data, "--save", str(here))
    succeeds(program, *data, "--save", str(over_ray), *RAY)
    assert here.read_bytes() == over_ray.read_bytes()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WITH_SPEC)
def test_spec_of_example_gives_the_same_bytes_over_ray(name: str, example_data: Path, tmp_path: Path) -> None:
    spec = ["-m", "jobs", "run", str(EXAMPLES / f"{name}.toml"), "--run-dir"]
    folder = ["--set", f"data.options.folder={example_data}"] * (name in WITH_DATA)
    succeeds(*spec, str(tmp_path / "here"), *folder)
    succeeds(*spec, str(tmp_path / "ray"), *folder, *RAY)
    here, over_ray = (tmp_path / run / "model.safetensors" for run in ("here", "ray"))
    assert here.read_bytes() == over_ray.read_bytes()
