"""What failed -> what to do: a table, no processes."""

from __future__ import annotations

import pytest

from cluster.supervision import Action, Loss, decide


def died(worker: int, start: int, stop: int) -> Loss:
    return Loss(worker, (start, stop), "died", "killed")


def silent(worker: int, start: int, stop: int) -> Loss:
    return Loss(worker, (start, stop), "silent", "no shard finished for 10 s")


@pytest.mark.parametrize(
    ("earlier", "now", "survivors", "action", "words"),
    [
        ([], [died(1, 2, 4)], 1, Action.RETRY, ["step 12", "worker 1 died (killed)", "1 worker goes on"]),
        ([], [silent(1, 2, 4)], 3, Action.RETRY, ["worker 1 was silent", "3 workers go on"]),
        ([], [died(0, 0, 2), died(1, 2, 4)], 1, Action.RETRY, ["worker 0 died", "and worker 1 died"]),
        ([], [died(0, 0, 4)], 0, Action.FAIL, ["step 12", "worker 0 died", "no worker is left"]),
        ([], [silent(0, 0, 4)], 0, Action.FAIL, ["no worker is left", "raise the deadline"]),
        # another shard: chance
        ([[died(0, 0, 2)]], [died(2, 2, 4)], 2, Action.RETRY, ["worker 2 died"]),
        # the same shard twice in a step: the shard is to blame
        ([[died(0, 0, 2)]], [died(2, 1, 3)], 2, Action.FAIL, ["shard 1", "worker 0 died", "then worker 2"]),
        ([[died(0, 0, 2)], [died(1, 2, 3)]], [died(2, 2, 4)], 2, Action.FAIL, ["shard 2", "worker 1 died"]),
        ([[silent(0, 0, 4)]], [silent(1, 0, 4)], 1, Action.FAIL, ["shard 0", "raise the deadline"]),
        # losses while loading have no shards and are never blamed on one
        ([[died(0, 0, 0)]], [died(1, 0, 0)], 1, Action.RETRY, ["worker 1 died"]),
    ],
)
def test_decide_table(
    earlier: list[list[Loss]], now: list[Loss], survivors: int, action: Action, words: list[str]
) -> None:
    decision = decide("step 12", earlier, now, survivors)
    assert decision.action is action
    assert decision.action.is_terminal == (action is Action.FAIL)
    for word in words:
        assert word in decision.reason
