"""Workers that share memory: the bytes of any engine, whatever happens at any place of a step.

The workers are threads of this process here; `test_shared_memory_processes.py` has real ones.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cases import make_training, reference, run
from crews import CrewEngine, InProcessCrew, Killed
from faults import PHASES, PLACES, strike

from cluster.exchange import segment as segments
from cluster.exchange.segment import SharedMemoryError
from distnn.engine import EngineOptions
from distnn.errors import EngineError, UserCodeError

pytestmark = pytest.mark.usefixtures("folder")


def make_engine(workers: int, crew: InProcessCrew | None = None, deadline_s: float = 60.0) -> CrewEngine:
    return CrewEngine(crew or InProcessCrew(), workers, deadline_s, exchange="shared_memory")


def die() -> None:
    raise Killed


@pytest.mark.parametrize("kind", ["plain", "rich", "wide", "lamb", "held", "adafactor"])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_same_bytes_with_any_number_of_workers(kind: str, workers: int) -> None:
    engine = make_engine(workers)
    assert run(engine, kind) == reference(kind)
    assert len(engine.coordinator.assignment) == workers


@pytest.mark.parametrize("exchange", ["shared_memory", "hierarchical", "object_store"])
@pytest.mark.parametrize("workers", [1, 3, 4])
def test_skipped_steps_are_the_same_with_any_number_of_workers(workers: int, exchange: str) -> None:
    engine = CrewEngine(InProcessCrew(), workers, exchange=exchange)
    assert run(engine, "sore", (4, 6), provoke=True) == reference("sore", provoke=True)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_worker_lost_in_a_step_that_is_not_finite(place: str, rank: int) -> None:
    expected = reference("sore", provoke=True)
    step = expected.skipped[0]
    with strike(place, rank=rank, step=step, blow=die) as fired:
        assert run(make_engine(3), "sore", provoke=True) == expected
    assert fired


@pytest.mark.parametrize("exchange", ["shared_memory", "hierarchical", "object_store"])
@pytest.mark.parametrize(("shards", "batch_size"), [(1, 16), (3, 7), (5, 16), (16, 13), (7, 75)])
def test_uneven_and_empty_shards(exchange: str, shards: int, batch_size: int) -> None:
    """75 samples: the last batch has 5 of 7 samples, or 10 of 13 for 16 shards."""
    options = {"shards": shards, "batch_size": batch_size, "segments": (1, 4)}
    expected = run_locally(**options)
    for workers in (1, 2, 5):
        engine = CrewEngine(InProcessCrew(), min(workers, shards), exchange=exchange)
        assert run(engine, "plain", **options) == expected


def run_locally(**options: object) -> object:
    from distnn.local_engine import LocalEngine

    return run(LocalEngine(EngineOptions()), "plain", **options)  # type: ignore[arg-type]


def test_how_steps_are_cut_into_segments_changes_nothing() -> None:
    assert run(make_engine(2), segments=(1, 1, 8)) == run(make_engine(2), segments=(10,)) == reference()


def test_a_segment_longer_than_the_room_for_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.exchange.shared_memory.FINGERPRINTS", 3)
    assert run(make_engine(2), segments=(10,)) == reference()


def test_the_state_can_be_set_between_segments() -> None:
    engine = make_engine(2)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    first = engine.run_segment(3).fingerprints
    kept = engine.state().copy()
    rest = engine.run_segment(4).fingerprints
    engine.set_state(kept)
    assert engine.run_segment(4).fingerprints.tolist() == rest.tolist()
    engine.set_state(training.model.training_state(0))
    assert engine.run_segment(3).fingerprints.tolist() == first.tolist()


def test_the_optimizer_is_the_coordinators() -> None:
    """A learning rate that a callback sets reaches the workers with the next segment."""
    engines = [make_engine(2), CrewEngine(InProcessCrew(), 2)]
    found = []
    for engine in engines:
        training = make_training("plain")
        engine.load(training.task, training.data, training.model.training_state(0))
        prints = engine.run_segment(2).fingerprints.tolist()
        training.model.optimizer.learning_rate = 0.01
        found.append(prints + engine.run_segment(2).fingerprints.tolist())
    assert found[0] == found[1] != list(reference("plain").fingerprints[:4])


# Losses


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("step", [0, 4])
def test_a_worker_may_die_at_any_place_of_a_step(
    place: str, rank: int, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(3)
    with strike(place, rank=rank, step=step, blow=die) as fired:
        assert run(engine) == reference()
    assert fired == [step]
    (told,) = caplog.messages
    assert told.startswith(f"step {step + (place == 'after the commit')}: worker {rank} (pid 0 on here) died")
    assert PHASES[place] in told
    assert len(engine.coordinator.assignment) == 2


@pytest.mark.parametrize("place", PLACES)
def test_a_hung_worker_that_wakes_too_late_changes_nothing(place: str) -> None:
    """It is given up at the deadline, and goes on in memory where nobody reads any more."""
    engine = make_engine(2, deadline_s=0.3)
    wake = threading.Event()
    with strike(place, rank=1, step=3, blow=lambda: wake.wait(30)) as fired:
        training = make_training("rich")
        engine.load(training.task, training.data, training.model.training_state(0))
        found = [*engine.run_segment(4).fingerprints, *engine.run_segment(3).fingerprints]
        assert sorted(engine.coordinator.assignment) == [0]
        wake.set()
        found += [*engine.run_segment(3).fingerprints]
    assert fired == [3]
    assert tuple(map(int, found)) == reference().fingerprints


def test_workers_may_die_one_after_the_other() -> None:
    engine = make_engine(4)
    with strike("in the update", rank=1, step=2, blow=die) as first:
        with strike("computing", rank=0, step=5, blow=die) as second:
            with strike("after the commit", rank=1, step=8, blow=die) as third:
                assert run(engine) == reference()
    assert (first, second, third) == ([2], [5], [8])
    assert len(engine.coordinator.assignment) == 1


def test_if_all_die_the_coordinator_has_the_committed_state() -> None:
    engine = make_engine(1)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    with strike("in the update", rank=0, step=4, blow=die) as fired:
        with pytest.raises(EngineError, match=r"^step 4: worker 0 .* died .*, and no worker is left"):
            engine.run_segment(10)
    assert fired and engine.state().step == 4
    committed = engine.state().copy()
    again = make_engine(2)
    again.load(training.task, training.data, committed)
    found = tuple(map(int, again.run_segment(6).fingerprints))
    assert found == reference().fingerprints[4:]


def test_ctrl_c_keeps_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = InProcessCrew()
    engine = make_engine(2, crew)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    ask = crew.ask

    def interrupted(requests, deadline_s, watch=None):  # type: ignore[no-untyped-def]
        outcomes = ask(requests, deadline_s, watch)
        if watch is not None:
            raise KeyboardInterrupt
        return outcomes

    monkeypatch.setattr(crew, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run_segment(4)
    monkeypatch.undo()
    assert engine.state().step == 4
    assert tuple(map(int, engine.run_segment(6).fingerprints)) == reference().fingerprints[4:]


@pytest.mark.parametrize("instant", ["while memory is made", "while it is mapped"])
def test_ctrl_c_leaves_no_name(instant: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = InProcessCrew()
    engine = make_engine(2, crew)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    ask = crew.ask

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    def interrupted(requests, deadline_s, watch=None):  # type: ignore[no-untyped-def]
        ask(dict([*requests.items()][:1]), deadline_s, watch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if instant == "while memory is made":
            patch.setattr("os.posix_fallocate", interrupt)
        else:
            patch.setattr(crew, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.run_segment(4)
    assert not list(folder.iterdir())
    assert tuple(map(int, engine.run_segment(10).fingerprints)) == reference().fingerprints


def test_user_code_that_raises_lets_the_others_leave() -> None:
    engine = make_engine(2)
    training = make_training("touchy", provoke=True)
    engine.load(training.task, training.data, training.model.training_state(0))
    with pytest.raises(UserCodeError, match="too large for me") as raised:
        engine.run_segment(5)
    place, step = raised.value.place, engine.state().step
    assert place is not None and place.step == step
    first, stop = engine.coordinator.assignment[place.worker]
    assert first <= place.shard < stop
    with pytest.raises(UserCodeError):
        engine.run_segment(1)
    assert engine.state().step == step and sorted(engine.crew.workers) == [0, 1]


# Where there is no room, or no one node


def test_auto_falls_back_where_shared_memory_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_free_bytes", lambda folder: 1000)
    crew = InProcessCrew()
    engine = CrewEngine(crew, 2, exchange="auto")
    with pytest.warns(
        UserWarning, match=r"bytes of shared memory, and 1,000 are free.*object store"
    ) as warned:
        assert run(engine) == reference()
        assert run(engine) == reference()
    assert len(warned) == 1
    assert "attach" not in {method for _, method in crew.asked}


def test_room_that_is_lost_after_the_start_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation after a loss needs new memory, when the old is still held."""
    engine = CrewEngine(InProcessCrew(), 3, exchange="auto")
    blow_and_fill = lambda: (monkeypatch.setattr(segments, "_free_bytes", lambda folder: 0), die())  # noqa: E731
    with strike("in the update", rank=1, step=4, blow=blow_and_fill) as fired:
        with pytest.warns(UserWarning, match="and 0 are free.*object store"):
            assert run(engine) == reference()
    assert fired == [4]


def test_shared_memory_that_was_asked_for_is_an_error_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_free_bytes", lambda folder: 1000)
    engine, training = make_engine(2), make_training("plain")
    with pytest.raises(SharedMemoryError, match=r"need \d[\d,]+ bytes .* 1,000 are free in /dev/shm.*docker"):
        engine.load(training.task, training.data, training.model.training_state(0))
    asked = {method for _, method in engine.crew.asked}  # type: ignore[attr-defined]
    assert asked == {"load"}, "nothing is computed before"


def test_auto_falls_back_without_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(segments, "FOLDER", tmp_path / "absent")
    with pytest.warns(UserWarning, match="this machine has no shared memory"):
        assert run(CrewEngine(InProcessCrew(), 2, exchange="auto")) == reference()


def test_shared_memory_that_was_asked_for_needs_one_node() -> None:
    engine = CrewEngine(InProcessCrew(nodes=lambda number: "ab"[number]), 2, exchange="shared_memory")
    with pytest.raises(SharedMemoryError, match="on the coordinator's node; not there: worker 0"):
        run(engine)
