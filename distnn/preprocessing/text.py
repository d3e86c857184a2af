"""Texts as numbers of words: Keras's `Tokenizer`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
MODES = ("binary", "count", "freq", "tfidf")
Text = str | Sequence[str]


def text_to_word_sequence(
    input_text: str, filters: str = FILTERS, lower: bool = True, split: str = " "
) -> list[str]:
    """The words of a text: `filters` stand for `split`, and what is left between them is a word.

    >>> text_to_word_sequence("No, no!")
    ['no', 'no']
    """
    text = input_text.lower() if lower else input_text
    table: dict[str, str | int | None] = dict.fromkeys(filters, split)
    return [word for word in text.translate(str.maketrans(table)).split(split) if word]


class Tokenizer:
    """Numbers words by how often they occur, from 1; 0 is left for padding.

    Args:
        num_words: numbers from here on are left out (of the results, not of the index).
        filters: characters that separate words.
        lower: whether texts are taken in lower case.
        split: separates words.
        char_level: every character is a word.
        oov_token: a word, numbered 1, for those that are not known.
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
    ) -> None:
        self.num_words = num_words
        self.filters = filters
        self.lower = lower
        self.split = split
        self.char_level = char_level
        self.oov_token = oov_token
        self.document_count = 0
        self.word_counts: Counter[str] = Counter()
        self.word_docs: Counter[str] = Counter()
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}
        self.index_docs: dict[int, int] = {}

    def _words(self, text: Text) -> list[str]:
        if not isinstance(text, str):
            return [word.lower() if self.lower else word for word in text]
        if self.char_level:
            return list(text.lower() if self.lower else text)
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts: Iterable[Text]) -> None:
        """Count the words of texts (or lists of words), and number them all anew."""
        for text in texts:
            words = self._words(text)
            self.document_count += 1
            self.word_counts.update(words)
            self.word_docs.update(set(words))
        ordered = sorted(self.word_counts, key=lambda word: -self.word_counts[word])
        known = ordered if self.oov_token is None else [self.oov_token, *ordered]
        self.word_index = {word: i for i, word in enumerate(known, start=1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        self.index_docs = {self.word_index[word]: count for word, count in self.word_docs.items()}

    def fit_on_sequences(self, sequences: Iterable[Sequence[int]]) -> None:
        """Count in how many sequences each number occurs, as "tfidf" needs it."""
        docs = Counter(self.index_docs)
        for sequence in sequences:
            self.document_count += 1
            docs.update(set(sequence))
        self.index_docs = dict(docs)

    def texts_to_sequences(self, texts: Iterable[Text]) -> list[list[int]]:
        """The numbers of each text's words; unknown ones are left out, or are the `oov_token`."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable[Text]) -> Iterator[list[int]]:
        """`texts_to_sequences`, one by one."""
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        for text in texts:
            found = (self.word_index.get(word) for word in self._words(text))
            numbers = (unknown if self._is_beyond(number) else number for number in found)
            yield [number for number in numbers if number is not None]

    def _is_beyond(self, number: int | None) -> bool:
        return number is None or (self.num_words is not None and number >= self.num_words)

    def sequences_to_texts(self, sequences: Iterable[Sequence[int]]) -> list[str]:
        """Words with blanks in between; the inverse, as far as there is one."""
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        texts = []
        for sequence in sequences:
            numbers = (unknown if self._is_beyond(n) or n not in self.index_word else n for n in sequence)
            texts.append(" ".join(self.index_word[n] for n in numbers if n is not None))
        return texts

    def texts_to_matrix(self, texts: Iterable[Text], mode: str = "binary") -> npt.NDArray[np.float64]:
        """See `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(
        self, sequences: Sequence[Sequence[int]], mode: str = "binary"
    ) -> npt.NDArray[np.float64]:
        """A row for each sequence and a column for each number: what `mode` says of its count in it.

        Args:
            sequences: of numbers of words.
            mode: "binary" (whether it occurs), "count", "freq" (share) or "tfidf".
        """
        if mode not in MODES:
            raise ValueError(f"Unknown vectorization mode: {mode}. Expected one of {', '.join(MODES)}")
        if not self.num_words and not self.word_index:
            raise ValueError("Specify a dimension (`num_words` argument), or fit on some text data first.")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("Fit the Tokenizer on some data before using tfidf mode.")
        columns = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(sequences), columns))
        for row, sequence in zip(matrix, sequences, strict=True):
            for number, count in Counter(n for n in sequence if n < columns).items():
                if mode == "tfidf":
                    seen = self.index_docs.get(number, 0)
                    row[number] = (1 + np.log(count)) * np.log(1 + self.document_count / (1 + seen))
                else:
                    row[number] = {"count": count, "freq": count / len(sequence), "binary": 1}[mode]
        return matrix

    def get_config(self) -> dict[str, Any]:
        """Settings and all that was counted; JSON-able."""
        settings = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count")
        counted = {
            "word_counts": dict(self.word_counts),
            "word_docs": dict(self.word_docs),
            "index_docs": self.index_docs,
            "word_index": self.word_index,
        }
        return {**{name: getattr(self, name) for name in settings}, **counted}

    def to_json(self, **options: Any) -> str:
        """What `tokenizer_from_json` reads; `options` are those of `json.dumps`."""
        return json.dumps({"class_name": "Tokenizer", "config": self.get_config()}, **options)


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """The tokenizer that `to_json` wrote."""
    config = json.loads(json_string)["config"]
    names = ("num_words", "filters", "lower", "split", "char_level", "oov_token")
    tokenizer = Tokenizer(**{name: config[name] for name in names})
    tokenizer.document_count = config["document_count"]
    tokenizer.word_counts = Counter(config["word_counts"])
    tokenizer.word_docs = Counter(config["word_docs"])
    tokenizer.word_index = dict(config["word_index"])
    tokenizer.index_word = {number: word for word, number in tokenizer.word_index.items()}
    tokenizer.index_docs = {int(number): count for number, count in config["index_docs"].items()}
    return tokenizer
