"""Pulled batches on their way to an engine: some of them at a time, for as many steps.

A window is a small data set of its own, with the sizes of its batches; sending one costs what a call costs,
so it holds what can be had without waiting. The training's bytes do not depend on how batches are grouped.
Called by the training loop, and by `evaluate` and `predict`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from distnn.batching import UNKNOWN_STEPS, Batching
from distnn.data.arrays import ArrayData, ends_of, joined
from distnn.data.pulling import BatchSource
from distnn.errors import DataError

PULL_SECONDS = 0.2
"""How long batches are pulled before those at hand are computed."""
WINDOW_BYTES = 64 * 1024 * 1024
"""A window is closed when it holds more."""
WINDOW_BATCHES = 256

RAN_OUT = (
    "Your input ran out of data; interrupting training. Make sure that your dataset or generator can "
    "generate at least `steps_per_epoch * epochs` batches."
)
"""Keras's warning."""


class Puller:
    """Takes batches from a source, as many as come without waiting long.

    An error in the making of a batch waits until those before it have been taken: what is trained before an
    error is a matter of its batch, not of time.
    """

    def __init__(self, source: BatchSource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._error: Exception | None = None

    def pull(self, limit: int) -> list[ArrayData]:
        """Up to `limit` batches: one, and those that are ready soon. None are left if it is empty."""
        found: list[ArrayData] = []
        num_bytes, began = 0, self._clock()
        while len(found) < min(limit, WINDOW_BATCHES) and num_bytes < WINDOW_BYTES:
            if found and not (self._source.is_ready() and self._clock() - began < PULL_SECONDS):
                break
            batch = self._next(is_first=not found)
            if batch is None:
                break
            found.append(batch)
            num_bytes += batch.num_bytes
        return found

    def _next(self, is_first: bool) -> ArrayData | None:
        """The next batch; None if there are no more, or its error has to wait."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        try:
            return self._source.next()
        except Exception as error:
            if is_first:
                raise
            self._error = error
            return None


def windows(source: BatchSource, stop: int | None) -> Iterator[ArrayData]:
    """The first `stop` batches of one pass, or all of it, some of them at a time."""
    known = [count for count in (stop, source.num_batches) if count is not None]
    left = min(known, default=UNKNOWN_STEPS)
    source.on_epoch_begin()
    source.begin(0, left)
    puller = Puller(source)
    while left and (found := puller.pull(left)):
        left -= len(found)
        stop = None if stop is None else stop - len(found)
        yield joined(found)
    source.on_epoch_end()
    if stop:
        warnings.warn(RAN_OUT, stacklevel=4)


@dataclass(frozen=True)
class Window:
    """Batches of steps one after another."""

    batches: tuple[ArrayData, ...]
    batching: Batching

    @property
    def data(self) -> ArrayData:
        """All of them as one, copied anew where they are several."""
        return joined(self.batches)

    def steps_left(self, step: int) -> int:
        """How many of its steps come after committed `step`."""
        return self.batching.first_step + len(self.batches) - step

    def samples_done(self, step: int) -> int:
        """Samples of its steps up to committed `step`."""
        return sum(batch.num_samples for batch in self._done(step))

    def last(self, step: int) -> ArrayData | None:
        """The batch of the step that committed `step`; None if that is not among them."""
        return next(reversed(self._done(step)), None)

    def _done(self, step: int) -> tuple[ArrayData, ...]:
        return self.batches[: step - self.batching.first_step]


class Feed:
    """The pulled batches of one training.

    A window's steps are committed one by one, so where the training is follows from the committed step: what
    was pulled is ahead of it.

    Args:
        source: where they come from.
        batching: of the training, as if all batches had the first one's size.
        first: a batch like those to come.
        first_step: of the training; a source without numbers begins with its batch.

    Attributes:
        window: with the batches that the engine has; None where the epoch has had none.
    """

    def __init__(self, source: BatchSource, batching: Batching, first: ArrayData, first_step: int) -> None:
        self.source = source
        self.window: Window | None = None
        self._puller = Puller(source)
        self._first_step = first_step
        self._origin = 0 if source.has_numbers else first_step
        self._batching = batching
        self._first = first
        self._epoch: int | None = None
        self._samples_before = 0  # the window, in the epoch
        self._last_before: ArrayData | None = None
        self._has_warned = False

    def opening(self, step: int) -> Batching:
        """Something to make an engine ready with that begins at `step`; it is no step's batch."""
        return self._window([self._first], step).batching

    def begin_epoch(self, epoch: int, step: int, stop: int) -> None:
        """The steps [step, stop) of `epoch` come next."""
        if self._epoch != epoch:
            self.end_epoch()
            self._begin(epoch)
        self._ask_for(step, stop)

    def _ask_for(self, step: int, stop: int) -> None:
        self.source.begin(step - self._origin, stop - self._origin)

    def _begin(self, epoch: int) -> None:
        self.source.on_epoch_begin()
        self._leave_window()
        self._epoch, self._samples_before = epoch, 0

    def pull(self, step: int, limit: int) -> Window | None:
        """The batches of up to `limit` steps from `step` on, the next window; None if there are no more.

        All steps of the window before have been committed.
        """
        self._leave_window()
        found = self._puller.pull(limit)
        self.window = self._window(found, step) if found else None
        return self.window

    def _leave_window(self) -> None:
        if self.window is not None:
            self._samples_before += self.window.batching.cuts[-1]
            self._last_before = self.window.batches[-1]
            self.window = None

    def samples(self, step: int) -> int:
        """That the epoch's steps up to committed `step` have seen."""
        return self._samples_before + (0 if self.window is None else self.window.samples_done(step))

    def has_more(self) -> bool:
        """Whether there is another batch at all."""
        return self.source.has_more()

    def warn_once(self) -> bool:
        """Say that the batches ended before the training; whether that is new."""
        if self._has_warned:
            return False
        self._has_warned = True
        warnings.warn(RAN_OUT, stacklevel=8)
        return True

    def end_epoch(self) -> None:
        """The epoch's steps are done; nothing happens if none is under way."""
        if self._epoch is not None:
            self.source.on_epoch_end()
            self._epoch = None

    def close(self) -> None:
        """Nobody makes batches any more."""
        self.source.close()

    # Checkpoints

    def state(self, step: int) -> dict[str, Any]:
        """Where committed `step` is, and what came last: how it is known again that batches are the same."""
        last = self._last_before
        if self.window is not None:
            last = self.window.last(step) or last
        return {"samples": self.samples(step), "last": "" if last is None else last.digest()}

    def go_on(self, state: dict[str, Any], step: int) -> bool:
        """Be where the training of `state` was when it had committed `step`.

        What came before is pulled and dropped, where batches have no numbers. Hooks of the epochs before are
        called, so that a dataset that shuffles itself with a seed of its own is where it was.

        Returns:
            Whether the last batch is the one that came last.

        Raises:
            DataError: the batches end before.
        """
        if step == self._first_step:
            return True
        per_epoch = self._batching.steps_per_epoch
        last_epoch = (step - 1) // per_epoch
        for epoch in range(self._first_step // per_epoch, last_epoch):
            self._begin(epoch)
            self.end_epoch()
        self._begin(last_epoch)
        self._ask_for(step - 1, step)
        last = self._last_before = self.source.next()
        if last is None:
            raise DataError(
                f"{self.source.what} ended before step {step}, where the run is to go on: give one that "
                "yields the same batches as in the beginning"
            )
        # The epoch's last step does not end it here: it may have been left in its validation.
        self._samples_before = int(state["samples"])
        return last.digest() == str(state["last"])

    def _window(self, found: list[ArrayData], step: int) -> Window:
        return Window(tuple(found), replace(self._batching, cuts=ends_of(found), first_step=step))
