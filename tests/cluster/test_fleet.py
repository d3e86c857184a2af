"""Machines that are not alike are refused or named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cases import make_training
from crews import CrewEngine

from cluster.fleet import mixed_fleet_message, other_version_message
from distnn.errors import EngineError
from distnn.recipe import arithmetic_facts

if TYPE_CHECKING:
    from cluster.connect import Connection


def test_equal_machines_give_no_warning() -> None:
    facts = arithmetic_facts()
    assert mixed_fleet_message(facts, {"a": facts, "b": arithmetic_facts()}) is None


def test_a_mixed_fleet_is_named_with_what_differs() -> None:
    facts = {"numpy": "2.0", "blas": [{"architecture": "SkylakeX"}]}
    other = {"numpy": "2.0", "blas": [{"architecture": "Haswell"}]}
    message = mixed_fleet_message(facts, {"left": facts, "right": other})
    assert message is not None
    assert "right: blas" in message and "Haswell" in message and "left" not in message


def test_another_version_names_the_hosts_once() -> None:
    assert "is installed on a, b than here" in other_version_message(["b", "a", "b"], is_here=False)


def test_files_that_changed_under_a_running_program_ask_for_a_new_start() -> None:
    assert other_version_message(["a"], is_here=True).endswith("start the program again")


@pytest.mark.ray
def test_workers_of_another_version_are_refused(
    ray_cluster: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are asked instead are no better, so nobody waits for long."""
    from cluster import ray_crew

    crew = ray_crew.RayCrew(ray_cluster, threads=1)
    monkeypatch.setattr(ray_crew, "PACKAGE_DIGEST", "0" * 32)
    monkeypatch.setattr("cluster.staff.pause_s", lambda failed: 0.0)
    training = make_training("plain")
    with pytest.raises(
        EngineError, match=r"^loading: 0 of 1 workers could be started: the files of distnn have"
    ):
        CrewEngine(crew, 1, wait_s=60.0).load(training.task, training.data, training.model.training_state(0))
    assert crew.failed_starts == 3 and not crew.workers
    crew.close()
