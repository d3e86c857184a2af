"""How many workers fit, and the sentence when they do not."""

from __future__ import annotations

import pytest

from cluster.room import no_room_message, room_for


def node(cpus: float | None, alive: bool = True) -> dict[str, object]:
    return {"Alive": alive, "Resources": {} if cpus is None else {"CPU": cpus}}


@pytest.mark.parametrize(
    ("nodes", "cpus", "room"),
    [
        ([], 1, 0),
        ([node(4)], 1, 4),
        ([node(4), node(3)], 2, 3),
        ([node(1), node(1)], 2, 0),
        ([node(8, alive=False), node(2)], 1, 2),
        ([node(None)], 1, 0),
    ],
)
def test_room_for_table(nodes: list[dict[str, object]], cpus: int, room: int) -> None:
    assert room_for(nodes, cpus) == room


def test_message_says_what_is_free() -> None:
    free, total = {"CPU": 1.0}, {"CPU": 4.0}
    assert no_room_message(8, 3, 1, free, total) == (
        "only 3 of 8 workers could be started (each worker asks for 1 CPU; now 1 of its 4 CPUs are free)"
    )
    assert no_room_message(2, 0, 2, {"CPU": 2.0}, total) == (
        "no worker has started though there seems to be room: each worker asks for 2 CPUs, and 2 of its "
        f"{total['CPU']:g} CPUs are free. See `ray status`"
    )
    message = no_room_message(8, 0, 2, {}, total)
    assert "no room for a worker: each worker asks for 2 CPUs, and 0 of its 4 CPUs are free" in message
