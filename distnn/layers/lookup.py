"""Words and codes as numbers: StringLookup, IntegerLookup, TextVectorization.

They work on arrays, before the model: text is no tensor. Their vocabulary is learnt by `adapt`, the most
frequent first and equally frequent ones in order, so that it is the same everywhere.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from distnn.layers.layer import Layer
from distnn.network import is_functional
from distnn.tensor import Array, Tensor

OUTPUT_MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


class _Lookup(Layer):
    """A vocabulary: special tokens first (mask, unknown), then what was given or learnt.

    Args:
        max_tokens: of the vocabulary, special tokens included; None for all.
        num_oov_indices: numbers for what is not in the vocabulary: 1, or 0 to refuse it.
        mask_token: what stands for nothing and becomes 0; None for no such token.
        oov_token: what an unknown token is turned back into.
        vocabulary: the tokens, without special ones; else learnt by `adapt`.
        invert: numbers to tokens.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf".
        pad_to_max_tokens: vectors of `max_tokens` values, even if the vocabulary is smaller.
        idf_weights: for "tf_idf", of a vocabulary that is given.
    """

    oov_default: Any = "[UNK]"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: Any = None,
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if output_mode not in OUTPUT_MODES:
            raise ValueError(
                f"Unknown value for `output_mode`: {output_mode!r}. Expected one of {OUTPUT_MODES}"
            )
        if num_oov_indices not in (0, 1):
            raise ValueError(f"`num_oov_indices` must be 0 or 1. Received: {num_oov_indices}")
        if max_tokens is not None and max_tokens <= num_oov_indices + (mask_token is not None):
            raise ValueError(f"`max_tokens` leaves no room for a token. Received: max_tokens={max_tokens}")
        if invert and output_mode != "int":
            raise ValueError(f"`invert` needs output_mode='int'. Received: output_mode={output_mode!r}")
        self.max_tokens, self.num_oov_indices = max_tokens, num_oov_indices
        self.mask_token = mask_token
        self.oov_token = self.oov_default if oov_token is None else oov_token
        self.invert, self.output_mode, self.pad_to_max_tokens = invert, output_mode, pad_to_max_tokens
        self._tokens: list[Any] = []
        self._weights: list[float] = []
        self._numbers: dict[Any, int] = {}
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    # Vocabulary

    @property
    def _first(self) -> int:
        """The number of the first token that is not special."""
        return self.num_oov_indices + (self.mask_token is not None)

    def set_vocabulary(self, vocabulary: Iterable[Any], idf_weights: Iterable[float] | None = None) -> None:
        """Use these tokens, in their order; special ones at the beginning may be left out."""
        tokens = [self._token(token) for token in vocabulary]
        special = self._special()
        if tokens[: len(special)] == special:
            tokens = tokens[len(special) :]
        if len(set(tokens)) != len(tokens):
            twice = next(token for token, count in Counter(tokens).items() if count > 1)
            raise ValueError(f"The vocabulary has {twice!r} more than once")
        if self.max_tokens is not None and len(tokens) + self._first > self.max_tokens:
            raise ValueError(
                f"The vocabulary has {len(tokens)} tokens and {self._first} special ones, more than "
                f"max_tokens={self.max_tokens}"
            )
        self._tokens = tokens
        self._weights = [] if idf_weights is None else [float(weight) for weight in idf_weights]
        self._numbers = {token: number for number, token in enumerate(tokens, self._first)}

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens in the order of their numbers."""
        return [*(self._special() if include_special_tokens else []), *self._tokens]

    def _special(self) -> list[Any]:
        mask = [] if self.mask_token is None else [self.mask_token]
        return mask + [self.oov_token] * self.num_oov_indices

    def vocabulary_size(self) -> int:
        return self._first + len(self._tokens)

    def adapt(self, data: Any) -> None:
        """Learn the vocabulary of `data`: documents along axis 0."""
        documents = [self._split(document) for document in np.asarray(data).tolist()]
        special = {self.mask_token, self.oov_token}
        counts = Counter(token for tokens in documents for token in tokens if token not in special)
        room = None if self.max_tokens is None else self.max_tokens - self._first
        ordered = sorted(counts, key=lambda token: (-counts[token], _order(token)))[:room]
        holding = Counter(token for tokens in documents for token in set(tokens))
        weights = [float(np.log(1 + len(documents) / (1 + holding[token]))) for token in ordered]
        self.set_vocabulary(ordered, weights if self.output_mode == "tf_idf" else None)

    def _token(self, value: Any) -> Any:
        raise NotImplementedError

    def _split(self, document: Any) -> list[Any]:
        values = document if isinstance(document, list) else [document]
        flat = np.asarray(values, object).reshape(-1).tolist() if values else []
        return [self._token(value) for value in flat]

    # Looking up

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Numbers (or vectors) for an array of tokens; with `invert` tokens for an array of numbers."""
        if isinstance(inputs, Tensor) or is_functional(inputs):
            raise ValueError(
                f"layer '{self.name}' works on arrays of text or codes, before the model: call it on the "
                "data and give the model the numbers"
            )
        if not self._tokens:
            raise ValueError(
                f"layer '{self.name}' has no vocabulary: call `adapt(data)` first, or give `vocabulary`"
            )
        array = np.asarray(inputs)
        if self.invert:
            vocabulary = np.array(self.get_vocabulary(), object)
            outside = (array < 0) | (array >= len(vocabulary))
            found = vocabulary[np.where(outside, 0, array)]
            return np.where(outside, self.oov_token, found)
        return self._encoded(self._looked_up(array))

    def _looked_up(self, array: Array) -> Array:
        numbers = [self._number(value) for value in array.reshape(-1).tolist()]
        return np.array(numbers, np.int64).reshape(array.shape)

    def _number(self, value: Any) -> int:
        token = self._token(value)
        if self.mask_token is not None and token == self.mask_token:
            return 0
        number = self._numbers.get(token)
        if number is None:
            if self.num_oov_indices == 0:
                raise ValueError(f"{token!r} is not in the vocabulary of layer '{self.name}'")
            return self._first - 1
        return number

    def _encoded(self, numbers: Array) -> Array:
        if self.output_mode == "int":
            return numbers
        size = self.vocabulary_size()
        if self.pad_to_max_tokens and self.max_tokens is not None:
            size = self.max_tokens
        if self.output_mode == "one_hot":
            if numbers.ndim > 1 and numbers.shape[-1] == 1:
                numbers = numbers[..., 0]
            return np.eye(size, dtype=np.float32)[numbers]
        rows = numbers.reshape(len(numbers), -1) if numbers.ndim else numbers.reshape(1, -1)
        counts = np.zeros((len(rows), size), np.float32)
        for row, tokens in zip(counts, rows, strict=True):
            np.add.at(row, tokens, 1)
        if self.output_mode == "multi_hot":
            counts = np.minimum(counts, 1)
        if self.output_mode == "tf_idf":
            mean = float(np.mean(self._weights)) if self._weights else 1.0
            weights = [*[mean] * self._first, *self._weights]
            counts[:, : len(weights)] *= np.array(weights, np.float32)
        return counts if numbers.ndim else counts[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_tokens": self.max_tokens,
            "num_oov_indices": self.num_oov_indices,
            "mask_token": self.mask_token,
            "oov_token": self.oov_token,
            "vocabulary": self.get_vocabulary(include_special_tokens=False) or None,
            "invert": self.invert,
            "output_mode": self.output_mode,
            "pad_to_max_tokens": self.pad_to_max_tokens,
            "idf_weights": self._weights or None,
        }


def _order(token: Any) -> Any:
    """Equally frequent tokens: as Keras has them, the last in the alphabet first."""
    return tuple(-ord(letter) for letter in token) + (1,) if isinstance(token, str) else -token


class StringLookup(_Lookup):
    """Words as numbers."""

    def _token(self, value: Any) -> str:
        return value.decode() if isinstance(value, bytes) else str(value)


class IntegerLookup(_Lookup):
    """Codes, which are whole numbers, as numbers from 0 on; -1 stands for what is unknown."""

    oov_default = -1

    def _token(self, value: Any) -> int:
        if isinstance(value, bool) or int(value) != value:
            raise ValueError(f"IntegerLookup takes whole numbers. Received: {value!r}")
        return int(value)


_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
STANDARDIZE: Mapping[str, Callable[[str], str]] = {
    "lower_and_strip_punctuation": lambda text: _PUNCTUATION.sub("", text.lower()),
    "lower": str.lower,
    "strip_punctuation": lambda text: _PUNCTUATION.sub("", text),
}
SPLIT: Mapping[str, Callable[[str], list[str]]] = {"whitespace": str.split, "character": list}


class TextVectorization(StringLookup):
    """Texts as numbers: standardised, split into tokens, put together to n-grams, looked up.

    With "int", 0 is padding and 1 what is unknown, and every text has the same length.

    Args:
        max_tokens: of the vocabulary, special tokens included.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", a function, or None.
        split: "whitespace", "character", a function that splits a text, or None.
        ngrams: n for all n-grams up to n, or the lengths wanted.
        output_mode: "int", "multi_hot", "count" or "tf_idf".
        output_sequence_length: for "int": texts are cut or padded to it; by default to the longest given.
        pad_to_max_tokens: as for `StringLookup`.
        vocabulary: the tokens, without special ones; else learnt by `adapt`.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        **kwargs: Any,
    ) -> None:
        for name, given, known in (("standardize", standardize, STANDARDIZE), ("split", split, SPLIT)):
            if given is not None and not callable(given) and given not in known:
                raise ValueError(
                    f"Unknown value for `{name}`: {given!r}. Expected one of {tuple(known)}, a function, or "
                    "None"
                )
        if output_mode == "one_hot":
            raise ValueError("TextVectorization has no output_mode='one_hot'; use 'multi_hot'")
        self.standardize, self.split, self.ngrams = standardize, split, ngrams
        self.output_sequence_length = output_sequence_length
        super().__init__(
            max_tokens=max_tokens,
            mask_token="" if output_mode == "int" else None,
            vocabulary=vocabulary,
            output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            **kwargs,
        )

    def _split(self, document: Any) -> list[str]:
        text = document[0] if isinstance(document, list) else document
        text = self._token(text)
        if self.standardize is not None:
            text = (STANDARDIZE.get(self.standardize, self.standardize))(text)
        if self.split is None:
            return [text]
        words = list((SPLIT.get(self.split, self.split))(text))
        if self.ngrams is None:
            return words
        lengths = range(1, self.ngrams + 1) if isinstance(self.ngrams, int) else self.ngrams
        return [" ".join(words[i : i + n]) for n in lengths for i in range(len(words) - n + 1)]

    def _looked_up(self, array: Array) -> Array:
        texts = array.reshape(-1).tolist()
        rows = [[self._number(token) for token in self._split(text)] for text in texts]
        length = self.output_sequence_length or max(map(len, rows), default=0)
        if self.output_mode == "int":
            found = np.zeros((len(rows), length), np.int64)
            for place, row in zip(found, rows, strict=True):
                place[: len(row[:length])] = row[:length]
            return found if array.ndim else found[0]
        counts = np.zeros((len(rows), self.vocabulary_size()), np.int64)
        for place, row in zip(counts, rows, strict=True):
            np.add.at(place, row, 1)
        return counts if array.ndim else counts[0]

    def _encoded(self, numbers: Array) -> Array:
        if self.output_mode == "int":
            return numbers
        counts = numbers.astype(np.float32)
        if self.output_mode == "multi_hot":
            counts = np.minimum(counts, 1)
        if self.output_mode == "tf_idf":
            mean = float(np.mean(self._weights)) if self._weights else 1.0
            counts = counts * np.array([*[mean] * self._first, *self._weights], np.float32)
        if self.pad_to_max_tokens and self.max_tokens is not None:
            missing = self.max_tokens - counts.shape[-1]
            counts = np.pad(counts, [*[(0, 0)] * (counts.ndim - 1), (0, missing)])
        return counts

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("num_oov_indices", "mask_token", "oov_token", "invert"):
            del config[name]
        for name in ("standardize", "split"):
            if callable(getattr(self, name)):
                raise ValueError(
                    f"layer '{self.name}' was given a function as `{name}`, which cannot be written down"
                )
        return {
            **config,
            "standardize": self.standardize,
            "split": self.split,
            "ngrams": list(self.ngrams) if isinstance(self.ngrams, list | tuple) else self.ngrams,
            "output_sequence_length": self.output_sequence_length,
        }
