"""Programs that tests run in processes of their own: `python programs.py NAME`."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from cases import arrays, local_fingerprints, make_training, reference, rich_model, run

from distnn.engine import EngineOptions, create_engine

STORE = {"object_store_memory": 100_000_000}
HEAD = {"num_cpus": 1, "include_dashboard": False, "dashboard_agent_listen_port": 0, **STORE}


def say(*words: Any) -> None:
    print(*words, flush=True)


def train_for_ever(address: str | None = None, workers: str = "2") -> None:
    """Trains until Ctrl-C, says what was committed, goes on, and is then killed by the test."""
    training = make_training("rich")
    engine = create_engine("ray", EngineOptions(workers=int(workers), address=address))
    engine.load(training.task, training.data, training.model.training_state(0))
    pids = engine.worker_pids  # type: ignore[attr-defined]
    engine.run_segment(1)
    try:
        say("training", *pids)
        while True:
            engine.run_segment(100_000)
    except KeyboardInterrupt:
        step = engine.state().step
    state = engine.state().copy()
    engine.set_state(training.model.training_state(0))
    engine.run_segment(step)
    is_whole = engine.state().weights.tobytes() == state.weights.tobytes()
    say("interrupted", step > 1, is_whole, engine.worker_pids == pids)  # type: ignore[attr-defined]
    while True:
        engine.run_segment(100_000)


def train_in(folder: str, instant: str = "", victims: str = "coordinator") -> None:
    """Trains with shared memory in a folder; kills itself, or all it has begun too, at an instant.

    For ever, or at an instant, or to the end (`end`) when it has been told a line.
    """
    from cluster.exchange import segment as segments

    segments.FOLDER = Path(folder)
    training = make_training("rich")
    engine = create_engine("ray", EngineOptions(workers=2, exchange="shared_memory"))
    engine.load(training.task, training.data, training.model.training_state(0))

    def kill(*_: Any) -> None:
        if victims == "everything":
            for process in psutil.Process().children(recursive=True):
                process.kill()
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_after(count: int) -> Any:
        def ask(requests: dict[int, Any], *arguments: Any) -> Any:
            crew_ask(dict(list(requests.items())[:count]), *arguments)
            kill()

        crew = engine._coordinator._crew  # type: ignore[attr-defined]
        crew_ask = crew.ask
        return crew, ask

    if instant == "while it is made":
        os.posix_fallocate = kill
    elif instant in ("before anybody maps it", "when one has mapped it"):
        crew, ask = kill_after(0 if instant.startswith("before") else 1)
        crew.ask = ask
    elif instant == "when all have mapped it":
        segments.SharedSegment.forget_name = kill  # type: ignore[method-assign]
    if not instant:
        engine.run_segment(1)
    say("training")
    if not instant:
        while True:
            engine.run_segment(100_000)
    sys.stdin.readline()
    engine.run_segment(1000)
    engine.close()


def train_both_ways() -> None:
    """Trains with the exchange that works, then with shared memory, and says what is told."""
    engine = create_engine("ray", EngineOptions(workers=2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", ".*shared memory")
        is_same = run(engine) == reference()
    engine.close()
    say("auto", is_same, *(one.message for one in caught if "shared memory" in str(one.message)))
    engine = create_engine("ray", EngineOptions(workers=2, exchange="shared_memory"))
    try:
        run(engine)
    except Exception as error:
        say(type(error).__name__, "at step", engine.state().step, error)
    engine.close()


def fit_at(address: str) -> None:
    """Fits on the cluster at an address with more workers than it has room for."""
    x, y = arrays()
    model = rich_model()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "only")
        place = {"backend": "ray", "workers": 3, "shards": 4, "address": address}
        model.fit(x, y, batch_size=16, epochs=2, seed=3, verbose=0, **place)  # type: ignore[arg-type]
    say("warning", *(str(one.message) for one in caught if "worker" in str(one.message)))
    say("loss", model.history.history["loss"][-1].hex())
    engine = model.engine_for("ray", EngineOptions(workers=3, address=address))
    say("pids", *engine.worker_pids)  # type: ignore[attr-defined]
    model.close()


def fail_at(address: str) -> None:
    """Says how connecting fails, and after how long."""
    began = time.monotonic()
    try:
        create_engine("ray", EngineOptions(workers=1, address=address))
    except Exception as error:
        say(type(error).__name__, round(time.monotonic() - began), str(error))


def embedded_beside() -> None:
    """Without an address nothing but an embedded Ray is used, whatever the environment says."""
    x, y = arrays()
    model = rich_model()
    model.fit(x, y, batch_size=16, epochs=2, seed=3, verbose=0, backend="ray", workers=1, shards=4)
    from cluster.ray_import import ray

    say("head", ray.get_runtime_context().gcs_address)
    say("agent's port", ray._private.worker._global_node.dashboard_agent_listen_port)
    begun = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    say(
        "helpers",
        *(name for name in ("monitor.py", "log_monitor.py") if any(name in words for words in begun)),
    )
    say("loss", model.history.history["loss"][-1].hex())
    say("token in home", os.path.exists(os.path.expanduser("~/.ray")))


def import_ray_first() -> None:
    """As a program does that uses Ray for other things, too."""
    import ray  # noqa: F401

    embedded_beside()


def serve_two_nodes() -> None:
    """A cluster of two nodes on this machine, of one CPU and of two, until standard input ends."""
    from cluster.ray_import import ray  # noqa: F401  (quietly, before anybody else)

    from ray.cluster_utils import Cluster  # isort: skip

    with tempfile.TemporaryDirectory(prefix="two-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(initialize_head=True, head_node_args={**HEAD, "temp_dir": folder})
        cluster.add_node(num_cpus=2, **STORE)
        say("address", cluster.address)
        sys.stdin.read()
        cluster.shutdown()


def train_on_nodes(address: str, exchange: str, deadline_s: str, *fault: str) -> None:
    """Trains with three workers on two nodes, one of which may send itself a signal; compares the bytes.

    `fault`: which worker of the node with two (0 or 1), the place of the third step, the signal.
    """
    from crews import CrewEngine
    from faults import strike_in_process

    from cluster.connect import connect
    from cluster.ray_crew import RayCrew

    connection = connect(address, 3)
    crew = RayCrew(connection, threads=1)
    engine = CrewEngine(crew, 3, float(deadline_s), exchange)
    crew.recruit(3)
    nodes: dict[str, list[int]] = {}
    for number, info in crew.workers.items():
        nodes.setdefault(info.node, []).append(number)
    say("nodes", *sorted(map(len, nodes.values())), len({info.machine for info in crew.workers.values()}))
    if fault:
        which, place, signal_number = fault
        worker = max(nodes.values(), key=len)[int(which)]
        strike_in_process(crew, worker, "strike_node", int(signal_number), place=place, step=2)
    outcome = run(engine)
    say("exchange", getattr(engine.exchange, "chosen", exchange))
    say("same", outcome == reference(), "survivors", len(crew.workers))
    crew.close()
    connection.close()


def train_until_told(address: str, deadline_s: str) -> None:
    """Trains with three workers until standard input ends; compares the fingerprints."""
    from crews import CrewEngine

    from cluster.connect import connect
    from cluster.ray_crew import RayCrew

    connection = connect(address, 3)
    crew = RayCrew(connection, threads=1)
    engine = CrewEngine(crew, 3, float(deadline_s), "auto", wait_s=60.0)
    training = make_training("rich")
    engine.load(training.task, training.data, training.model.training_state(0))
    found = engine.run_segment(2).fingerprints.tolist()
    say("training", len(engine.coordinator.assignment))
    while not select.select([sys.stdin], [], [], 0.0)[0]:
        found += engine.run_segment(2).fingerprints.tolist()
    say("same", found == local_fingerprints(len(found)))
    crew.close()
    connection.close()


def lose_and_gain_a_node(exchange: str) -> None:
    """Trains on three nodes, one of which is killed and, later, another begun; says what happened."""
    from cluster.ray_import import ray  # noqa: F401  (quietly, before anybody else)

    from ray.cluster_utils import Cluster  # isort: skip
    from crews import CrewEngine

    from cluster.connect import connect
    from cluster.ray_crew import RayCrew

    with tempfile.TemporaryDirectory(prefix="three-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(initialize_head=True, head_node_args={**HEAD, "temp_dir": folder})
        lost = cluster.add_node(num_cpus=2, **STORE)
        cluster.add_node(num_cpus=1, **STORE)
        connection = connect(cluster.address, 4)
        crew = RayCrew(connection, threads=1)
        engine = CrewEngine(crew, 4, exchange=exchange, wait_s=60.0)
        training = make_training("rich")
        engine.load(training.task, training.data, training.model.training_state(0))
        found = train_until(engine, lambda: len(engine.coordinator.assignment) == 4)
        joined = len(engine.told("worker-joined"))
        say("nodes", *sorted(Counter(info.node for info in crew.workers.values()).values()))
        cluster.remove_node(lost, allow_graceful=False)
        found += train_until(engine, lambda: bool(engine.told("recovered")))
        say("lost", len(engine.told("worker-lost")), "computing", engine.told("recovered")[0]["workers"])
        cluster.add_node(num_cpus=2, **STORE)
        found += train_until(engine, lambda: len(engine.coordinator.assignment) == 4)
        say("joined", len(engine.told("worker-joined")) - joined)
        found += engine.run_segment(5).fingerprints.tolist()
        say("same", found == local_fingerprints(len(found)))
        crew.close()
        connection.close()
        cluster.shutdown()


def train_until(engine: Any, is_reached: Callable[[], bool]) -> list[int]:
    """Segments of two steps until then, a hundred seconds at most; their fingerprints."""
    found: list[int] = []
    limit = time.monotonic() + 100
    while not is_reached():
        assert time.monotonic() < limit
        found += engine.run_segment(2).fingerprints.tolist()
    return found


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "BatchNormalization takes the statistics of its shard")
    globals()[sys.argv[1]](*sys.argv[2:])
