"""The coordinator over workers in this process: same bytes for any number of them, and whatever happens."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from cases import make_training, reference, run, run_pulled
from crews import CrewEngine, FaultyCrew, InProcessCrew

from distnn.engine import EngineOptions
from distnn.errors import EngineError, UserCodeError
from distnn.local_engine import LocalEngine


@pytest.mark.parametrize("kind", ["plain", "rich"])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_same_bytes_with_any_number_of_workers(kind: str, workers: int) -> None:
    engine = CrewEngine(InProcessCrew(), workers)
    assert run(engine, kind) == reference(kind)
    assert len(engine.coordinator.assignment) == workers


def test_workers_beyond_the_shards_stay_idle_with_one_warning() -> None:
    crew = InProcessCrew()
    engine = CrewEngine(crew, 7)
    with pytest.warns(UserWarning, match="7 workers for 4 shards: 3 stay idle") as warned:
        assert run(engine) == reference()
        assert run(engine) == reference()
    assert len(warned) == 1
    assert {worker for worker, method in crew.asked if method == "compute"} == {0, 1, 2, 3}


def test_a_node_computes_with_as_many_workers_as_it_has_cores() -> None:
    engine = CrewEngine(InProcessCrew(nodes=lambda number: "ab"[number // 2], cores=1), 4)
    assert run(engine) == reference()
    assert engine.coordinator.assignment == {0: (0, 2), 2: (2, 4)}


def test_two_processes_of_each_node_compile_first() -> None:
    crew = InProcessCrew(nodes=lambda number: "abaa"[number])
    engine = CrewEngine(crew, 4)
    run(engine)
    warmed = [worker for worker, method in crew.asked if method == "warm_up"]
    assert sorted(warmed[:3]) == [0, 1, 2] and warmed[3:] == [3]


def test_a_task_that_the_workers_hold_is_not_sent_again() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_when("take_data", worker=1)
    engine = CrewEngine(crew, 3)
    training = make_training("rich")
    fingerprints = []
    for _ in range(3):
        engine.load(training.task, training.data, training.model.training_state(0))
        fingerprints.append(engine.run_segment(10).fingerprints.tolist())
    assert fingerprints == [list(reference().fingerprints)] * 3
    loads = [worker for worker, method in crew.crew.asked if method == "load"]  # type: ignore[attr-defined]
    assert loads == [0, 1, 2, 3]
    crew.assert_all_fired()


def test_other_data_reaches_the_workers_of_a_held_task() -> None:
    engine = CrewEngine(InProcessCrew(), 2)
    training = make_training("plain")
    data = {"train": training.data["train"], "validation": training.data["validation"].slice(5, 20)}
    engine.load(training.task, training.data, training.model.training_state(0))
    before = engine.predict("validation", 8)[0]
    engine.load(training.task, data, training.model.training_state(0))
    assert engine.predict("validation", 8)[0].tolist() == before[5:20].tolist()


def test_another_seed_needs_no_other_task() -> None:
    crew = InProcessCrew()
    engine = CrewEngine(crew, 2)
    training = make_training("rich")
    for seed in (5, training.task.batching.seed):
        task = replace(training.task, batching=replace(training.task.batching, seed=seed))
        engine.load(task, training.data, training.model.training_state(0))
        found = tuple(map(int, engine.run_segment(10).fingerprints))
        assert (found == reference().fingerprints) == (seed != 5)
    assert sum(type(value) is bytes for value in crew.shared) == 1, "the task is sent once"


def test_data_is_shared_once() -> None:
    crew = InProcessCrew()
    engine = CrewEngine(crew, 2)
    for _ in range(3):
        run(engine)
    assert sum(type(value).__name__ == "ArrayData" for value in crew.shared) == 2


# Losses


def test_a_worker_that_dies_is_replaced_by_the_others() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_at(worker=1, step=3)
    engine = CrewEngine(crew, 2)
    assert run(engine) == reference()
    assert engine.coordinator.assignment == {0: (0, 4)}
    crew.assert_all_fired()


@pytest.mark.parametrize("exchange", ["object_store", "shared_memory", "hierarchical"])
def test_a_worker_may_die_while_batches_are_sent(exchange: str) -> None:
    crew = FaultyCrew(InProcessCrew()).fail_when("take_batches", worker=1)
    engine = CrewEngine(crew, 3, exchange=exchange)
    local = LocalEngine(EngineOptions())
    assert run_pulled(engine) == run_pulled(local, segments=(1,) * 10)
    assert engine.coordinator.assignment == {0: (0, 2), 2: (2, 4)}
    crew.assert_all_fired()
    engine.coordinator.close()


def test_a_spare_takes_over() -> None:
    crew = FaultyCrew(InProcessCrew(cores=2)).fail_at(worker=0, step=3)
    engine = CrewEngine(crew, 3)
    assert run(engine) == reference()
    assert engine.coordinator.assignment == {1: (0, 2), 2: (2, 4)}
    crew.assert_all_fired()


def test_workers_may_die_one_after_the_other() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_at(worker=0, step=1).hang_at(worker=3, step=4)
    crew.fail_at(worker=1, step=9)
    assert run(CrewEngine(crew, 4)) == reference()
    crew.assert_all_fired()


def test_two_workers_may_die_in_the_same_step() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_at(worker=0, step=2).fail_at(worker=2, step=2)
    assert run(CrewEngine(crew, 4)) == reference()
    crew.assert_all_fired()


def test_a_worker_lost_while_others_failed_is_not_blamed_on_its_next_shard() -> None:
    """Worker 1 had answered when it died; shard 0, which killed worker 0, is its next but not the reason."""
    inner = InProcessCrew()
    crew = FaultyCrew(inner).fail_at(worker=0, step=2)
    engine = CrewEngine(crew, 3)
    dismiss = inner.dismiss

    def dismiss_and_kill_another(worker: int) -> None:
        dismiss(worker)
        inner.dead.add(1)

    inner.dismiss = dismiss_and_kill_another  # type: ignore[method-assign]
    assert run(engine) == reference()
    assert list(crew.workers) == [2]
    crew.assert_all_fired()


def test_a_hung_worker_is_ended_and_replaced() -> None:
    crew = FaultyCrew(InProcessCrew()).hang_at(worker=1, step=3)
    engine = CrewEngine(crew, 2)
    assert run(engine) == reference()
    assert list(crew.workers) == [0]
    crew.assert_all_fired()


@pytest.mark.parametrize(
    ("method", "work"),
    [
        ("load", "loading"),
        ("warm_up", "warming up"),
        ("evaluate", "evaluate 'validation' at step 10"),
        ("predict", "predict 'validation' at step 10"),
    ],
)
def test_a_worker_may_die_in_any_call(method: str, work: str, caplog: pytest.LogCaptureFixture) -> None:
    crew = FaultyCrew(InProcessCrew()).fail_when(method, worker=1)
    assert run(CrewEngine(crew, 3)) == reference()
    crew.assert_all_fired()
    (told,) = caplog.messages
    assert told.startswith(f"{work}: worker 1 (pid 0 on here) died (killed by the test); 2 workers go on")


def test_a_worker_that_dies_idle_is_told_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found when the roll is called after another loss."""
    monkeypatch.setattr("cluster.staff.SPARES_ASKED_EVERY_S", float("inf"))
    inner = InProcessCrew(cores=2)
    crew = FaultyCrew(inner).fail_at(worker=0, step=3)
    crew.fail_when("progress", worker=2)
    assert run(CrewEngine(crew, 4)) == reference()
    crew.assert_all_fired()
    (told,) = caplog.messages
    computing, idle = told.split(" and worker 2 ")
    assert (
        computing
        == "step 3: worker 0 (pid 0 on here) died while it computed its shards 0-1 (killed by the test)"
    )
    assert idle.startswith("(pid 0 on here) died while it had nothing to do (killed by the test); 2 workers")


