"""How long two cores take to meet: which of its two states a machine is in (see docs/performance.md)."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402

from distnn.kernels.waiting import LINE, arrive_and_await, meet_often  # noqa: E402

_MEETINGS = 2_000
_TRIES = 15


def meeting_ns() -> float:
    """Nanoseconds two threads take to meet by way of memory: the median of the tries, NaN if all fail."""
    words = np.zeros(3 * LINE, np.int64)
    with ThreadPoolExecutor(2) as threads:
        found = [list(threads.map(_meet, [words] * 2, [0, 1]))[0] for _ in range(_TRIES)]
    whole = [one for one in found if one is not None]
    return statistics.median(whole) if whole else float("nan")


def _meet(words: np.ndarray, rank: int) -> float | None:
    arrive_and_await(words, rank, 2, int(words[rank * LINE]) + 1, 2 * LINE)
    began = time.perf_counter()
    met = meet_often(words, rank, 2, _MEETINGS)
    return (time.perf_counter() - began) / _MEETINGS * 1e9 if met == _MEETINGS else None


def told(meetings: list[float]) -> str:
    """The distances of all rounds, in words."""
    return f"two cores met in {' '.join(f'{ns:.0f}' for ns in meetings)} ns, round by round"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print(told([meeting_ns() for _ in range(options.rounds)]))


if __name__ == "__main__":
    main()
