"""IMDB: 25,000 and 25,000 reviews of films as lists of word numbers, bad (0) or good (1).

Maas et al. 2011.
"""

from __future__ import annotations

from distnn.datasets.keras_files import keras_file, shuffled
from distnn.datasets.restricted_pickles import read_npz
from distnn.datasets.word_lists import WordNumbers, word_index
from distnn.tensor import Array


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The reviews, in the order that Keras has for the seed.

    Args:
        path: the file's name in `~/.keras/datasets`.
        num_words: word numbers from this on are replaced by `oov_char`; None keeps all.
        skip_top: word numbers below this are replaced, too.
        maxlen: reviews of this length and more are left out.
        seed: of the order.
        start_char: comes before each review; None for nothing.
        oov_char: what stands for words that are replaced; None leaves them out.
        index_from: the number of the most frequent word, less one.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x arrays of lists of integers, y int64 [N].

    Raises:
        DataError: the file is not there and cannot be downloaded.
    """
    words = WordNumbers(num_words, skip_top, maxlen, start_char, oov_char, index_from)
    arrays = read_npz(keras_file("imdb.npz", path))
    parts = [(arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])]
    (x_train, y_train), (x_test, y_test) = shuffled(seed, *parts)
    train, y_train = words.short_ones(words.begun(x_train), y_train)
    test, y_test = words.short_ones(words.begun(x_test), y_test)
    count = words.vocabulary(train, test)
    return (words.known(train, count), y_train), (words.known(test, count), y_test)


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """The number of each word in the file, from 1, the most frequent first; `load_data` adds `index_from`."""
    return word_index("imdb_word_index.json", path)
