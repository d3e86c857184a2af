"""Clothes in Fashion-MNIST, told apart by a small convolutional network.

    python examples/fashion_convnet.py --data FOLDER [--backend ray --workers 2]

The data: Debian's package dataset-fashion-mnist (--data /usr/share/datasets), or the four .gz files of
github.com/zalandoresearch/fashion-mnist in FOLDER/fashion-mnist.
"""

from __future__ import annotations

import sys
from typing import Any

from arguments import make_parser
from data_files import load_images

from distnn.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, RandomFlip, Rescaling
from distnn.models import Sequential
from distnn.optimizers import Adam
from distnn.optimizers.schedules import CosineDecay

ACCURACY_TO_REACH = 0.89
GET_DATA = "Get Debian's package dataset-fashion-mnist, or github.com/zalandoresearch/fashion-mnist"
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
EPOCHS, BATCH_SIZE = 12, 64


def load(folder: str) -> Any:
    """(x_train, y_train), (x_test, y_test): the first 12,000 images to train with and 3,000 to test."""
    names = ("fashion_mnist*.npz", "fashion-mnist/train-images-idx3-ubyte.gz")
    (x_train, y_train), (x_test, y_test) = load_images(folder, *names, get=GET_DATA)
    x_train, x_test = x_train[:12_000, :, :, None], x_test[:3_000, :, :, None]
    return (x_train, y_train[:12_000]), (x_test, y_test[:3_000])


def build_model() -> Sequential:
    return Sequential(
        [
            Input((28, 28, 1)),
            Rescaling(1 / 255),
            RandomFlip("horizontal"),
            Conv2D(32, 3, padding="same", activation="relu"),
            Conv2D(32, 3, padding="same", activation="relu"),
            MaxPooling2D(),
            Dropout(0.25),
            Conv2D(64, 3, padding="same", activation="relu"),
            Conv2D(64, 3, padding="same", activation="relu"),
            MaxPooling2D(),
            Dropout(0.25),
            Flatten(),
            Dense(128, activation="relu"),
            Dropout(0.5),
            Dense(10, activation="softmax"),
        ]
    )


def main() -> None:
    options = make_parser(__doc__).parse_args()
    (x_train, y_train), (x_test, y_test) = load(options.data)

    model = build_model()
    model.summary()
    steps = EPOCHS * -(-len(x_train) // BATCH_SIZE)
    model.compile(
        optimizer=Adam(CosineDecay(0.002, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
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
    print(f"accuracy on {len(x_test):,} images held out: {accuracy:.4f} (to reach: {ACCURACY_TO_REACH})")
    for scores, label in zip(model.predict(x_test[:5]), y_test[:5], strict=True):
        guess = scores.argmax()
        print(f"  {scores[guess]:4.0%} {CLASSES[guess]:<9} and it is: {CLASSES[label]}")
    if options.save:
        model.save(options.save)
    if accuracy < ACCURACY_TO_REACH:
        sys.exit("this is less than the example must reach")


if __name__ == "__main__":
    main()
