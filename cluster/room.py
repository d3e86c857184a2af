"""How many workers a cluster can hold, and how to say that it holds fewer than were asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def room_for(nodes: Iterable[Mapping[str, Any]], cpus: int) -> int:
    """How many workers of `cpus` CPUs fit into the nodes (as `ray.nodes()` gives them) if all were free."""
    return sum(
        int(node.get("Resources", {}).get("CPU", 0)) // cpus for node in nodes if node.get("Alive", False)
    )


def no_room_message(
    wanted: int, got: int, cpus: int, free: Mapping[str, float], total: Mapping[str, float]
) -> str:
    """One sentence on why there are `got` workers instead of `wanted`."""
    state = f"{free.get('CPU', 0):g} of its {total.get('CPU', 0):g} CPUs are free"
    each = f"each worker asks for {cpus} CPU{'s' if cpus != 1 else ''}"
    if got:
        return f"only {got} of {wanted} workers could be started ({each}; now {state})"
    if not cpus:
        return f"none of {wanted} workers could be started on this machine"
    if free.get("CPU", 0) >= cpus:
        return f"no worker has started though there seems to be room: {each}, and {state}. See `ray status`"
    return (
        f"the cluster has no room for a worker: {each}, and {state}. Wait until other jobs end, or ask for "
        "fewer threads"
    )
