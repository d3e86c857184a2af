"""Training over Ray on this machine: any number of workers, and workers that die or hang in the middle."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from cases import arrays, make_training, plain_model, reference, rich_model, run
from crews import CrewEngine, FaultyCrew, ManyCores

from distnn.engine import Engine, EngineOptions, create_engine
from distnn.errors import EngineError, UserCodeError
from jobs.chaos.watch import wait_until

if TYPE_CHECKING:
    from cluster.connect import Connection
    from cluster.crew import Crew

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:BatchNormalization takes the statistics of its shard"),
]


@pytest.fixture
def crew(ray_cluster: Connection) -> Iterator[Crew]:
    from cluster.ray_crew import RayCrew

    crew = RayCrew(ray_cluster, threads=1)
    yield ManyCores(crew)
    crew.close()


@pytest.fixture(scope="module")
def engine(ray_cluster: Connection) -> Iterator[Engine]:
    engine = create_engine("ray", EngineOptions(workers=2))
    yield engine
    engine.close()


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pids: list[int], seconds: float = 10.0) -> None:
    assert wait_until(lambda: not any(map(is_running, pids)), seconds), f"{pids} still run"


# Any number of workers


@pytest.mark.filterwarnings("ignore:7 workers for 4 shards")
def test_same_bytes_with_1_2_3_4_and_7_workers(crew: Crew) -> None:
    for workers in (1, 2, 3, 4, 7):
        engine = CrewEngine(crew, workers)
        assert run(engine) == reference(), f"{workers} workers"
        assert len(engine.coordinator.assignment) == min(workers, 4)


def test_fit_evaluate_predict_and_train_on_batch_equal_the_local_ones(ray_cluster: Connection) -> None:
    x, y = arrays()
    found = []
    for place in ({}, {"backend": "ray", "workers": 2}):
        model = rich_model()
        history = model.fit(x, y, batch_size=16, epochs=2, shards=4, seed=3, verbose=0, **place)  # type: ignore[arg-type]
        found.append(
            [
                history.history["loss"],
                model.evaluate(x, y, verbose=0, shards=4, **place),  # type: ignore[arg-type]
                model.predict(x, shards=4, **place).tolist(),  # type: ignore[arg-type]
                model.train_on_batch(x[:20], y[:20], shards=2, **place),  # type: ignore[arg-type]
                [weight.tolist() for weight in model.get_weights()],
            ]
        )
        model.close()
    assert found[0] == found[1]


def test_a_second_fit_finds_the_workers_warm(ray_cluster: Connection) -> None:
    x, y = arrays()
    model = plain_model()
    place = {"backend": "ray", "workers": 2, "shards": 2}
    model.fit(x, y, verbose=0, **place)  # type: ignore[arg-type]
    engine = model.engine_for("ray", EngineOptions(workers=2))
    pids = engine.worker_pids  # type: ignore[attr-defined]
    began = time.monotonic()
    model.fit(x, y, verbose=0, **place)  # type: ignore[arg-type]
    assert time.monotonic() - began < 2.0
    assert engine.worker_pids == pids and len(pids) == 2  # type: ignore[attr-defined]
    model.close()
    wait_until_gone(pids)


def test_workers_compute_with_one_blas_thread(crew: Crew) -> None:
    from cluster.ray_import import ray
    from distnn.threads import blas_description

    run(CrewEngine(crew, 1))
    actor = crew.crew._actors[0]  # type: ignore[attr-defined]
    described = ray.get(actor.__ray_call__.remote(lambda worker: blas_description()))
    assert [one["num_threads"] for one in described] == [1] * len(described)


# Losses


def test_a_killed_worker_changes_no_byte(crew: Crew) -> None:
    faulty = FaultyCrew(crew).fail_at(worker=1, step=3)
    engine = CrewEngine(faulty, 3)
    assert run(engine) == reference()
    assert sorted(engine.coordinator.assignment) == [0, 2]
    faulty.assert_all_fired()


def test_workers_killed_at_any_instant_change_no_byte(crew: Crew) -> None:
    for delay_s in (0.002, 0.02):
        engine = CrewEngine(crew, 3)
        training = make_training("rich")
        engine.load(training.task, training.data, training.model.training_state(0))
        victim = max(crew.workers.values(), key=lambda info: info.number)
        killer = threading.Timer(delay_s, os.kill, (victim.pid, signal.SIGKILL))
        killer.start()
        fingerprints: list[int] = []
        while engine.state().step < 10 or victim.number in crew.workers:
            if engine.state().step == 10:
                engine.set_state(training.model.training_state(0))
                fingerprints = []
            fingerprints += engine.run_segment(1).fingerprints.tolist()
        killer.join()
        fingerprints += engine.run_segment(10 - engine.state().step).fingerprints.tolist()
        assert tuple(fingerprints) == reference().fingerprints


def test_a_stopped_worker_is_killed_at_the_deadline_and_changes_no_byte(crew: Crew) -> None:
    faulty = FaultyCrew(crew).hang_at(worker=1, step=3)
    engine = CrewEngine(faulty, 2, deadline_s=1.0)
    engine.crew.recruit(2)
    pid = faulty.workers[1].pid
    began = time.monotonic()
    assert run(engine) == reference()
    assert time.monotonic() - began < 20.0
    faulty.assert_all_fired()
    wait_until_gone([pid], seconds=2.0)


def test_slow_work_is_not_taken_for_a_hung_worker(crew: Crew) -> None:
    """A step and an evaluation that take longer than the deadline, while shards are finished all along."""
    from user_layers import slow_model

    x, y = arrays()
    engine = CrewEngine(crew, 1, deadline_s=0.6)
    model = slow_model()
    model.engine_for = lambda backend, options: engine  # type: ignore[method-assign]
    began = time.monotonic()
    model.train_on_batch(x[:16], y[:16], shards=16)
    assert time.monotonic() - began > 0.8
    model.evaluate(x[:16], y[:16], shards=16)  # the first one may take as long as compiling does
    began = time.monotonic()
    engine.evaluate("data", 16)
    assert time.monotonic() - began > 0.8
    assert len(crew.workers) == 1


def test_without_workers_left_the_error_names_worker_and_step(crew: Crew) -> None:
    faulty = FaultyCrew(crew).fail_at(worker=0, step=2)
    engine = CrewEngine(faulty, 1)
    with pytest.raises(
        EngineError, match=r"^step 2: worker 0 \(pid .+\) died while .+, and no worker is left"
    ):
        run(engine)
    assert engine.state().step == 2
    faulty.assert_all_fired()


# The user's code


def test_an_exception_of_the_users_code_is_told_once(engine: Engine) -> None:
    training = make_training("touchy", provoke=True)
    engine.load(training.task, training.data, training.model.training_state(0))
    with pytest.raises(UserCodeError) as raised:
        engine.run_segment(10)
    text = str(raised.value)
    assert text.count("Traceback") == 1 and text.count("in check") == 1
    assert "site-packages/ray" not in text and "cluster/worker.py" not in text
    assert raised.value.place is not None and raised.value.place.step == engine.state().step
    assert text.endswith(": ArithmeticError: too large for me")


def test_an_exit_in_the_users_code_ends_no_worker(engine: Engine) -> None:
    from user_layers import exiting_model

    x, y = arrays()
    run(engine)
    pids = engine.worker_pids  # type: ignore[attr-defined]
    model = exiting_model()
    model.engine_for = lambda backend, options: engine  # type: ignore[method-assign]
    with pytest.raises(UserCodeError, match="SystemExit"):
        model.predict(x, shards=2)
    assert engine.worker_pids == pids  # type: ignore[attr-defined]


def test_data_reaches_the_workers_unchanged_and_cannot_be_written(crew: Crew) -> None:
    from cluster.ray_import import ray

    engine = CrewEngine(crew, 1)
    training = make_training("plain")
    engine.load(training.task, training.data, training.model.training_state(0))

    def look(worker):  # type: ignore[no-untyped-def]
        data = worker._runner.data["train"]
        return data.x[0].flags.writeable, data.digest()

    actor = crew.crew._actors[0]  # type: ignore[attr-defined]
    is_writeable, digest = ray.get(actor.__ray_call__.remote(look))
    assert not is_writeable
    assert digest == training.data["train"].digest()


# Connections


def test_engines_share_one_ray(ray_cluster: Connection) -> None:
    from cluster.ray_import import ray

    first = create_engine("ray", EngineOptions(workers=1))
    second = create_engine("ray", EngineOptions(workers=1))
    first.close()
    first.close()
    assert ray.is_initialized()
    assert run(second) == reference()
    second.close()
    assert ray.is_initialized()


def test_another_cluster_in_the_same_process_is_refused(ray_cluster: Connection) -> None:
    with pytest.raises(EngineError, match=r"this process uses the Ray at .* already and cannot join .*:7123"):
        create_engine("ray", EngineOptions(workers=1, address="203.0.113.7:7123"))


def test_weights_of_every_size_travel(crew: Crew) -> None:
    """Small ones within the call, large ones through the object store."""
    small, large = np.arange(1000, dtype=np.float32), np.arange(100_000, dtype=np.float32)
    from cluster.ray_import import ray

    assert crew.share(small) is small
    handle = crew.share(large)
    assert isinstance(handle, ray.ObjectRef)
    np.testing.assert_array_equal(ray.get(handle), large)
