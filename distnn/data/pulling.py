"""Where pulled batches come from: a generator, or a `PyDataset`. One batch after another, by their numbers.

Batches are numbered through all epochs. A source hands out what `convert` makes of a batch, and says which
batch it was when that, or the user's code, raises. Whoever trains asks for a range of batches first, so that
none is made that is not needed.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from distnn.data.arrays import ArrayData
from distnn.data.py_dataset import PyDataset
from distnn.rng import stream_key

Convert = Callable[[str, Any], ArrayData]
"""From what the user's code gave to arrays; told which batch of what it is."""


def is_pulled(x: Any) -> bool:
    """Whether data come batch by batch: from a generator, another iterator, or a `PyDataset`."""
    return isinstance(x, PyDataset) or (hasattr(x, "__next__") and hasattr(x, "__iter__"))


class BatchSource(ABC):
    """Batches by number, each range in order.

    Attributes:
        what: it is, for messages.
        num_batches: of one pass; None if it is not known, or there is no end.
        has_numbers: whether any batch can be had by its number.
    """

    what: str
    num_batches: int | None = None
    has_numbers = False

    @abstractmethod
    def peek(self) -> ArrayData | None:
        """A batch like those to come; None if there is none at all."""

    @abstractmethod
    def begin(self, first: int, stop: int) -> None:
        """The batches [first, stop) are asked for next."""

    @abstractmethod
    def next(self) -> ArrayData | None:
        """The next batch; None if there are no more."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether `next` need not wait for a thread."""

    def has_more(self) -> bool:
        """Whether there is another batch at all."""
        return True

    @abstractmethod
    def on_epoch_begin(self) -> None:
        """An epoch begins; no batch of it has been made."""

    @abstractmethod
    def on_epoch_end(self) -> None:
        """An epoch has ended."""

    @abstractmethod
    def close(self) -> None:
        """End the threads; the source can be used again."""


class GeneratorSource(BatchSource):
    """What a generator yields, in the thread that asks: its code may look at the model.

    What it sees is the model as the epoch began, unless a callback looks at each batch.
    """

    def __init__(self, iterator: Iterator[Any], convert: Convert, what: str = "the generator") -> None:
        self.what = what
        self._iterator = iterator
        self._convert = convert
        self._peeked: deque[ArrayData] = deque()
        self._pulled = 0
        self._has_ended = False

    def peek(self) -> ArrayData | None:
        return self._peeked[0] if self.has_more() else None

    def has_more(self) -> bool:
        if not self._peeked:
            batch = self._pull()
            if batch is None:
                return False
            self._peeked.append(batch)
        return True

    def begin(self, first: int, stop: int) -> None:
        while self._pulled - len(self._peeked) < first and self.next() is not None:
            pass

    def next(self) -> ArrayData | None:
        return self._peeked.popleft() if self._peeked else self._pull()

    def is_ready(self) -> bool:
        return True

    def on_epoch_begin(self) -> None:
        pass  # it knows of no epochs

    def on_epoch_end(self) -> None:
        pass

    def close(self) -> None:
        pass  # it may go on in another training

    def _pull(self) -> ArrayData | None:
        if self._has_ended:
            return None  # an iterator that begins again would make a second epoch of unknown length
        name = f"batch {self._pulled} of {self.what}"
        try:
            given = next(self._iterator)
        except StopIteration:
            self._has_ended = True
            return None
        except BaseException as error:
            error.add_note(f"distnn: raised while {name} was made")
            raise
        self._pulled += 1
        return self._convert(name, given)


class DatasetSource(BatchSource):
    """The batches of a `PyDataset`, again and again, made in threads some batches ahead.

    Args:
        dataset: with a number of batches, or without end.
        convert: see `Convert`.
        order_seed: each pass takes the batches in an order that is a function of this; None: in turn.
    """

    has_numbers = True

    def __init__(self, dataset: PyDataset, convert: Convert, order_seed: int | None = None) -> None:
        self.what = f"the PyDataset {type(dataset).__name__}"
        self.num_batches = _checked_count(dataset, self.what)
        self._dataset = dataset
        self._convert = convert
        self._order_seed = order_seed
        self._ahead = max(1, dataset.max_queue_size)
        self._pool: ThreadPoolExecutor | None = None
        self._futures: deque[Future[ArrayData]] = deque()
        self._peeked: tuple[int, ArrayData] | None = None
        self._next = self._stop = 0
        if dataset.use_multiprocessing:
            warnings.warn(
                f"{self.what} has use_multiprocessing=True: its batches are made by threads of this process "
                f"({dataset.workers}), not by processes. Leave it False.",
                stacklevel=7,
            )

    def peek(self) -> ArrayData | None:
        batch = self._get(self._next)
        self._peeked = (self._next, batch)
        return batch

    def begin(self, first: int, stop: int) -> None:
        if self._peeked is not None and not first <= self._peeked[0] < stop:
            self._peeked = None
        if first != self._next - len(self._futures):
            self._drop()
            self._next = first
        self._stop = stop
        self._order_more()

    def next(self) -> ArrayData | None:
        self._order_more()
        if not self._futures:
            self._next += 1
            return self._get(self._next - 1)
        batch = self._futures[0].result()
        self._futures.popleft()
        self._order_more()
        return batch

    def is_ready(self) -> bool:
        return not self._futures or self._futures[0].done()

    def on_epoch_begin(self) -> None:
        if type(self._dataset).on_epoch_begin is not PyDataset.on_epoch_begin:
            self._peeked = None  # the hook may change what is in it
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._peeked = None
        self._drop()
        self._dataset.on_epoch_end()

    def close(self) -> None:
        self._drop()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    def _order_more(self) -> None:
        """Let the threads make what is needed next."""
        threads = self._dataset.workers
        if threads < 1:
            return
        while self._next < self._stop and len(self._futures) < self._ahead:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(threads, thread_name_prefix="distnn-batches")
            self._futures.append(self._pool.submit(self._get, self._next))
            self._next += 1

    def _drop(self) -> None:
        """Forget what has been ordered; none of it is being made any more."""
        self._next -= len(self._futures)
        while self._futures:
            future = self._futures.popleft()
            if not future.cancel():
                future.exception()

    def _get(self, number: int) -> ArrayData:
        peeked = self._peeked
        if peeked is not None and peeked[0] == number:
            self._peeked = None
            return peeked[1]
        index = self._index(number)
        name = f"batch {index} of {self.what}"
        try:
            given = self._dataset[index]
        except BaseException as error:
            error.add_note(f"distnn: raised while {name} was made")
            raise
        return self._convert(name, given)

    def _index(self, number: int) -> int:
        count = self.num_batches
        if count is None:
            return number
        turn, place = divmod(number, count)
        if self._order_seed is None:
            return place
        from distnn.kernels.random import feistel_order

        found = np.zeros(1, np.int64)
        feistel_order(stream_key(self._order_seed, "batches", turn), count, place, place + 1, found)
        return int(found[0])


def _checked_count(dataset: PyDataset, what: str) -> int | None:
    count = dataset.num_batches
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise ValueError(f"the number of batches of {what} must be a whole number. Received: {count!r}")
    if count == 0:
        raise ValueError(f"{what} has no batches: its length is 0")
    return int(count)
