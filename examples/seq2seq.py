"""An encoder reads a text, a decoder writes another, character by character: sums, or translations.

    python examples/seq2seq.py [--backend ray --workers 2]      reads 123+45, writes 168
    python examples/seq2seq.py --pairs fra.txt                  reads a sentence, writes it in French

A file of pairs has a sentence, a tab and its translation in each line; what follows a second tab is left out.
www.manythings.org/anki has such files for many languages. Method: Sutskever et al. 2014.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from arguments import make_parser

from distnn.layers import LSTM, Dense, Embedding, Input
from distnn.models import Model
from distnn.optimizers import Adam
from distnn.schedules import CosineDecay

SUMS_TO_REACH = 0.95
"""Of the sums held out, to be written without a mistake."""
DIGITS = "+0123456789"
LONGEST_SUM = (len("999+999"), len("1998"))
LONGEST_SENTENCE = (30, 40)
PADDING, BEGIN, END = range(3)  # before the characters of the alphabet
EPOCHS, BATCH_SIZE = 15, 64


# Texts and numbers


def encode(texts: list[str], alphabet: str, length: int) -> Any:
    """A row for each text: its characters' numbers, the end, and padding up to `length` and one."""
    rows = np.full((len(texts), length + 1), PADDING, np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text) + 1] = [*(alphabet.index(character) + END + 1 for character in text), END]
    return rows


def decode(rows: Any, alphabet: str) -> list[str]:
    """The texts of such rows, up to their ends."""
    found = []
    for row in rows.tolist():
        stop = row.index(END) if END in row else len(row)
        found.append("".join(alphabet[number - END - 1] for number in row[:stop] if number > END))
    return found


def arrays(pairs: Any, alphabet: str, longest: tuple[int, int]) -> Any:
    """([what is read, what was written before each character], the characters)."""
    read = encode([read for read, _ in pairs], alphabet, longest[0])
    written = encode([written for _, written in pairs], alphabet, longest[1])
    before = np.roll(written, 1, axis=1)
    before[:, 0] = BEGIN
    return [read, before], written


def sums(count: int = 55_000, seed: int = 1) -> list[tuple[str, str]]:
    """Sums of two numbers below 1000, no two of the same numbers."""
    rng = np.random.default_rng(seed)
    numbers = np.stack(np.tril_indices(1000), axis=1)
    numbers = rng.permuted(numbers[rng.permutation(len(numbers))[:count]], axis=1)
    return [(f"{a}+{b}", f"{a + b}") for a, b in numbers.tolist()]


def sentence_pairs(file: str, count: int = 20_000) -> list[tuple[str, str]]:
    """The first pairs of the file that are not too long, shuffled."""
    lines = [line.split("\t") for line in Path(file).read_text(encoding="utf-8").splitlines()]
    if not all(len(line) > 1 for line in lines):
        sys.exit(f"{file}: line {[len(line) > 1 for line in lines].index(False) + 1} has no tab")
    fitting = [(line[0], line[1]) for line in lines if all(map(_fits, line, LONGEST_SENTENCE))][:count]
    return [fitting[i] for i in np.random.default_rng(1).permutation(len(fitting))]


def _fits(text: str, longest: int) -> bool:
    return len(text) <= longest


def load() -> Any:
    """(x_train, y_train), (x_test, y_test): 50,000 sums to train with, 5,000 to test."""
    pairs = sums()
    return arrays(pairs[:-5_000], DIGITS, LONGEST_SUM), arrays(pairs[-5_000:], DIGITS, LONGEST_SUM)


# The model


def build_model(
    characters: int = len(DIGITS), longest: tuple[int, int] = LONGEST_SUM, units: int = 128
) -> Model:
    """In training the decoder is given what it should have written before each character.

    The encoder reads from the end, so that what is written first was read last: much is learned sooner so.
    """
    numbers = characters + END + 1
    read = Input((longest[0] + 1,), dtype="int32", name="read")
    before = Input((longest[1] + 1,), dtype="int32", name="before")
    _, *state = LSTM(units, go_backwards=True, return_state=True, name="encoder")(
        Embedding(numbers, 32, mask_zero=True, name="reading")(read)
    )
    x, *_ = LSTM(units, return_sequences=True, return_state=True, name="decoder")(
        Embedding(numbers, 32, mask_zero=True, name="writing")(before), initial_state=state
    )
    return Model([read, before], Dense(numbers, activation="softmax", name="character")(x))


def encoder_and_decoder(model: Model) -> tuple[Model, Model]:
    """The trained layers in two models: text to state; last character and state to the next and its state."""
    layer = model.get_layer
    read = model.inputs[0]
    encoder = Model(read, layer("encoder")(layer("reading")(read))[1:])
    last, state = Input((1,), dtype="int32"), [Input((layer("decoder").units,)) for _ in range(2)]
    x, *after = layer("decoder")(layer("writing")(last), initial_state=state)
    return encoder, Model([last, *state], [layer("character")(x), *after])


def write(model: Model, read: Any) -> Any:
    """For each text the likeliest character after each other."""
    encoder, decoder = encoder_and_decoder(model)
    state = encoder.predict(read, batch_size=1024)
    written = np.full((len(read), 1), BEGIN)
    for _ in range(model.output_shape[1]):
        scores, *state = decoder.predict([written[:, -1:], *state], batch_size=1024)
        written = np.append(written, scores.argmax(axis=-1), axis=1)
    return written[:, 1:]


# Training


def main() -> None:
    parser = make_parser(__doc__, needs_data=False)
    parser.add_argument("--pairs", metavar="FILE", help="learn to translate these sentences, not to add")
    options = parser.parse_args()
    if options.pairs:
        pairs = sentence_pairs(options.pairs)
        alphabet = "".join(sorted(set("".join(text for pair in pairs for text in pair))))
        longest, held_out = LONGEST_SENTENCE, len(pairs) // 10
    else:
        pairs, alphabet, longest, held_out = sums(), DIGITS, LONGEST_SUM, 5_000
    train, test = arrays(pairs[:-held_out], alphabet, longest), arrays(pairs[-held_out:], alphabet, longest)

    model = build_model(len(alphabet), longest)
    model.summary()
    steps = EPOCHS * -(-len(train[1]) // BATCH_SIZE)
    model.compile(
        optimizer=Adam(CosineDecay(0.004, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        *train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=test,
        backend=options.backend,
        workers=options.workers,
        shards=2,
        seed=1,
        verbose=2,
    )

    written = decode(write(model, test[0][0]), alphabet)
    right = [ours == theirs for ours, (_, theirs) in zip(written, pairs[-held_out:], strict=True)]
    for (given, wanted), ours in list(zip(pairs[-held_out:], written, strict=True))[:10]:
        print(f"  {given} -> {ours}" + ("" if ours == wanted else f" (it should be: {wanted})"))
    if options.save:
        model.save(options.save)
    if options.pairs:
        print(f"{np.mean(right):.1%} of {held_out:,} sentences held out are written as in the file")
        return
    print(f"{np.mean(right):.1%} of {held_out:,} sums held out are right (to reach: {SUMS_TO_REACH:.0%})")
    if np.mean(right) < SUMS_TO_REACH:
        sys.exit("this is less than the example must reach")


if __name__ == "__main__":
    main()
