"""Short films of a moving digit, told apart by the direction it moves in: convolutions, then a GRU.

    python examples/moving_digits.py --data FOLDER [--backend ray --workers 2]

The data: MNIST, as storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz or as its four .gz files in
FOLDER/mnist. The films are made of it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from arguments import make_parser
from data_files import load_images

from distnn.layers import GRU, Conv2D, Dense, Flatten, Input, MaxPooling2D, Rescaling, TimeDistributed
from distnn.models import Sequential

ACCURACY_TO_REACH = 0.95
GET_DATA = "Get storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
DIRECTIONS = {
    "right": (0, 1),
    "down right": (1, 1),
    "down": (1, 0),
    "down left": (1, -1),
    "left": (0, -1),
    "up left": (-1, -1),
    "up": (-1, 0),
    "up right": (-1, 1),
}
FRAMES, SIZE = 8, 28
EPOCHS, BATCH_SIZE = 8, 64


def load(folder: str) -> Any:
    """(x_train, y_train), (x_test, y_test): 4,000 and 1,000 films, of different digits."""
    names = ("mnist*.npz", "mnist/train-images-idx3-ubyte.gz")
    (x_train, _), (x_test, _) = load_images(folder, *names, get=GET_DATA)
    rng = np.random.default_rng(1)
    return make_films(x_train[:4_000], rng), make_films(x_test[:1_000], rng)


def make_films(digits: Any, rng: np.random.Generator) -> Any:
    """For each digit a film of it in half its size, and the number of its direction.

    It starts anywhere, moves one or two pixels a frame, and what leaves on one side comes in on the other:
    only the movement tells the direction.
    """
    n = len(digits)
    small = digits.reshape(n, 14, 2, 14, 2).mean(axis=(2, 4)).astype(np.uint8)
    labels = rng.integers(0, len(DIRECTIONS), n)
    speed = rng.integers(1, 3, (n, 1))
    start = rng.integers(0, SIZE, (n, 2))
    step = speed * np.array(list(DIRECTIONS.values()))[labels]
    corner = start[:, None] + step[:, None] * np.arange(FRAMES)[:, None]  # film, frame, row and column
    rows, columns = np.moveaxis(corner[..., None] + np.arange(14), 2, 0) % SIZE

    films = np.zeros((n, FRAMES, SIZE, SIZE), np.uint8)
    film, frame = np.arange(n)[:, None, None, None], np.arange(FRAMES)[:, None, None]
    films[film, frame, rows[..., None], columns[..., None, :]] = small[:, None]
    return films[..., None], labels


def build_model() -> Sequential:
    return Sequential(
        [
            Input((FRAMES, SIZE, SIZE, 1)),
            Rescaling(1 / 255),
            TimeDistributed(Conv2D(16, 3, padding="same", activation="relu")),
            TimeDistributed(MaxPooling2D()),
            TimeDistributed(Conv2D(32, 3, padding="same", activation="relu")),
            TimeDistributed(MaxPooling2D()),
            TimeDistributed(Flatten()),
            GRU(64),
            Dense(len(DIRECTIONS), activation="softmax"),
        ]
    )


def main() -> None:
    options = make_parser(__doc__).parse_args()
    (x_train, y_train), (x_test, y_test) = load(options.data)

    model = build_model()
    model.summary()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
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

    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"accuracy on {len(x_test):,} films held out: {accuracy:.4f} (to reach: {ACCURACY_TO_REACH})")
    names = list(DIRECTIONS)
    for scores, label in zip(model.predict(x_test[:5]), y_test[:5], strict=True):
        guess = scores.argmax()
        print(f"  {scores[guess]:4.0%} {names[guess]:<10} and it moves {names[label]}")
    if options.save:
        model.save(options.save)
    if accuracy < ACCURACY_TO_REACH:
        sys.exit("this is less than the example must reach")


if __name__ == "__main__":
    main()
