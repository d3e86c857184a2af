"""Who works: replacements, newcomers, spares, too few, more and fewer. Workers are in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import make_training, reference, run, run_pulled
from crews import CrewEngine, FaultyCrew, InProcessCrew, Killed
from faults import strike, strike_node

from cluster.crew import Request
from distnn.engine import EngineOptions, StopAsked
from distnn.errors import EngineError
from distnn.local_engine import LocalEngine

STEPS = (1,) * 10
"""Segments: newcomers join between them."""


@pytest.fixture(autouse=True)
def _always_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every boundary, not only now and then."""
    monkeypatch.setattr("cluster.coordinator.LOOK_EVERY_S", 0.0)
    monkeypatch.setattr("cluster.staff.SPARES_ASKED_EVERY_S", 0.0)
    monkeypatch.setattr("cluster.staff.pause_s", lambda failed: 0.0)


@pytest.fixture(params=["shared_memory", "hierarchical", "object_store"])
def exchange(request: pytest.FixtureRequest, folder: Any) -> Iterator[str]:
    yield request.param


def die() -> None:
    raise Killed


def crew_with_room(room: int = 1000, **more: Any) -> InProcessCrew:
    crew = InProcessCrew(**more)
    crew.room = room
    return crew


def asked_of(crew: InProcessCrew, worker: int) -> list[str]:
    return [method for one, method in crew.asked if one == worker]


