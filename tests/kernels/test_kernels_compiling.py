"""What compiling a kernel leaves out: it would cost a cold start, or every step, and nobody misses it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from distnn.kernels.jit import REGISTRY, kernel

only_compiled = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="says something about compiled code"
)

PROGRAM = """
import gc, json
import numpy as np
from numba.core import event
from distnn.kernels.accumulate import sum_and_count
from distnn.kernels.normalization import batch_norm_gradient

compiled, collections, depth = [], [], [0]

class Listener(event.Listener):
    def on_start(self, happened):
        compiled.append(happened.data["dispatcher"].py_func.__name__)
        depth[0] += 1

    def on_end(self, happened):
        depth[0] -= 1

def note_collection(phase, info):
    if depth[0]:
        collections.append(phase)

gc.callbacks.append(note_collection)
event.register("numba:compile", Listener())
sums = np.zeros(2)
sum_and_count(np.ones(40, np.float32), sums)
assert sums.tolist() == [40, 40]
names, vector, rows = list(compiled), np.ones(3, np.float32), np.ones((4, 3), np.float32)
batch_norm_gradient(
    rows, vector, vector, vector, rows, rows, 1, rows.copy(), vector.copy(), vector.copy(), np.ones((2, 3))
)
(code,) = batch_norm_gradient.inspect_asm().values()
answer = names, len(collections), gc.isenabled(), code.count("NRT_"), "batch_norm_gradient" in code
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a process says that compiles two kernels."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, "DISTNN_CACHE_DIR": str(tmp_path_factory.mktemp("cold") / "kernels")},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout)
    return answer


@only_compiled
def test_vectors_are_instructions_of_their_callers(told: list[Any]) -> None:
    assert told[0] == ["sum_and_count", "run_sum_f64"]


@only_compiled
def test_nothing_is_collected_meanwhile(told: list[Any]) -> None:
    assert told[1:3] == [0, True]


@only_compiled
def test_kernels_count_no_references(told: list[Any]) -> None:
    assert told[3:] == [0, True]


@only_compiled
@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_failed_compilation_leaves_the_collector_as_it_was(is_enabled: bool) -> None:
    @kernel
    def broken(x: Any) -> Any:
        return x.nothing

    del REGISTRY["test_kernels_compiling.broken"]
    was_enabled = gc.isenabled()
    (gc.enable if is_enabled else gc.disable)()
    try:
        with pytest.raises(TypingError):
            broken(np.zeros(1))
        assert gc.isenabled() is is_enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
