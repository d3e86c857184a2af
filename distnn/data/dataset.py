"""`ArrayDataset`: arrays with a batch size, for `fit`, `evaluate` and `predict` in the place of x and y."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from distnn.tensor import Array


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """What Keras's `..._dataset_from_...` functions give, all of it in memory.

    Args:
        x: inputs.
        y: targets, or None.
        batch_size: of the batches; None leaves it to `fit`.
        shuffle: whether `fit` takes a new order in each epoch.
        class_names: of labels that came from folders.
        file_paths: where the samples came from.
    """

    x: Array
    y: Array | None = None
    batch_size: int | None = None
    shuffle: bool = False
    class_names: list[str] = field(default_factory=list)
    file_paths: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of batches; the last may be short."""
        return -(-len(self.x) // (self.batch_size or max(1, len(self.x))))

    def __iter__(self) -> Iterator[Any]:
        """The batches in order: `(x, y)`, or x alone if there are no targets."""
        size = self.batch_size or max(1, len(self.x))
        for start in range(0, len(self.x), size):
            part = slice(start, start + size)
            yield self.x[part] if self.y is None else (self.x[part], self.y[part])
