"""Where in a step a worker is, from the barriers that it and the others have reached. Pure.

For the sentence on a worker that was lost: what it was doing says where to look.
"""

from __future__ import annotations

from distnn.reduction import Range

_WAITED = "while it waited for the others"
_DONE = "when it had done all steps it was asked for"
_AFTER = {
    2: ("while it added up and updated its slice of the weights",),
    3: (
        "while it added up and measured its slice of the gradient",
        "while it updated its slice of the weights",
    ),
}
"""What follows each barrier but the last of a step, by their number."""


def is_computing(reached: int, others: int, barriers: int, steps: int) -> bool:
    """Whether a worker computes its shards; the arguments are those of `phase`."""
    return reached <= others and reached < steps * barriers and reached % barriers == 0


def phase(shards: Range, reached: int, others: int, barriers: int, steps: int) -> str:
    """What a worker does, in words that follow `worker 1 died`.

    Args:
        shards: its own.
        reached: barriers since the beginning of the call.
        others: the fewest that another worker has reached; its own if there is none.
        barriers: of a step.
        steps: of the call.
    """
    if reached > others:
        return _WAITED
    if reached == steps * barriers:
        return _DONE
    place = reached % barriers
    return computing(shards) if place == 0 else _AFTER[barriers][place - 1]


def computing(shards: Range) -> str:
    """What a worker does that computes these shards."""
    first, stop = shards
    if stop - first == 1:
        return f"while it computed its shard {first}"
    return f"while it computed its shards {first}-{stop - 1}"