# Replacements


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_replacement_joins_at_a_later_boundary(exchange: str, victim: int) -> None:
    crew = crew_with_room()
    engine = CrewEngine(crew, 3, exchange=exchange)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = [*engine.run_segment(3).fingerprints]
    crew.dead.add(victim)
    found += [*engine.run_segment(1).fingerprints]
    assert sorted(engine.coordinator.assignment) == sorted({0, 1, 2} - {victim}), "the others go on at once"
    found += [*engine.run_segment(1).fingerprints]
    assert sorted(engine.coordinator.assignment) == sorted({0, 1, 2, 3} - {victim})
    found += [*engine.run_segment(5).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints
    assert asked_of(crew, 3)[:2] == ["load", "warm_up"], "it comes loaded and warm"
    (lost,), (recovered,), (joined,) = map(engine.told, ("worker-lost", "recovered", "worker-joined"))
    assert (lost["step"], lost["worker"], lost["cause"]) == (3, victim, "died")
    assert (recovered["step"], recovered["workers"], recovered["work"]) == (4, 2, "step")
    assert recovered["standstill_s"] > 0
    assert (joined["step"], joined["worker"], joined["workers"]) == (4, 3, 3)


def test_workers_that_die_one_after_the_other_are_all_replaced(exchange: str) -> None:
    crew = crew_with_room()
    engine = CrewEngine(crew, 2, exchange=exchange)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = []
    for step in range(10):
        if step % 3 == 1:
            crew.dead.add(min(engine.coordinator.assignment))
        found += [*engine.run_segment(1).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints
    assert [one["step"] for one in engine.told("recovered")] == [2, 5, 8]
    assert len(engine.told("worker-joined")) == 3 and len(crew.workers) == 2


def test_when_the_only_worker_dies_the_training_waits_for_another(exchange: str) -> None:
    crew = crew_with_room()
    engine = CrewEngine(crew, 1, exchange=exchange, wait_s=30.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = [*engine.run_segment(3).fingerprints]
    crew.dead.add(0)
    found += [*engine.run_segment(7).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints
    (waiting,) = engine.told("waiting")
    assert (waiting["step"], waiting["for"], waiting["have"]) == (3, "1 worker", 0)
    assert waiting["why"].startswith("step 3: worker 0 (pid 0 on here) died")
    kinds = [incident.kind for incident in engine.incidents]
    assert kinds == ["worker-lost", "waiting", "worker-joined", "recovered"]


def test_all_may_die_at_once(exchange: str) -> None:
    crew = crew_with_room()
    engine = CrewEngine(crew, 3, exchange=exchange, wait_s=30.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = [*engine.run_segment(3).fingerprints]
    crew.dead |= {0, 1, 2}
    found += [*engine.run_segment(1).fingerprints]
    found += [*engine.run_segment(6).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints
    assert sorted(engine.coordinator.assignment) == [3, 4, 5]


@pytest.mark.parametrize("place", ["computing", "before the update", "in the update", "after the commit"])
def test_one_may_die_while_another_is_made_good(place: str, folder: Any) -> None:
    """The second dies in the first step of the generation that follows the first loss."""
    crew = crew_with_room()
    engine = CrewEngine(crew, 3, exchange="shared_memory")
    with strike("in the update", rank=1, step=2, blow=die) as first:
        with strike(place, rank=1, step=2 + (place == "after the commit"), blow=die) as second:
            assert run(engine, segments=STEPS) == reference()
    assert first == [2] and second
    assert len(engine.told("worker-lost")) == 2 == len(engine.told("worker-joined"))


@pytest.mark.parametrize("method", ["attach", "join_node", "open_node"])
@pytest.mark.parametrize("worker", [0, 3])
def test_one_may_die_as_a_generation_begins_without_blame(method: str, worker: int, folder: Any) -> None:
    """Worker 3 joins and dies as it maps the memory; worker 0 as it maps that of the generation with it."""
    inner = crew_with_room(nodes=lambda number: "a")
    if method == "attach":
        inner = crew_with_room()
    crew = FaultyCrew(inner)
    engine = CrewEngine(crew, 3, exchange="shared_memory" if method == "attach" else "hierarchical")
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = [*engine.run_segment(2).fingerprints]
    inner.dead.add(1)
    found += [*engine.run_segment(1).fingerprints]
    if method != "open_node" or worker == 0:  # the first worker opens
        crew.fail_when(method, worker=worker)
    found += [*engine.run_segment(7).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints
    if method != "open_node" or worker == 0:
        crew.assert_all_fired()
        assert engine.told("worker-lost")[-1]["phase"] == "while it mapped the memory"


@pytest.mark.parametrize(("method", "work"), [("load", "load"), ("warm_up", "load")])
def test_a_worker_lost_before_the_training_is_replaced_in_it(method: str, work: str) -> None:
    crew = FaultyCrew(crew_with_room()).fail_when(method, worker=1)
    engine = CrewEngine(crew, 3)
    assert run(engine, segments=STEPS) == reference()
    crew.assert_all_fired()
    assert [one["work"] for one in engine.told("recovered")] == [work]
    assert sorted(engine.coordinator.assignment) == [0, 2, 3]


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_a_pass_over_data_is_recovered_when_it_is_done(method: str) -> None:
    crew = FaultyCrew(crew_with_room()).fail_when(method, worker=0)
    engine = CrewEngine(crew, 2)
    assert run(engine) == reference()
    (recovered,) = engine.told("recovered")
    assert (recovered["step"], recovered["work"], recovered["workers"]) == (10, method, 1)


@pytest.mark.parametrize("method", ["load", "warm_up"])
def test_a_newcomer_that_cannot_be_made_ready_is_sent_away_and_another_comes(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    crew = FaultyCrew(crew_with_room()).fail_at(worker=1, step=2)
    crew.fail_when(method, worker=2)
    engine = CrewEngine(crew, 2)
    assert run(engine, segments=STEPS) == reference()
    crew.assert_all_fired()
    assert "worker 2 (pid 0 on here) does not join: killed by the test" in caplog.text
    assert [one["worker"] for one in engine.told("worker-joined")] == [3]


def test_a_full_object_store_does_not_end_those_that_go_on(
    folder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can be briefed meanwhile; others join when there is room again."""

    class Full(InProcessCrew):
        refusals = 0

        def share(self, value: Any) -> Any:
            if self.refusals:
                self.refusals -= 1
                raise EngineError("the object store is full")
            return super().share(value)

    crew = Full()
    crew.room = 1000
    engine = CrewEngine(crew, 2, exchange="shared_memory")
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = [*engine.run_segment(2).fingerprints]
    crew.dead.add(1)
    crew.refusals = 2
    found += [int(f) for _ in range(8) for f in engine.run_segment(1).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints
    assert caplog.text.count("does not join: the object store is full") == 2
    assert sorted(engine.coordinator.assignment) == [0, 4]


def test_weights_are_shared_once_for_those_that_come_together(folder: Any) -> None:
    crew = crew_with_room()
    engine = CrewEngine(crew, 4, exchange="shared_memory", wait_s=30.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    engine.run_segment(1)
    crew.dead |= {0, 1, 2, 3}
    crew.shared.clear()
    engine.run_segment(1)
    assert sorted(engine.coordinator.assignment) == [4, 5, 6, 7]
    assert [type(value) for value in crew.shared] == [np.ndarray]


def test_a_newcomer_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.staff.LOAD_DEADLINE_S", 0.0)

    class Never(InProcessCrew):
        def call(self, worker: int, request: Request) -> Any:
            if worker == 2:
                return type("Running", (), {"outcome": lambda self: None})()
            return super().call(worker, request)

    crew = Never()
    crew.room = 1000
    engine = CrewEngine(FaultyCrew(crew).fail_at(worker=1, step=2), 2)
    assert run(engine, segments=STEPS) == reference()
    assert [one["worker"] for one in engine.told("worker-joined")] == [3]


def test_a_training_that_grows_takes_a_spare_without_a_new_generation(folder: Any) -> None:
    """With as many workers as cores already, one more is ready to take over, and costs nothing."""
    crew = crew_with_room(cores=2)
    engine = CrewEngine(
        FaultyCrew(crew).fail_at(worker=2, step=0, method="run_steps"), 3, exchange="shared_memory"
    )
    crew.dead.add(2)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = [int(f) for _ in range(10) for f in engine.run_segment(1).fingerprints]
    assert tuple(found) == reference().fingerprints
    assert asked_of(crew, 0).count("attach") == 1
    assert engine.told("worker-joined")[0]["workers"] == 2


def test_a_spare_that_dies_is_noticed_and_replaced() -> None:
    crew = crew_with_room(cores=2)
    engine = CrewEngine(crew, 3)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    engine.run_segment(1)
    crew.dead.add(2)
    for _ in range(4):
        engine.run_segment(1)
    (lost,) = engine.told("worker-lost")
    assert (lost["worker"], lost["phase"]) == (2, "while it had nothing to do")
    assert [one["worker"] for one in engine.told("worker-joined")] == [3]
    assert engine.coordinator.assignment == {0: (0, 2), 1: (2, 4)}


# Too few


def test_fewer_than_the_least_are_not_enough_to_go_on(exchange: str) -> None:
    crew = crew_with_room()
    engine = CrewEngine(crew, 3, exchange=exchange, min_workers=2, wait_s=30.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = [*engine.run_segment(3).fingerprints]
    crew.dead |= {0, 2}
    found += [*engine.run_segment(1).fingerprints]
    assert len(engine.coordinator.assignment) >= 2
    waiting = engine.told("waiting")[0]
    assert (waiting["step"], waiting["for"], waiting["have"]) == (3, "2 workers", 1)
    found += [*engine.run_segment(6).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints


def test_a_training_begins_with_what_there_is_room_for_and_grows() -> None:
    crew = InProcessCrew()
    crew.most = 1
    engine = CrewEngine(crew, 3)
    training = make_training("rich")
    with pytest.warns(UserWarning, match="room for 1 of 3 workers"):
        engine.load(training.task, training.data, training.model.training_state(0))
    found = [*engine.run_segment(3).fingerprints]
    assert len(engine.coordinator.assignment) == 1
    crew.room = 3
    found += [*engine.run_segment(1).fingerprints]
    assert len(engine.coordinator.assignment) == 3
    found += [*engine.run_segment(6).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints
    assert [one["worker"] for one in engine.told("worker-joined")] == [1, 2]


def test_without_the_least_a_training_waits_and_then_says_why_it_failed() -> None:
    crew = InProcessCrew()
    crew.most = 1
    engine = CrewEngine(crew, 3, min_workers=2, wait_s=0.0)
    training = make_training("rich")
    why = "loading: the test has room for 1 of 2 workers"
    what = f"{why}; after 0 s there are 1 of at least 2 workers"
    with pytest.raises(EngineError, match=f"^{what}$"):
        engine.load(training.task, training.data, training.model.training_state(0))
    assert engine.told("waiting") == [{"step": 0, "for": "2 workers", "have": 1, "why": why}]


def test_workers_that_cannot_be_started_are_not_waited_for() -> None:
    crew = crew_with_room()
    engine = CrewEngine(FaultyCrew(crew).fail_at(worker=0, step=2), 1, wait_s=600.0)
    crew.failing = 3
    with pytest.raises(EngineError) as raised:
        crew.most = 1
        training = make_training("rich")
        engine.load(training.task, training.data, training.model.training_state(0))
    expected = "loading: the test has room for 0 of 1 workers; there are 0 of at least 1 workers"
    assert str(raised.value) == expected


def test_newcomers_that_fail_together_are_one_failure() -> None:
    """As when the node dies on which they were made ready: others are waited for."""
    inner = crew_with_room()
    crew = FaultyCrew(inner)
    for worker in (4, 5, 6, 7):
        crew.fail_when("load", worker=worker)
    engine = CrewEngine(crew, 4, wait_s=600.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    inner.dead |= {0, 1, 2, 3}
    assert tuple(map(int, engine.run_segment(10).fingerprints)) == reference().fingerprints
    assert sorted(engine.coordinator.assignment) == [8, 9, 10, 11]
    crew.assert_all_fired()


def test_newcomers_that_always_fail_are_not_waited_for() -> None:
    inner = crew_with_room()
    crew = FaultyCrew(inner)
    for worker in range(1, 4):
        crew.fail_when("load", worker=worker)
    engine = CrewEngine(crew, 1, wait_s=600.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    inner.dead.add(0)
    with pytest.raises(EngineError, match="there are 0 of at least 1 workers"):
        engine.run_segment(10)
    crew.assert_all_fired()


def test_who_waits_can_be_stopped() -> None:
    crew = InProcessCrew()
    engine = CrewEngine(FaultyCrew(crew).fail_at(worker=0, step=2), 1, wait_s=600.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    asked = iter([False, False, True])
    engine.coordinator.should_stop = lambda: next(asked)
    with pytest.raises(StopAsked) as stopped:
        engine.run_segment(10)
    report = stopped.value.report
    assert report is not None and report.first_step == 0
    assert tuple(map(int, report.fingerprints)) == reference().fingerprints[:2]
    assert engine.state().step == 2
    crew.room = 1
    assert tuple(map(int, engine.run_segment(8).fingerprints)) == reference().fingerprints[2:]


@pytest.mark.parametrize(("least", "most"), [(0, 2), (3, 2)])
def test_a_range_of_workers_must_be_one(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="`min_workers` must be between 1 and `workers`"):
        EngineOptions(workers=most, min_workers=least)


# Blame


def test_a_shard_is_only_blamed_while_it_is_computed(folder: Any) -> None:
    """Two workers die in one step, both holding shard 2: one as it updates, the other as it computes."""
    crew = FaultyCrew(crew_with_room()).fail_at(worker=0, step=2, method="run_steps")
    engine = CrewEngine(crew, 2, exchange="shared_memory", wait_s=30.0)
    with strike("in the update", rank=1, step=2, blow=die) as fired:
        assert run(engine) == reference()
    assert fired == [2]
    crew.assert_all_fired()
    phases = [one["phase"] for one in engine.told("worker-lost")]
    assert phases == ["while it updated its slice of the weights", "while it computed its shards 0-3"]


def test_a_shard_that_ends_whoever_computes_it_fails_the_run_although_others_could_come() -> None:
    crew = FaultyCrew(crew_with_room()).fail_whoever_computes(shard=3, step=2)
    engine = CrewEngine(crew, 2, wait_s=30.0)
    with pytest.raises(EngineError, match="^step 2: two workers were lost while they computed shard 2"):
        run(engine)
    assert engine.state().step == 2


def test_a_shard_is_not_blamed_for_a_loss_that_was_made_good() -> None:
    """Step 3 of one training and step 3 of the next, each of which loses who computes shard 0."""
    crew = FaultyCrew(crew_with_room()).fail_at(worker=0, step=3)
    engine = CrewEngine(crew, 2)
    assert run(engine) == reference()
    crew.fail_at(worker=1, step=3)
    assert run(engine) == reference()
    crew.assert_all_fired()


def test_work_that_always_loses_workers_is_given_up(folder: Any) -> None:
    engine = CrewEngine(crew_with_room(), 1, exchange="shared_memory", wait_s=30.0)
    deaths = []

    def die_again(number: int) -> None:
        deaths.append(number)
        raise Killed

    strikes = [strike("in the update", rank=0, step=2, blow=lambda: die_again(0)) for _ in range(12)]
    for one in strikes:
        one.__enter__()
    try:
        with pytest.raises(EngineError, match="each of 10 attempts at it lost workers"):
            run(engine)
    finally:
        for one in reversed(strikes):
            one.__exit__(None, None, None)
    assert len(deaths) == 10 and engine.state().step == 2


# More and fewer


def test_scaling_changes_who_computes_and_no_byte(exchange: str) -> None:
    crew = crew_with_room()
    engine = CrewEngine(crew, 4, exchange=exchange)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found, computing = [], []
    for wanted in (2, 1, 3, 4, 4):
        engine.scale(wanted)
        found += [int(f) for _ in range(2) for f in engine.run_segment(1).fingerprints]
        computing.append(len(engine.coordinator.assignment))
    assert tuple(found) == reference().fingerprints
    assert computing == [2, 1, 3, 4, 4]
    assert [one["to"] for one in engine.told("scaled")] == [2, 1, 3, 4, 4]
    assert [one["worker"] for one in engine.told("worker-left")] == [2, 3, 1]
    assert [one["workers"] for one in engine.told("worker-joined")] == [3, 3, 4]


@pytest.mark.parametrize(("asked", "taken"), [(1, 2), (2, 2), (3, 3), (9, 3)])
def test_scaling_stays_within_the_range(asked: int, taken: int) -> None:
    engine = CrewEngine(crew_with_room(), 3, min_workers=2)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    engine.scale(asked)
    assert engine.told("scaled") == [{"step": 0, "to": taken}]
    assert len(engine.crew.workers) == taken


def test_spares_go_first(folder: Any) -> None:
    """Then nothing changes for those that compute."""
    crew = crew_with_room(cores=2)
    engine = CrewEngine(crew, 4, exchange="shared_memory")
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    engine.run_segment(2)
    engine.scale(2)
    engine.run_segment(2)
    assert [one["worker"] for one in engine.told("worker-left")] == [2, 3]
    assert asked_of(crew, 0).count("attach") == 1


def test_those_on_their_way_are_sent_home() -> None:
    crew = InProcessCrew()
    crew.most = 2
    engine = CrewEngine(crew, 4)
    training = make_training("rich")
    with pytest.warns(UserWarning, match="room for 2 of 4"):
        engine.load(training.task, training.data, training.model.training_state(0))
    engine.run_segment(1)
    assert crew.coming == 2
    engine.scale(3)
    assert crew.coming == 1 and len(crew.workers) == 2
    engine.scale(1)
    assert crew.coming == 0 and len(crew.workers) == 1


def test_nodes_may_come_and_go(folder: Any) -> None:
    """A whole node is lost in the middle of a step; another one takes its place."""
    crew = crew_with_room(nodes=lambda number: "aabbcc"[number])
    engine = CrewEngine(crew, 4, 0.5, exchange="auto")
    with strike_node("adding", step=3, blow=lambda: (crew.dead.update({2, 3}), die()), shard=2) as fired:
        assert run(engine, segments=STEPS) == reference()
    assert fired == [3]
    assert {info.node for info in crew.workers.values()} == {"a", "c"}


def test_at_a_boundary_where_nobody_is_missing_nobody_is_asked() -> None:
    crew = InProcessCrew()
    engine = CrewEngine(crew, 2)
    training = make_training("plain")
    engine.load(training.task, training.data, training.model.training_state(0))
    before = list(crew.asked)
    crew.summon = crew.arrivals = None  # type: ignore[method-assign, assignment]
    for _ in range(3):
        engine.coordinator._look_after_staff()
    assert crew.asked == before


@pytest.mark.parametrize("victim", [0, 1])
def test_a_newcomer_has_the_batches_that_were_pulled_meanwhile(exchange: str, victim: int) -> None:
    """It is briefed with those of one segment, and joins when others have been sent."""
    crew = crew_with_room()
    engine = CrewEngine(crew, 2, exchange=exchange)
    segment = engine.run_segment

    def losing_one(num_steps: int) -> Any:
        if engine.state().step == 2:
            crew.dead.add(victim)
        return segment(num_steps)

    engine.run_segment = losing_one  # type: ignore[method-assign]
    local = LocalEngine(EngineOptions())
    assert run_pulled(engine, segments=(1, 1, 1, 1, 2, 4)) == run_pulled(local)
    assert len(engine.told("worker-lost")) == 1 == len(engine.told("worker-joined"))


def test_a_worker_may_die_as_batches_are_sent() -> None:
    crew = FaultyCrew(crew_with_room()).fail_when("take_batches", worker=1)
    assert run_pulled(CrewEngine(crew, 2)) == run_pulled(LocalEngine(EngineOptions()))
    crew.assert_all_fired()
