"""Reuters: 11,228 newswires as lists of word numbers, in 46 topics. Lewis 1987."""

from __future__ import annotations

from distnn.datasets.keras_files import checked_split, keras_file, shuffled, split_at_the_end
from distnn.datasets.restricted_pickles import read_npz
from distnn.datasets.word_lists import WordNumbers, word_index
from distnn.tensor import Array

_TOPICS = """
cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship
cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin
strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem dlr
gas silver wpi hog lead
"""


def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The newswires, in the order that Keras has for the seed.

    Args:
        path: the file's name in `~/.keras/datasets`.
        test_split: the share of the last ones that is the test part.
        num_words, skip_top, maxlen, seed, start_char, oov_char, index_from: as of `imdb.load_data`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x arrays of lists of integers, y int64 [N] from 0 to 45.

    Raises:
        DataError: the file is not there and cannot be downloaded.
    """
    checked_split(test_split)
    words = WordNumbers(num_words, skip_top, maxlen, start_char, oov_char, index_from)
    arrays = read_npz(keras_file("reuters.npz", path))
    ((x, labels),) = shuffled(seed, (arrays["x"], arrays["y"]))
    texts, labels = words.short_ones(words.begun(x), labels)
    return split_at_the_end(words.known(texts, words.vocabulary(texts)), labels, test_split)


def get_word_index(path: str = "reuters_word_index.json") -> dict[str, int]:
    """The number of each word in the file, from 1, the most frequent first; `load_data` adds `index_from`."""
    return word_index("reuters_word_index.json", path)


def get_label_names() -> tuple[str, ...]:
    """The names of the topics, in the order of their numbers."""
    return tuple(_TOPICS.split())
