"""What IMDB and Reuters have in common: texts as lists of word numbers, the frequent ones first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from distnn.datasets.keras_files import keras_file
from distnn.tensor import Array


@dataclass(frozen=True)
class WordNumbers:
    """How word numbers become those of `load_data`.

    Args:
        num_words: numbers from this on are out of vocabulary; None for all.
        skip_top: numbers below this are, too.
        maxlen: texts of this length and more are left out; None for none.
        start_char: comes before each text; None for none.
        oov_char: stands for what is out of vocabulary; None leaves it out.
        index_from: what is added to the file's numbers.
    """

    num_words: int | None
    skip_top: int
    maxlen: int | None
    start_char: int | None
    oov_char: int | None
    index_from: int

    def begun(self, texts: Iterable[Any]) -> list[list[int]]:
        """The texts as lists, moved on by `index_from`, with their beginnings."""
        first = [] if self.start_char is None else [self.start_char]
        return [first + [int(word) + (self.index_from or 0) for word in text] for text in texts]

    def short_ones(self, texts: list[list[int]], labels: Array) -> tuple[list[list[int]], Array]:
        """Texts below `maxlen`, with their labels."""
        if not self.maxlen:
            return texts, labels
        kept = [i for i, text in enumerate(texts) if len(text) < self.maxlen]
        if not kept:
            raise ValueError(
                f"After filtering for sequences shorter than maxlen={self.maxlen}, no sequence was kept. "
                "Increase maxlen."
            )
        return [texts[i] for i in kept], labels[kept]

    def known(self, texts: list[list[int]], num_words: int) -> Array:
        """The texts with what is out of vocabulary replaced, as an array of lists."""
        found = np.empty(len(texts), object)
        for i, text in enumerate(texts):
            if self.oov_char is None:
                found[i] = [word for word in text if self.skip_top <= word < num_words]
            else:
                found[i] = [word if self.skip_top <= word < num_words else self.oov_char for word in text]
        return found

    def vocabulary(self, *parts: list[list[int]]) -> int:
        """`num_words`, or the largest number: so is Keras's, which leaves that one out."""
        return self.num_words or max(max(text) for part in parts for text in part)


def word_index(name: str, path: str) -> dict[str, int]:
    """The number of each word in the file, without `index_from`."""
    with open(keras_file(name, path), encoding="utf-8") as file:
        found: dict[str, int] = json.load(file)
        return found
