"""The README's program runs as printed, with the accuracy it shows, on any backend."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(marker: str, language: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```{language}\n(.*?)```", README, re.S)
    assert found is not None, marker
    return found.group(1)


def figures(text: str) -> tuple[list[str], list[float]]:
    """The lines without their numbers, and the accuracies in them; times and rates are the machine's."""
    accuracies = [float(value) for value in re.findall(r"accuracy\S*: ([\d.]+)", text)]
    accuracies += [float(value) for value in re.findall(r"digits: ([\d.]+)", text)]
    return [re.sub(r"\d[\d.,]*(?:us|ms|s)?\b", "N", line) for line in text.splitlines()], accuracies


def test_the_program_prints_what_the_readme_shows(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(block("program", "python"))
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    shown, printed = figures(block("output", "text")), figures(result.stdout)
    assert printed[0] == shown[0]
    # Where BLAS computes the products it may round differently; the figures stay.
    assert printed[1] == pytest.approx(shown[1], abs=0.02)


def test_the_program_is_short() -> None:
    assert len(block("program", "python").splitlines()) <= 20
