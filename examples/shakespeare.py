"""Shakespeare's plays, character by character, learned by an LSTM that then writes on.

    python examples/shakespeare.py --data FOLDER [--backend ray --workers 2]

The data: any English text of some megabytes as shakespeare.txt (or .txt.gz) in FOLDER; all of Shakespeare is
www.gutenberg.org/cache/epub/100/pg100.txt.
"""

from __future__ import annotations

import gzip
import sys
from typing import Any

import numpy as np
from arguments import make_parser
from data_files import find_file

from distnn.layers import LSTM, Dense, Embedding, Input
from distnn.models import Sequential
from distnn.optimizers import Adam
from distnn.schedules import CosineDecay

NATS_TO_REACH = 1.75
"""A character on held-out text; a model that knows nothing needs 4.85, one of letter frequencies 3.3."""
GET_DATA = "Get www.gutenberg.org/cache/epub/100/pg100.txt and call it shakespeare.txt"
CHARACTERS = 128  # of ASCII: a character's number is its code
WINDOW = 64
EPOCHS, BATCH_SIZE = 1, 32


def load(folder: str) -> Any:
    """Windows of text and what follows each character in them; the last twentieth of the text is held out."""
    path = find_file(folder, "shakespeare*.txt", "shakespeare*.txt.gz", get=GET_DATA)
    open_file = gzip.open if path.suffix == ".gz" else open
    with open_file(path, "rt", encoding="utf-8-sig") as file:
        text = np.frombuffer(file.read().encode("ascii", "ignore"), np.uint8)
    held_out = len(text) // 20
    return windows(text[:-held_out]), windows(text[-held_out:])


def windows(text: Any) -> Any:
    count = (len(text) - 1) // WINDOW
    inputs, following = (text[begin : begin + count * WINDOW].reshape(count, WINDOW) for begin in (0, 1))
    return inputs, following


def build_model() -> Sequential:
    return Sequential(
        [
            Input((WINDOW,), dtype="int32"),
            Embedding(CHARACTERS, 32),
            LSTM(256, return_sequences=True),
            Dense(CHARACTERS, activation="softmax"),
        ]
    )


def write_on(model: Sequential, text: Any, count: int, seed: int = 1) -> str:
    """`count` characters to follow the text, each drawn from what the model thinks likely."""
    rng = np.random.default_rng(seed)
    codes = list(text)
    for _ in range(count):
        likely = model.predict(np.array([codes[-WINDOW:]]))[0, -1].astype(np.float64)
        codes.append(rng.choice(CHARACTERS, p=likely / likely.sum()))
    return "".join(map(chr, codes[len(text) :]))


def main() -> None:
    options = make_parser(__doc__).parse_args()
    (x_train, y_train), (x_test, y_test) = load(options.data)

    model = build_model()
    model.summary()
    steps = EPOCHS * -(-len(x_train) // BATCH_SIZE)
    model.compile(optimizer=Adam(CosineDecay(0.004, steps)), loss="sparse_categorical_crossentropy")
    model.fit(
        x_train,
        y_train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=(x_test, y_test),
        backend=options.backend,
        workers=options.workers,
        shards=2,
        seed=1,
        verbose=2,
    )

    begin = x_test[0]
    print("".join(map(chr, begin)) + " ...\n" + write_on(model, begin, 400))
    nats = model.evaluate(x_test, y_test, verbose=0)
    print(f"{nats:.3f} nats a character on {x_test.size:,} held out (to reach: {NATS_TO_REACH})")
    if options.save:
        model.save(options.save)
    if nats > NATS_TO_REACH:
        sys.exit("this is more than the example may need")


if __name__ == "__main__":
    main()
