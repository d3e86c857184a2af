"""What failed -> what to do: a table, no processes."""

from __future__ import annotations

import pytest

from cluster.exchange.phases import computing, phase
from cluster.supervision import Action, Loss, decide


def died(worker: int, start: int, stop: int) -> Loss:
    return Loss(worker, (start, stop), "died", "killed")


def silent(worker: int, start: int, stop: int) -> Loss:
    return Loss(worker, (start, stop), "silent", "10 s")


@pytest.mark.parametrize(
    ("earlier", "now", "survivors", "action", "words"),
    [
        ([], [died(1, 2, 4)], 1, Action.RETRY, ["step 12", "worker 1 died (killed)", "1 worker goes on"]),
        ([], [silent(1, 2, 4)], 3, Action.RETRY, ["worker 1 was silent for 10 s;", "3 workers go on"]),
        ([], [died(0, 0, 2), died(1, 2, 4)], 1, Action.RETRY, ["worker 0 died", "and worker 1 died"]),
        # nobody, or too few: replacements are waited for
        ([], [died(0, 0, 4)], 0, Action.WAIT, ["step 12", "worker 0 died", "no worker is left"]),
        ([], [silent(0, 0, 4)], 0, Action.WAIT, ["no worker is left"]),
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


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (
            Loss(1, (2, 4), "silent", "60 s", 7, "a", computing((2, 4))),
            "worker 1 (pid 7 on a) was silent for 60 s while it computed its shards 2-3",
        ),
        (
            Loss(0, (0, 1), "died", "killed", 7, "a", computing((0, 1))),
            "worker 0 (pid 7 on a) died while it computed its shard 0 (killed)",
        ),
        (Loss(0, (0, 0), "died", "killed"), "worker 0 died (killed)"),
    ],
)
def test_a_loss_names_worker_host_and_phase(loss: Loss, sentence: str) -> None:
    assert str(loss) == sentence
    assert decide("step 12", [], [loss], 1).reason.startswith(f"step 12: {sentence}; 1 worker goes on")


SLICE = "while it added up and updated its slice of the weights"
SQUARES = "while it added up and measured its slice of the gradient"
UPDATE = "while it updated its slice of the weights"
WAITED = "while it waited for the others"


@pytest.mark.parametrize(
    ("reached", "others", "barriers", "expected"),
    [
        (0, 0, 2, computing((2, 4))),
        (0, 1, 2, computing((2, 4))),
        (1, 0, 2, WAITED),
        (1, 1, 2, SLICE),
        (1, 2, 2, SLICE),
        (2, 1, 2, WAITED),
        (2, 2, 2, computing((2, 4))),
        (1, 1, 3, SQUARES),
        (2, 2, 3, UPDATE),
        (2, 1, 3, WAITED),
        (3, 3, 3, computing((2, 4))),
        (7, 7, 3, SQUARES),
        (20, 20, 2, "when it had done all steps it was asked for"),
    ],
)
def test_phases_from_barriers(reached: int, others: int, barriers: int, expected: str) -> None:
    assert phase((2, 4), reached, others, barriers, steps=10) == expected
