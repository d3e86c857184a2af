"""Which exchange `auto` takes: a table, and what happens when the workers change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import make_training, reference, run
from crews import HERE, CrewEngine, FaultyCrew, InProcessCrew

from cluster.exchange import segment as segments
from cluster.exchange.choice import AutoExchange, choose
from distnn.engine import EngineOptions

ANY = pytest.mark.parametrize("nodes", [(HERE, "b", "b"), ("b", "b", "c"), ("b", "b", "b")])


@pytest.mark.parametrize(
    ("nodes", "name", "reason"),
    [
        ("a", "shared_memory", "all workers are on the coordinator's node"),
        ("aaa", "shared_memory", "all workers are on the coordinator's node"),
        ("ab", "object_store", "the workers are on 2 nodes, one on each"),
        ("bcd", "object_store", "the workers are on 3 nodes, one on each"),
        ("b", "object_store", "the worker is on another node than the coordinator"),
        ("bb", "hierarchical", "2 workers share a node that is not the coordinator's"),
        ("aab", "hierarchical", "the workers are on 2 nodes, up to 2 on one"),
        ("abbb", "hierarchical", "the workers are on 2 nodes, up to 3 on one"),
        ("bbcc", "hierarchical", "the workers are on 2 nodes, up to 2 on one"),
    ],
)
def test_choose_table(nodes: str, name: str, reason: str) -> None:
    assert choose(nodes, "a") == (name, reason)


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        ((HERE, HERE), "shared_memory"),
        ((HERE, "b"), "object_store"),
        ((HERE, "b", "b"), "hierarchical"),
        (("b", "b"), "hierarchical"),
    ],
)
def test_auto_takes_what_the_nodes_allow(nodes: tuple[str, ...], name: str) -> None:
    engine = CrewEngine(InProcessCrew(nodes=lambda number: nodes[number]), len(nodes), exchange="auto")
    assert run(engine) == reference()
    assert isinstance(engine.exchange, AutoExchange) and engine.exchange.chosen == name


def test_auto_chooses_again_after_a_loss() -> None:
    """Without the third worker all are on the coordinator's node."""
    crew = InProcessCrew(nodes=lambda number: [HERE, HERE, "b"][number])
    faulty = FaultyCrew(crew).fail_at(worker=2, step=3)
    engine = CrewEngine(faulty, 3, exchange="auto")
    assert run(engine) == reference()
    faulty.assert_all_fired()
    assert isinstance(engine.exchange, AutoExchange) and engine.exchange.chosen == "shared_memory"


def test_the_state_leaves_shared_memory_with_the_exchange() -> None:
    """A worker thought dead may still write where the state lay, so the coordinator moves it out."""
    crew = InProcessCrew(nodes=lambda number: [HERE, HERE, "b"][number])
    faulty = FaultyCrew(crew).fail_when("evaluate", worker=1)
    engine = CrewEngine(faulty, 2, exchange="auto")
    assert run(engine) == reference()
    shared = engine.state().weights
    assert isinstance(engine.exchange, AutoExchange) and engine.exchange.chosen == "shared_memory"
    training = make_training("rich")  # the next load finds a new worker, on another node
    engine.load(training.task, training.data, training.model.training_state(0))
    engine.run_segment(1)
    assert sorted(crew.workers) == [0, 2] and engine.exchange.chosen == "object_store"
    assert not np.shares_memory(engine.state().weights, shared)
    faulty.assert_all_fired()


@ANY
def test_auto_falls_back_where_shared_memory_has_no_room(
    nodes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_free_bytes", lambda folder: 1000)
    engine = CrewEngine(InProcessCrew(nodes=lambda number: nodes[number]), 3, exchange="auto")
    message = r"bytes of shared memory, and 1,000 are free.*in worker \d.*object store"
    with pytest.warns(UserWarning, match=message) as warned:
        assert run(engine) == reference()
        assert run(engine) == reference()
    assert len(warned) == 1
    assert isinstance(engine.exchange, AutoExchange) and engine.exchange.chosen == "object_store"


@ANY
def test_auto_falls_back_without_shared_memory(
    nodes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(segments, "FOLDER", tmp_path / "absent")
    engine = CrewEngine(InProcessCrew(nodes=lambda number: nodes[number]), 3, exchange="auto")
    with pytest.warns(UserWarning, match="this machine has no shared memory"):
        assert run(engine) == reference()


def test_an_unknown_exchange_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown exchange: 'shared_memry'.*Did you mean 'shared_memory'"):
        EngineOptions(exchange="shared_memry")
