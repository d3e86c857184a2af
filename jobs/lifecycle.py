"""How events move a run from state to state while it lives. Pure: a status and an event in, changes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.supervision import Loss
from distnn import incidents
from jobs.status import State, Status

ENGINE_READY = "engine-ready"


def changes_after(status: Status, kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What an event changes in the status of a run; nothing if it is of another kind."""
    changes: dict[str, Any] = {}
    if kind == incidents.WORKER_LOST:
        changes = {"state": State.RECOVERING, "message": _loss(facts), "losses": status.losses + 1}
    elif kind == incidents.WAITING:
        why = f": {facts['why']}" if facts.get("why") else ""
        changes = {"state": State.WAITING, "message": f"for {facts['for']} ({facts['have']} there){why}"}
    elif kind in (incidents.RECOVERED, ENGINE_READY):
        changes = {"state": State.RUNNING, "message": ""}
    elif kind not in (incidents.WORKER_JOINED, incidents.WORKER_LEFT):
        return {}
    if "workers" in facts:
        changes["workers"] = int(facts["workers"])
    return changes


def _loss(facts: Mapping[str, Any]) -> str:
    """The sentence that the log has of the loss."""
    who = {"pid": facts["pid"], "host": facts["host"], "phase": facts["phase"]}
    return str(Loss(facts["worker"], (0, 0), facts["cause"], facts["detail"], **who))
