"""Kernels are compiled by one process of a node before the others need them, so that all others find them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import make_training
from crews import CrewEngine, FaultyCrew, InProcessCrew

HERE = Path(__file__).parent

COMPILED_BY_STEPS = """
from cases import make_training
from cluster.worker import Worker
from crews import CrewEngine, InProcessCrew
from distnn.kernels.jit import REGISTRY

def compiled():
    return {(name, signature) for name, kernel in REGISTRY.items() for signature in kernel.signatures}

# Workers in this process share what is compiled: let all of them be first, or second.
warm_up = Worker.warm_up
Worker.warm_up = lambda worker, step, shard, weights, is_second: warm_up(worker, step, shard, weights, SECOND)
engine = CrewEngine(InProcessCrew(), 2, exchange=EXCHANGE)
training = make_training(KIND)
engine.load(training.task, training.data, training.model.training_state(0))
before = compiled()
engine.run_segment(10)
print(len(before), sorted(compiled() - before))
"""


@pytest.mark.parametrize(
    ("kind", "exchange", "is_second"),
    [
        ("rich", "shared_memory", False),
        ("rich", "object_store", True),
        ("wide", "shared_memory", True),
        ("held", "shared_memory", False),
    ],
)
def test_steps_call_no_kernel_that_was_not_warmed_up(kind: str, exchange: str, is_second: bool) -> None:
    script = f"KIND, EXCHANGE, SECOND = {kind!r}, {exchange!r}, {is_second}\n{COMPILED_BY_STEPS}"
    search_path = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": search_path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    count, _, later = done.stdout.strip().partition(" ")
    assert int(count) > 10
    assert later == "[]"


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_one_process_of_each_node_rehearses_what_is_asked_for_the_first_time(method: str) -> None:
    crew = InProcessCrew(nodes=lambda number: "aab"[number])
    engine = CrewEngine(crew, 3)
    training = make_training("plain")
    engine.load(training.task, training.data, training.model.training_state(0))
    crew.asked.clear()
    for _ in range(2):
        getattr(engine, method)("validation", 16)
    asked = [(worker, name) for worker, name in crew.asked if name in ("rehearse", method)]
    everybody = [(worker, method) for worker in range(3)]
    assert asked == [(0, "rehearse"), (2, "rehearse"), *everybody, *everybody]


def test_workers_alone_on_their_nodes_do_not_rehearse() -> None:
    crew = InProcessCrew(nodes=str)
    engine = CrewEngine(crew, 2)
    training = make_training("plain")
    engine.load(training.task, training.data, training.model.training_state(0))
    engine.evaluate("validation", 16)
    assert "rehearse" not in {name for _, name in crew.asked}


def test_who_dies_in_a_rehearsal_is_done_without() -> None:
    training = make_training("plain")
    found = []
    for crew in (InProcessCrew(), FaultyCrew(InProcessCrew()).fail_when("rehearse", worker=0)):
        engine = CrewEngine(crew, 3)
        engine.load(training.task, training.data, training.model.training_state(0))
        found.append(engine.evaluate("validation", 16).tobytes())
        if isinstance(crew, FaultyCrew):
            crew.assert_all_fired()
            assert list(crew.workers) == [1, 2]
    assert found[0] == found[1]
