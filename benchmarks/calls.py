"""What a call costs where programs call in a loop: one row predicted or trained on, a hook for each batch.

    python benchmarks/calls.py [--workers 2] [--rounds 5] [--calls 2000]

A net of 4-24-24-2, as games have it. One row: `predict`, `train_on_batch` and `fit` of one epoch, in ms
a call, in one process. A hook: `fit` with a callback that has `on_train_batch_end`, less the same without, in
milliseconds a step, in one process and over Ray, where each batch then goes through the coordinator. Warm
calls: medians of those after the first few.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from ours import Setup, one_ray  # noqa: E402
from timing import add_common_arguments, machine, spread, table, take_turns, write_figures  # noqa: E402

from distnn.callbacks import Callback  # noqa: E402
from distnn.layers import Dense, Input  # noqa: E402
from distnn.models import Sequential  # noqa: E402

ONE_ROW, HOOK = "one row, one process", "a hook for each batch"
STEPS, BATCH = 200, 32
"""Of the `fit` whose batches a hook is called for."""


class Hook(Callback):
    """Wants to hear of every batch, and does nothing."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


def make_model() -> Sequential:
    model = Sequential([Input((4,)), Dense(24, "relu"), Dense(24, "relu"), Dense(2)])
    model.compile("adam", "mse")
    return model


def median_ms(call: Callable[[], object], count: int, cold: int = 10) -> float:
    """Of calls after so many cold ones."""
    for _ in range(cold):
        call()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def one_row_ms(count: int) -> dict[str, float]:
    """A game's calls."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 4)).astype(np.float32), rng.normal(size=(1, 2)).astype(np.float32)
    with make_model() as model:
        return {
            "predict": median_ms(lambda: model.predict(x, verbose=0), count),
            "train_on_batch": median_ms(lambda: model.train_on_batch(x, y), count),
            "fit": median_ms(lambda: model.fit(x, y, verbose=0), count),
        }


def hook_ms(setup: Setup, count: int) -> float:
    """Milliseconds a step that a hook adds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS * BATCH, 4)).astype(np.float32)
    y = rng.normal(size=(len(x), 2)).astype(np.float32)
    options: dict[str, Any] = {"batch_size": BATCH, "verbose": 0, "seed": 0}
    options |= {"backend": setup.backend, "workers": setup.workers, "shards": setup.shards}
    with make_model() as model:
        with_hook = median_ms(lambda: model.fit(x, y, callbacks=[Hook()], **options), count, 1)
        without = median_ms(lambda: model.fit(x, y, **options), count, 1)
    return (with_hook - without) / STEPS


def hooks_ms(setups: list[Setup], count: int) -> dict[str, float]:
    return {setup.name: hook_ms(setup, count) for setup in setups}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="over Ray")
    parser.add_argument("--calls", type=int, default=2000, help="with one row, of each kind and round")
    parser.add_argument("--fits", type=int, default=5, help="with and without a hook, in each round")
    add_common_arguments(parser)
    options = parser.parse_args()
    setups = [Setup("local", 1, 1), Setup("ray", options.workers, options.workers)]
    sides: dict[str, Callable[[], Mapping[str, float]]] = {
        ONE_ROW: partial(one_row_ms, options.calls),
        HOOK: partial(hooks_ms, setups, options.fits),
    }
    with one_ray(setups):
        found = take_turns(sides, options.rounds)
    rows = [[f"{call} of one row", spread(times)] for call, times in found[ONE_ROW].items()]
    rows += [[f"{HOOK}, {setup.name}", spread(found[HOOK][setup.name])] for setup in setups]
    print(table(["4-24-24-2", "ms"], rows))
    print(f"\nmedian (least-most) of {options.rounds} rounds; {machine()}")
    write_figures(options, found)


if __name__ == "__main__":
    main()
