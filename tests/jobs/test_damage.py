"""Every file of a run damaged in turn: the same bytes in the end, or a refusal that names the file."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crashes import dying_in_step, in_child, is_killed
from job_samples import SMALL_JOB

from jobs import journal, ownership
from jobs.errors import EXIT_DONE
from jobs.rundir import RunDir
from jobs.runner import resume_run, run_spec

OPTIONS = ("checkpoint.every_steps=9", "checkpoint.keep=4")
MAY_BE_REFUSED = {"spec.json", "recipe.json"}
"""What says which training this is; all else can be made again."""


def missing(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def truncated(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])


def overwritten(file: Path) -> None:
    file.write_bytes(b"\x00\xff garbage \n" * 20)


def flipped_at(share: float) -> Callable[[Path], None]:
    def flipped(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[int(share * (len(data) - 1))] ^= 1
        file.write_bytes(data)

    return flipped


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": missing,
    "empty": empty,
    "truncated": truncated,
    "overwritten": overwritten,
    **{f"a bit at {share}": flipped_at(share) for share in (0.2, 0.5, 1.0)},
}
FILES = (
    "spec.json",
    "recipe.json",
    "events.jsonl",
    "metrics.jsonl",
    "status.json",
    "steps.bin",
    "the oldest checkpoint",
    "the newest checkpoint",
)
RESULTS = ("spec.json", "recipe.json", "status.json", "steps.bin", "digests.json", "model.safetensors")
LEFT = ("spec.json", "recipe.json", "steps.bin", "digests.json", "model.safetensors")
"""What must be as the unbroken run left it."""


def run(spec: Path, place: RunDir) -> int:
    return run_spec(str(spec), overrides=OPTIONS, run_dir=str(place.path), err=io.StringIO()).exit_code


@pytest.fixture(autouse=True)
def _short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lock says nothing, nobody beats here."""
    monkeypatch.setattr(ownership, "WATCH_S", 0.1)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "small.toml"
    path.write_text(SMALL_JOB)
    return path


@pytest.fixture(scope="module")
def unbroken(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    place = RunDir(tmp_path_factory.mktemp("unbroken") / "run")
    assert run(spec, place) == EXIT_DONE
    return place


@pytest.fixture(scope="module")
def killed(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The same training, killed in step 38: checkpoints at 9, 18, 27, and at 36 if it was quick."""
    place = RunDir(tmp_path_factory.mktemp("killed") / "run")

    def work() -> None:
        dying_in_step(38)
        run(spec, place)

    assert is_killed(in_child(work))
    assert place.checkpoint_steps()[:3] == [9, 18, 27]
    return place


def file_of(place: RunDir, name: str) -> Path:
    steps = place.checkpoint_steps()
    if name == "the oldest checkpoint":
        return place.checkpoint(steps[0])
    return place.checkpoint(steps[-1]) if name == "the newest checkpoint" else place.path / name


def copied(source: RunDir, to: Path) -> RunDir:
    return RunDir(Path(shutil.copytree(source.path, to / "run")))


def epochs_of(place: RunDir) -> list[int]:
    return [line["epoch"] for line in journal.read(place.metrics).records if line["kind"] == "epoch"]


def goes_on(place: RunDir, unbroken: RunDir, file: Path) -> str:
    """What was said on the way to the same bytes, or the refusal."""
    err = io.StringIO()
    before = {path: path.read_bytes() for path in (place.steps, place.recipe) if path.is_file()}
    try:
        outcome = resume_run(place, err=err)
    except ValueError as refusal:
        assert file.name in MAY_BE_REFUSED
        assert str(file) in str(refusal)
        assert len(str(refusal).splitlines()) == 1
        assert {path: path.read_bytes() for path in before} == before, "nothing was touched"
        return str(refusal)
    assert outcome.exit_code == EXIT_DONE, err.getvalue()
    for name in LEFT:
        assert (place.path / name).read_bytes() == (unbroken.path / name).read_bytes(), name
    return err.getvalue() + place.events.read_text(errors="replace")


@pytest.mark.parametrize("name", FILES)
def test_a_killed_run_with_a_damaged_file_goes_on_or_is_refused(
    tmp_path: Path, killed: RunDir, unbroken: RunDir, name: str
) -> None:
    for damage, apply in DAMAGES.items():
        place = copied(killed, tmp_path / damage)
        file = file_of(place, name)
        apply(file)
        said = goes_on(place, unbroken, file)
        is_used = name not in ("status.json", "the oldest checkpoint")
        is_used &= (name, damage) != ("steps.bin", "a bit at 1.0")  # beyond the checkpoint, and cut
        is_journal_cut = name == "events.jsonl" and damage == "truncated"  # perhaps between two lines
        assert not is_used or file.name in said or is_journal_cut, damage


@pytest.mark.parametrize("name", RESULTS)
def test_a_finished_run_with_a_damaged_file_is_finished_again_or_refused(
    tmp_path: Path, unbroken: RunDir, name: str
) -> None:
    for damage in ("missing", "truncated", "a bit at 0.5"):
        place = copied(unbroken, tmp_path / damage)
        file = file_of(place, name)
        DAMAGES[damage](file)
        said = goes_on(place, unbroken, file)
        assert name == "status.json" or name in said, damage


def test_missing_folders_are_made_again(tmp_path: Path, killed: RunDir, unbroken: RunDir) -> None:
    place = copied(killed, tmp_path)
    shutil.rmtree(place.checkpoints)
    shutil.rmtree(place.logs)
    said = goes_on(place, unbroken, place.checkpoints)
    assert "there is no checkpoint left to go on from: the run begins again at step 0" in said
    assert epochs_of(place) == [0, 1]


def test_the_spec_itself_mends_a_run_without_spec_and_recipe(
    tmp_path: Path, spec: Path, killed: RunDir, unbroken: RunDir
) -> None:
    place = copied(killed, tmp_path)
    place.spec.write_text("{}")
    place.recipe.unlink()
    assert run(spec, place) == EXIT_DONE
    for name in LEFT:
        assert (place.path / name).read_bytes() == (unbroken.path / name).read_bytes(), name


def test_another_spec_is_refused_even_if_the_recipe_is_lost(
    tmp_path: Path, spec: Path, killed: RunDir
) -> None:
    place = copied(killed, tmp_path)
    place.recipe.unlink()
    place.spec.unlink()
    other = tmp_path / "other.toml"
    other.write_text(SMALL_JOB.replace("units = 16", "units = 17"))
    with pytest.raises(ValueError, match="holds another run .*recipe.json is missing or damaged"):
        run(other, place)
