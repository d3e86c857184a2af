"""The samples of a small training as a `PyDataset` and as a generator."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from trainings import Array, Outcome, classification, train

from distnn.layers import BatchNormalization, Dense, Dropout, Input
from distnn.models import Model, Sequential
from distnn.optimizers import Adam
from distnn.utils import PyDataset

X, Y = classification(53)
EVEN = (16, 32, 48, 53)
UNEVEN = (3, 20, 21, 53)


class Batches(PyDataset):
    """The samples in batches that end at `cuts`."""

    def __init__(self, cuts: tuple[int, ...] = EVEN, weights: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cuts = cuts
        self.weights = weights
        self.asked: list[int] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return len(self.cuts)

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        self.threads.add(threading.current_thread().name)
        rows = slice(self.cuts[index - 1] if index else 0, self.cuts[index])
        return (X[rows], Y[rows]) if self.weights is None else (X[rows], Y[rows], self.weights[rows])


def endless(cuts: tuple[int, ...] = EVEN) -> Iterator[tuple[Array, Array]]:
    while True:
        yield from Batches(cuts)


def make() -> Sequential:
    model = Sequential(
        [Input((6,)), Dense(7, "relu", kernel_regularizer="l2"), Dropout(0.2), Dense(3, "softmax")]
    )
    model.compile(Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def coupled() -> Sequential:
    model = Sequential([Input((6,)), Dense(7), BatchNormalization(), Dense(3, "softmax")])
    model.compile(Adam(0.01, global_clipnorm=1.0), "sparse_categorical_crossentropy")
    return model


def fitted(x: Any, model: Callable[[], Model] = make, **fit: Any) -> Outcome:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the run goes on|BatchNormalization takes")
        return train(model, x, None, **{"shuffle": False, "epochs": 3, "threads": 1, **fit})