def test_a_lost_worker_is_replaced_at_the_next_load() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_at(worker=1, step=3)
    engine = CrewEngine(crew, 2)
    run(engine)
    assert run(engine) == reference()
    assert sorted(crew.workers) == [0, 2]
    crew.assert_all_fired()


def test_the_last_workers_death_names_worker_and_step() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_at(worker=0, step=3)
    engine = CrewEngine(crew, 1)
    what = r"step 3: worker 0 \(pid 0 on here\) died while it computed its shards 0-3 \(killed by the test\)"
    with pytest.raises(EngineError, match=f"{what}, and no worker"):
        run(engine)
    assert engine.state().step == 3
    crew.assert_all_fired()


def test_a_shard_that_ends_two_workers_fails_the_run_by_name() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_whoever_computes(shard=3, step=2)
    engine = CrewEngine(crew, 4)
    with pytest.raises(EngineError) as raised:
        run(engine)
    message = str(raised.value)
    assert message.startswith(
        "step 2: two workers were lost while they computed shard 3: worker 3 (pid 0 on here) died"
    )
    assert "then worker 2 (pid 0 on here) died while it computed" in message
    assert engine.state().step == 2
    assert sorted(crew.workers) == [0, 1]


def test_user_code_that_raises_is_told_once_with_its_place() -> None:
    engine = CrewEngine(InProcessCrew(), 2)
    training = make_training("touchy", provoke=True)
    engine.load(training.task, training.data, training.model.training_state(0))
    with pytest.raises(UserCodeError) as raised:
        engine.run_segment(5)
    place, text = raised.value.place, str(raised.value)
    assert place is not None and place.step == engine.state().step
    first, stop = engine.coordinator.assignment[place.worker]
    assert first <= place.shard < stop
    assert text.count("Traceback") == 1 and "in check" in text and "shard.py" not in text
    assert text.endswith(f"user code failed in {place}: ArithmeticError: too large for me")


def test_a_model_that_cannot_be_sent_is_refused_in_a_sentence() -> None:
    engine = CrewEngine(InProcessCrew(), 2)
    training = make_training("plain")
    training.model.layers[0].guard = threading.Lock()
    with pytest.raises(ValueError, match="cannot be sent to other processes .*lock"):
        engine.load(training.task, training.data, training.model.training_state(0))
