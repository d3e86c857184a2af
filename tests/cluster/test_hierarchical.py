"""Shared memory within nodes and objects between them: the bytes of any engine, whatever happens.

Nodes and workers are made up here; `test_two_nodes.py` has real ones.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cases import make_training, reference, run
from crews import HERE, CrewEngine, FaultyCrew, InProcessCrew, Killed
from faults import NODE_PLACES, strike_node

from cluster.crew import Request
from cluster.exchange import segment as segments
from cluster.exchange.hierarchical import HierarchicalExchange
from cluster.exchange.segment import SharedMemoryError
from cluster.patience import Patience
from distnn.engine import EngineOptions
from distnn.errors import EngineError, UserCodeError
from distnn.local_engine import LocalEngine


def crew_on(nodes: str) -> InProcessCrew:
    """A worker for each letter, on the node of that name; `h` is the coordinator's."""
    return InProcessCrew(nodes=lambda number: nodes[number].replace("h", HERE))


def make_engine(nodes: str, crew: Any = None, deadline_s: float = 60.0) -> CrewEngine:
    return CrewEngine(crew or crew_on(nodes), len(nodes), deadline_s, exchange="hierarchical")


def loaded(engine: CrewEngine, kind: str = "rich", **options: Any) -> CrewEngine:
    training = make_training(kind, **options)
    engine.load(training.task, training.data, training.model.training_state(0))
    return engine


def die() -> None:
    raise Killed


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Of the shared memory of these tests, where nothing is left."""
    monkeypatch.setattr(segments, "FOLDER", tmp_path)
    yield tmp_path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["plain", "rich", "wide"])
@pytest.mark.parametrize("nodes", ["h", "hh", "ab", "haa", "aab", "aaa", "abab", "hhab", "aaaa"])
def test_same_bytes_on_any_nodes(kind: str, nodes: str) -> None:
    engine = make_engine(nodes)
    assert run(engine, kind) == reference(kind)
    assert len(engine.coordinator.assignment) == len(nodes)


@pytest.mark.parametrize(("shards", "batch_size"), [(1, 16), (3, 7), (5, 16), (16, 13), (7, 75)])
@pytest.mark.parametrize("nodes", ["a", "aa", "aab", "haabb"])
def test_uneven_and_empty_shards(nodes: str, shards: int, batch_size: int) -> None:
    """75 samples: the last batch has 5 of 7 samples, or 10 of 13 for 16 shards."""
    options: dict[str, Any] = {"shards": shards, "batch_size": batch_size, "segments": (1, 4)}
    expected = run(LocalEngine(EngineOptions()), "plain", **options)
    assert run(make_engine(nodes[:shards]), "plain", **options) == expected


def test_a_node_sends_its_sums_once() -> None:
    """Of four workers on two nodes, two send what covers their node's shards, and two send nothing."""
    crew = crew_on("aabb")
    answers: dict[int, list[Any]] = {}
    ask = crew._ask

    def listening(worker: int, request: Request, deadline_s: float) -> Any:
        outcome = ask(worker, request, deadline_s)
        if request.method == "compute_together":
            answers.setdefault(worker, []).append(outcome.value[1])  # type: ignore[union-attr]
        return outcome

    crew._ask = listening  # type: ignore[method-assign]
    loaded(make_engine("aabb", crew)).run_segment(2)
    subtrees = {worker: [[part[0] for part in parts] for parts in all] for worker, all in answers.items()}
    assert subtrees == {0: [[(0, 2)]] * 2, 1: [[], []], 2: [[(2, 4)]] * 2, 3: [[], []]}


def test_the_state_and_the_optimizer_are_the_coordinators() -> None:
    """What callbacks change between segments holds from the next step on."""
    found = []
    for engine in (make_engine("aab"), CrewEngine(InProcessCrew(), 2)):
        training = make_training("plain")
        engine.load(training.task, training.data, training.model.training_state(0))
        prints = engine.run_segment(2).fingerprints.tolist()
        kept = engine.state().copy()
        training.model.optimizer.learning_rate = 0.01
        prints += engine.run_segment(2).fingerprints.tolist()
        engine.set_state(kept)
        found.append(prints + engine.run_segment(2).fingerprints.tolist())
    assert found[0] == found[1] and found[0][2:4] == found[0][4:6]
    assert found[0] != list(reference("plain").fingerprints[:4])


def test_workers_may_have_seen_the_generations_of_another_exchange() -> None:
    engine = loaded(make_engine("aab"))
    found = [*engine.run_segment(3).fingerprints]
    other = HierarchicalExchange(engine.crew, Patience(60.0))
    other.begin(engine.coordinator.updater)
    other.join(engine.coordinator.assignment)
    engine.coordinator._exchange = other
    found += [*engine.run_segment(7).fingerprints]
    assert tuple(map(int, found)) == reference().fingerprints


# Losses


@pytest.mark.parametrize("place", NODE_PLACES)
@pytest.mark.parametrize(("nodes", "shard"), [("aab", 0), ("aab", 2), ("haa", 2), ("haa", 3)])
@pytest.mark.parametrize("step", [0, 4])
def test_a_worker_may_die_at_any_place_of_a_step(place: str, nodes: str, shard: int, step: int) -> None:
    engine = make_engine(nodes)
    with strike_node(place, shard=shard, step=step, blow=die) as fired:
        assert run(engine) == reference()
    assert fired == [step]
    assert len(engine.coordinator.assignment) == 2


