"""The nodes of `chaos.py`: raylets of Ray's cluster utilities on this machine, killed and begun again."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import psutil

from distnn import incidents
from jobs.chaos.blows import Blow
from jobs.chaos.injectors import (
    FOLLOWS_WITHIN_S,
    NoVictim,
    Scene,
    Struck,
    expect,
    is_dead,
    wait_for,
    workers_here,
)
from jobs.chaos.watch import wait_until

STORE = {"object_store_memory": 100_000_000}


class Nodes:
    """A head without room for workers but one, and two nodes for the others; a form of `with`."""

    def __init__(self, workers: int) -> None:
        from cluster.ray_import import ray  # noqa: F401  (quietly, before anybody else)

        from ray.cluster_utils import Cluster  # isort: skip

        self._cpus = max(1, workers - 1)
        self._folder = tempfile.TemporaryDirectory(prefix="nodes-", dir="/tmp", ignore_cleanup_errors=True)
        head = {"num_cpus": 1, "include_dashboard": False, "dashboard_agent_listen_port": 0, **STORE}
        self._cluster = Cluster(initialize_head=True, head_node_args={**head, "temp_dir": self._folder.name})
        self._others: list[Any] = [self._add(), self._add()]
        self.address: str = self._cluster.address

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()
        self._folder.cleanup()

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=self._cpus, **STORE)

    def strike(self, scene: Scene, blow: Blow) -> Struck:
        """Kill a node that computes, see that the run goes on, and begin another.

        Raises:
            NoVictim: no worker is on a node that may be killed.
            Broken: nobody noticed, or the run does not go on.
        """
        raylets = {raylet_pid(node): node for node in self._others}
        there = [(worker, process.ppid(), process) for worker, process in workers_here(scene)]
        victims = sorted({parent for _, parent, _ in there if parent in raylets})
        if not victims:
            raise NoVictim("no worker is on a node that may be killed")
        victim = victims[int(blow.victim * len(victims))]
        struck = Struck(blow.kind, scene.watch.step())
        lost = [(worker, process) for worker, parent, process in there if parent == victim]
        place, raylet = len(scene.watch.events), psutil.Process(victim)
        os.kill(victim, 9)
        expect(wait_until(lambda: is_dead(raylet), 10.0), "the raylet survived SIGKILL")
        self._others.remove(raylets[victim])
        self._cluster.remove_node(raylets[victim], allow_graceful=False)
        self._others.append(self._add())
        told = wait_for(scene, place, incidents.WORKER_LOST, FOLLOWS_WITHIN_S)
        recovered = wait_for(scene, place, incidents.RECOVERED, FOLLOWS_WITHIN_S)
        if told is None:
            raise NoVictim("the run ended before it could notice")
        expect(all(wait_until(lambda p=p: is_dead(p), 10.0) for _, p in lost), "workers outlived their node")
        struck.phase, struck.detail = told["phase"], f"with {len(lost)} workers"
        struck.standstill_s = None if recovered is None else float(recovered["time"]) - struck.time
        return struck


def raylet_pid(node: Any) -> int:
    """The process that a node is."""
    from ray._private import ray_constants

    return int(node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process.pid)
