"""The repository as a whole: what the README promises, types, style, and links that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MARKDOWN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def command_after(marker: str) -> str:
    text = (ROOT / "README.md").read_text()
    section = text.split(f"<!-- {marker} -->")[1]
    block = re.search(r"```(?:bash|sh)\n(.*?)```", section, re.S)
    assert block is not None
    return block.group(1).strip()


@pytest.mark.parametrize("marker", ["main job", "tests"])
def test_each_set_up_command_is_one_line_with_its_own_environment(marker: str) -> None:
    command = command_after(marker)
    assert "\n" not in command
    assert command.startswith("python3 -m venv ")
    assert "sudo" not in command


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "<!-- tests -->" in script and 'eval "$command"' in script
    assert "pytest" in command_after("tests")


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_links_lead_to_files_that_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.timeout(300)
def test_types_are_whole() -> None:
    pytest.importorskip("mypy")
    result = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_style(arguments: list[str]) -> None:
    pytest.importorskip("ruff")
    command = [sys.executable, "-m", "ruff", *arguments, "."]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
