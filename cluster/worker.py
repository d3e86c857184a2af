"""What runs in a worker process: it computes shards of one task, one call at a time.

Knows nothing of ray: the crew makes an actor of it. It returns a `Failure` where the user's code or ours
raises. `progress` may be called from another thread while a call runs.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil

from cluster.counting import CountingRunner
from cluster.crew import Failure
from cluster.exchange.arrivals import Part
from cluster.exchange.barrier import GenerationOver
from cluster.exchange.membership import Membership
from cluster.exchange.segment import SharedLayout, SharedSegment
from cluster.exchange.shared_steps import SharedSteps
from cluster.fleet import PACKAGE_DIGEST, arithmetic_facts
from cluster.machine import machine_identity
from cluster.mapped_model import MappedModel
from cluster.stopping import end_with_parent
from cluster.transport import unpack
from cluster.user_code import describe
from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.errors import EngineError, FaultPlace
from distnn.evaluation import Place, batches
from distnn.kernels.compiling_order import compiling_as_second
from distnn.kernels.jit import load_compiler
from distnn.kernels.streaming import stream
from distnn.kernels.waiting import (
    LINE,
    arrive_and_await,
    await_words,
    meet_often,
    pass_barrier,
    read_word,
    write_word,
)
from distnn.reduction import Range, ShardSums
from distnn.task import Task
from distnn.tensor import Array
from distnn.threads import available_cores, product_threads
from distnn.update_plan import UpdatePlan
from distnn.weights import aligned_zeros

T = TypeVar("T")


class Worker:
    """Computes shards of the task it was given last."""

    def __init__(self) -> None:
        self._runner: CountingRunner | None = None
        self._weights: Array = aligned_zeros(0)
        self._threads = ExitStack()
        self._steps: SharedSteps | None = None
        self._optimizer = b""
        self._node = Membership()
        self._mapped = MappedModel()

    def hello(self, find_node: Callable[[], str]) -> dict[str, Any]:
        """Settle in a process of its own, and say who this is (`WorkerInfo`) and what it computes with.

        `find_node` tells the node that this process runs on; only the crew knows how.
        """
        _ignore_interrupts()
        end_with_parent()
        # No kernel is parallel; should one be, it must not start a thread for every core of the machine.
        os.environ.setdefault("NUMBA_NUM_THREADS", "1")
        load_compiler()
        process = psutil.Process()
        info = {
            "pid": process.pid,
            "started": process.create_time(),
            "node": find_node(),
            "machine": machine_identity(),
            "host": socket.gethostname(),
            "cores": available_cores(),
        }
        return {"info": info, "package": PACKAGE_DIGEST, "arithmetic": arithmetic_facts()}

    def progress(self) -> tuple[int, int]:
        """Numbers that change with every shard or item, and while this worker waits for its node's others."""
        computed = 0 if self._runner is None else self._runner.progress
        return computed + self._mapped.finished, self._node.waits

    def load(
        self, search_path: Sequence[str], task: bytes, names: Sequence[str], *data: ArrayData
    ) -> Failure | None:
        """Make ready for a task.

        Args:
            search_path: the coordinator's `sys.path`, where the user's modules are found.
            task: a packed `Task`.
            names: of the data that follow.
            data: read-only arrays, shared with the other workers of the node.
        """
        return self._guarded(None, self._load, search_path, task, dict(zip(names, data, strict=True)))

    def _load(self, search_path: Sequence[str], packed: bytes, data: Mapping[str, ArrayData]) -> None:
        sys.path.extend(path for path in search_path if path not in sys.path)
        task = _unpacked(packed)
        self._threads.close()
        self._threads.enter_context(product_threads(task.threads))
        self._runner = CountingRunner(task, data)
        self._weights = aligned_zeros(task.layout().size)
        self._steps = None
        self._optimizer = b""
        self._node.let_go()

    def take_data(self, batching: Batching, names: Sequence[str], *data: ArrayData) -> None:
        """Compute the task it has in these batches, on other data of the same signature."""
        self._running.take(batching, dict(zip(names, data, strict=True)))

    def take_batches(self, batching: Batching | None, name: str, data: ArrayData) -> None:
        """Go on with other batches in the place of the named data; `batching`: of the steps that come."""
        self._running.take_batches(name, data, batching)

    @property
    def _running(self) -> CountingRunner:
        assert self._runner is not None, "load comes first"
        return self._runner

    def _take(self, weights: Array) -> Array:
        """The weights in a place that stays: programs are bound to addresses, and ours can be written."""
        np.copyto(self._weights, weights)
        return self._weights

    def warm_up(self, step: int, shard: int, weights: Array, is_second: bool = False) -> None:
        """Compute a shard for nothing, so that kernels are compiled (and cached for the node).

        A second process of the machine begins with what the first does last, and shares the compiling. What
        goes wrong here goes wrong again in the step itself, and is told there.
        """
        runner = self._running

        def compute() -> None:
            sums = ShardSums(runner.training.sums_layout)
            runner.compute(step, shard, self._take(weights), sums)
            sums.add(ShardSums(sums.layout))

        def update() -> None:
            UpdatePlan(runner.task, runner.training).warm_up()

        parts = [compute, update, _warm_up_shared_memory]
        try:
            with compiling_as_second() if is_second else nullcontext():
                for part in parts[::-1] if is_second else parts:
                    part()
        except Exception:
            return

    def rehearse(self, method: str, name: str, batch_size: int, shard: int, weights: Array) -> None:
        """Compute a shard of the first batch as `evaluate` or `predict` does, for the same reason."""
        runner = self._running
        data = runner.data[name]
        start, stop = batches(data.num_samples, batch_size, data.cuts)[0]
        try:
            if method == "evaluate":
                sums = runner.evaluation_sums(stop - start)
                runner.evaluate_shard(name, start, stop, shard, self._take(weights), sums)
            else:
                runner.predict_shard(name, start, stop, shard, self._take(weights))
        except Exception:
            return

    def compute(self, step: int, first: int, stop: int, weights: Array) -> tuple[int, list[Part]] | Failure:
        """The step, and sums of its shards [first, stop) as the fewest whole subtrees."""
        return self._guarded(step, self._compute, step, first, stop, weights)

    def _compute(self, step: int, first: int, stop: int, weights: Array) -> tuple[int, list[Part]]:
        with np.errstate(all="ignore"):  # whoever updates tells what matters
            parts = self._running.compute_range(step, first, stop, self._take(weights))
        return step, [(shards, None if sums is None else sums.arrays()) for shards, sums in parts]

    # Steps in shared memory

    def attach(
        self, path: Path, layout: SharedLayout, generation: int, ranges: Sequence[Range], rank: int
    ) -> Failure | None:
        """Take place number `rank` in a new generation; the memory of the one before is let go."""
        return self._guarded(None, self._attach, path, layout, generation, ranges, rank)

    def _attach(
        self, path: Path, layout: SharedLayout, generation: int, ranges: Sequence[Range], rank: int
    ) -> None:
        self._let_go()
        segment = SharedSegment.attach(path, layout, generation)
        self._steps = SharedSteps(self._running, segment, ranges, rank)
        self._optimizer = b""

    def run_steps(self, first_step: int, num_steps: int, iterations: int, optimizer: bytes) -> None | Failure:
        """Do steps with the others of the generation; how far they came, the shared memory says.

        Args:
            first_step: the committed one that they begin from.
            num_steps: how many.
            iterations: updates of the optimizer before.
            optimizer: packed, as it is now: callbacks may have changed it.
        """
        steps = self._steps
        assert steps is not None, "attach comes first"
        try:
            if optimizer != self._optimizer:
                steps.take_optimizer(unpack(optimizer))
                self._optimizer = optimizer
            with np.errstate(all="ignore"):
                steps.run(first_step, num_steps, iterations)
        except GenerationOver:
            return None
        except (Exception, SystemExit) as error:
            steps.leave()
            return describe(error, FaultPlace(-1, steps.step, self._running.shard))
        return None

    # Steps with the others of a node

    def open_node(self, layout: SharedLayout | None, generation: int) -> Path | None | Failure:
        """Make the memory of the node's next generation; its path. Without a layout only sweep."""
        return self._guarded(None, self._open_node, layout, generation)

    def _open_node(self, layout: SharedLayout | None, generation: int) -> Path | None:
        self._let_go()
        return self._node.open(layout, generation)

    def join_node(
        self, path: Path, layout: SharedLayout, generation: int, ranges: Sequence[Range], rank: int
    ) -> Failure | None:
        """Take place number `rank` among the node's workers, whose shards are `ranges`."""
        return self._guarded(None, self._join_node, path, layout, generation, ranges, rank)

    def _join_node(self, path: Path, layout: SharedLayout, generation: int, *place: Any) -> None:
        if self._steps is not None:
            self._let_go()
        self._running.unbind()
        try:
            self._node.join(self._running, path, layout, generation, *place)
        except GenerationOver:
            return

    def compute_together(self, step: int, weights: Array) -> tuple[int, Sequence[Part]] | Failure:
        """The step with the others of the node; the sums of its whole subtrees, from its first worker."""
        steps = self._node.steps
        try:
            with np.errstate(all="ignore"):
                return step, steps.run(step, weights)
        except GenerationOver:
            return step, ()
        except (Exception, SystemExit) as error:
            steps.barrier.leave()
            return describe(error, FaultPlace(-1, step, self._running.shard))

    def leave_node(self, generation: int) -> None:
        """End the generation on this node: its workers stop waiting for each other."""
        self._node.leave(generation)

    def _let_go(self) -> None:
        """Map no shared memory any more."""
        self._steps = None
        self._node.let_go()
        self._running.unbind()

    # Evaluation and prediction

    def evaluate(
        self, step: int, name: str, batch_size: int, shards: Range, weights: Array
    ) -> dict[Place, Array] | Failure:
        """Loss and metric sums of these shards of every batch of the named data."""
        return self._guarded(step, self._evaluate, name, batch_size, shards, weights)

    def _evaluate(self, name: str, batch_size: int, shards: Range, weights: Array) -> dict[Place, Array]:
        return self._running.evaluate(name, batch_size, shards, self._take(weights))

    def predict(
        self, step: int, name: str, batch_size: int, shards: Range, weights: Array
    ) -> dict[Place, list[Array]] | Failure:
        """The outputs of these shards of every batch of the named data."""
        return self._guarded(step, self._predict, name, batch_size, shards, weights)

    def _predict(self, name: str, batch_size: int, shards: Range, weights: Array) -> dict[Place, list[Array]]:
        return self._running.predict(name, batch_size, shards, self._take(weights))

    # Functions of the user's

    def map(self, search_path: Sequence[str], version: int, *packed: bytes) -> bytes | Failure:
        """Results of a function for some items; see `MappedModel.run`."""
        return self._guarded(None, self._mapped.run, search_path, version, *packed)

    def _guarded(self, step: int | None, function: Callable[..., T], *args: Any) -> T | Failure:
        """`function(*args)`, or what the user's code raised (a `sys.exit` in it must not end the worker)."""
        try:
            return function(*args)
        except (Exception, SystemExit) as error:
            runner = self._runner
            known = step is not None and runner is not None
            place = FaultPlace(-1, step or 0, runner.shard) if known and runner is not None else None
            return describe(error, place)


def _warm_up_shared_memory() -> None:
    """Call the kernels by which workers meet, and get at each other's results."""
    words = np.zeros(2 * LINE, np.int64)
    pass_barrier(words, 0, 1, LINE)
    await_words(words, 1, read_word(words, 0), LINE)
    arrive_and_await(words, 0, 1, 2, LINE)
    meet_often(words, 0, 1, 1)
    write_word(words, LINE, 1)
    none = aligned_zeros(0)
    stream(none, none)


def _unpacked(packed: bytes) -> Task:
    try:
        task: Task = unpack(packed)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"the workers cannot import '{error.name}', which the model uses: install it on every node, or "
            "submit the run together with its files"
        ) from error
    return task


def _ignore_interrupts() -> None:
    """Ctrl-C goes to every process of the terminal's group; what it means is the coordinator's to say."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:
        pass  # not the main thread: ray has blocked the signal for its processes anyway