@pytest.mark.parametrize(("method", "worker"), [("open_node", 0), ("join_node", 0), ("join_node", 1)])
def test_a_worker_may_die_while_a_generation_begins(method: str, worker: int) -> None:
    crew = FaultyCrew(crew_on("aab")).fail_when(method, worker=worker)
    assert run(make_engine("aab", crew)) == reference()
    crew.assert_all_fired()


def test_a_worker_alone_on_its_node_may_die() -> None:
    crew = FaultyCrew(crew_on("aab")).fail_at(worker=2, step=3)
    assert run(make_engine("aab", crew)) == reference()
    crew.assert_all_fired()


@pytest.mark.parametrize("place", NODE_PLACES)
def test_a_hung_worker_that_wakes_too_late_changes_nothing(place: str) -> None:
    """It is given up at the deadline, not the one that waits for it; then it goes on where nobody reads."""
    engine = loaded(make_engine("aab", deadline_s=0.5))
    wake = threading.Event()
    with strike_node(place, shard=2, step=3, blow=lambda: wake.wait(30)) as fired:
        found = [*engine.run_segment(4).fingerprints, *engine.run_segment(3).fingerprints]
        assert sorted(engine.coordinator.assignment) == [0, 2]
        wake.set()
        found += [*engine.run_segment(3).fingerprints]
    assert fired == [3]
    assert tuple(map(int, found)) == reference().fingerprints


def test_workers_may_die_one_after_the_other() -> None:
    engine = make_engine("aabb")
    with strike_node("computing", shard=1, step=2, blow=die) as first:
        with strike_node("adding", shard=2, step=5, blow=die) as second:
            assert run(engine) == reference()
    assert (first, second) == ([2], [5])
    assert len(engine.coordinator.assignment) == 2


def test_if_all_die_the_coordinator_has_the_committed_state() -> None:
    crew = FaultyCrew(crew_on("aa"))
    for worker in (0, 1):
        crew.fail_at(worker=worker, step=4, method="compute_together")
    engine = loaded(make_engine("aa", crew))
    with pytest.raises(EngineError, match=r"^step 4: worker 0 .* and worker 1 .* died .*, and no worker"):
        engine.run_segment(10)
    again = make_engine("aab")
    training = make_training("rich")
    again.load(training.task, training.data, engine.state().copy())
    assert tuple(map(int, again.run_segment(6).fingerprints)) == reference().fingerprints[4:]


def test_ctrl_c_keeps_what_was_committed(folder: Path) -> None:
    """Wherever it comes: while memory is made, mapped, or used."""
    for method in ("open_node", "join_node", "compute_together"):
        crew = crew_on("aab")
        engine = make_engine("aab", crew)
        ask = crew.ask

        def interrupted(
            requests: Mapping[int, Request], *rest: Any, ask: Any = ask, method: str = method
        ) -> Any:
            outcomes = ask(requests, *rest)
            if any(request.method == method for request in requests.values()):
                raise KeyboardInterrupt
            return outcomes

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crew, "ask", interrupted)
            with pytest.raises(KeyboardInterrupt):
                loaded(engine).run_segment(4)
        assert not list(folder.iterdir())
        assert engine.state().step == 0
        loaded(engine)
        assert tuple(map(int, engine.run_segment(10).fingerprints)) == reference().fingerprints


def test_user_code_that_raises_lets_the_others_leave() -> None:
    engine = loaded(make_engine("aab"), "touchy", provoke=True)
    with pytest.raises(UserCodeError, match="too large for me") as raised:
        engine.run_segment(5)
    place, step = raised.value.place, engine.state().step
    assert place is not None and place.step == step
    first, stop = engine.coordinator.assignment[place.worker]
    assert first <= place.shard < stop
    with pytest.raises(UserCodeError):
        engine.run_segment(1)
    assert engine.state().step == step and sorted(engine.crew.workers) == [0, 1, 2]


# Memory


def test_memory_whose_maker_was_killed_is_swept_by_whoever_is_left(folder: Path) -> None:
    """The maker dies before the others have mapped it; the one that is then alone needs none, but sweeps."""
    crew = crew_on("aa")
    engine = loaded(make_engine("aa", crew))
    engine.run_segment(1)
    orphan = folder / f"distnn-shared-{os.geteuid()}-orphan-1"
    orphan.write_bytes(b"no lock is held on this")
    crew.dead.add(0)
    engine.run_segment(1)
    assert not orphan.exists()


def test_without_room_the_error_names_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_free_bytes", lambda folder: 1000)
    with pytest.raises(SharedMemoryError, match=r"need \d[\d,]+ bytes .* 1,000 are free in /") as raised:
        run(make_engine("aab"))
    assert raised.value.__notes__ == ["distnn: in worker 0"]


def test_memory_holds_weights_once_and_a_place_for_each_subtree() -> None:
    engine = make_engine("haaa")
    made = []
    create = segments.SharedSegment.create.__func__  # type: ignore[attr-defined]

    def creating(cls: Any, layout: Any, *rest: Any) -> Any:
        made.append(layout)
        return create(cls, layout, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments.SharedSegment, "create", classmethod(creating))
        loaded(engine, "wide", shards=16, batch_size=64).run_segment(1)
    (layout,) = made
    size = engine.state().weights.nbytes
    assert layout.workers == 3 and size * (1 + layout.subtrees) < layout.num_bytes < size * (
        1.5 + layout.subtrees
    )
