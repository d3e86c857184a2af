"""Noise taken off handwritten digits by a convolutional autoencoder.

    python examples/denoising_autoencoder.py --data FOLDER [--backend ray --workers 2] [--picture FILE.png]

The data: MNIST, as storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz or as its four .gz files in
FOLDER/mnist.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
from arguments import make_parser
from data_files import load_images

from distnn.layers import Conv2D, Conv2DTranspose, Input, MaxPooling2D
from distnn.models import Sequential

ERROR_LEFT_TO_REACH = 0.15
"""The mean squared error of the denoised images, as a part of the noisy ones'. A 3 x 3 median leaves 0.29."""
GET_DATA = "Get storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
NOISE = 0.5
EPOCHS, BATCH_SIZE = 10, 64


def load(folder: str) -> Any:
    """(noisy, clean) images to train with, and (noisy, clean) ones to test: 8,500 and 1,500."""
    names = ("mnist*.npz", "mnist/train-images-idx3-ubyte.gz")
    (x_train, _), (x_test, _) = load_images(folder, *names, get=GET_DATA)
    rng = np.random.default_rng(1)
    return with_noise(x_train[:8_500], rng), with_noise(x_test[:1_500], rng)


def with_noise(images: Any, rng: np.random.Generator) -> Any:
    clean = images[..., None].astype(np.float32) / 255
    noise = NOISE * rng.standard_normal(clean.shape, np.float32)
    return np.clip(clean + noise, 0, 1), clean


def build_model() -> Sequential:
    return Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(32, 3, padding="same", activation="relu"),
            MaxPooling2D(),
            Conv2D(64, 3, padding="same", activation="relu"),
            MaxPooling2D(),
            Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
            Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
            Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    )


def save_picture(file: str, *rows: Any) -> None:
    """Each row's images side by side, as a picture that Pillow (`distnn[images]`) writes."""
    from PIL import Image

    picture = np.concatenate([np.concatenate(row[..., 0], axis=1) for row in rows])
    Image.fromarray((255 * picture).astype(np.uint8)).resize(3 * np.array(picture.shape[::-1])).save(file)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--picture", metavar="FILE.png", help="draw ten digits: noisy, denoised, clean")
    options = parser.parse_args()
    if options.picture and find_spec("PIL") is None:
        parser.error("--picture needs Pillow: pip install 'distnn[images]'")
    (noisy_train, clean_train), (noisy, clean) = load(options.data)

    model = build_model()
    model.summary()
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["mse"])
    model.fit(
        noisy_train,
        clean_train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=(noisy, clean),
        backend=options.backend,
        workers=options.workers,
        shards=2,
        seed=1,
        verbose=2,
    )

    denoised = model.predict(noisy)
    before, after = np.mean((noisy - clean) ** 2), np.mean((denoised - clean) ** 2)
    print(f"mean squared error of {len(noisy):,} digits held out: noisy {before:.4f}, denoised {after:.4f}")
    print(f"  (a black image: {np.mean(clean**2):.4f})")
    print(f"error left: {after / before:.1%} of the noisy images' (to reach: {ERROR_LEFT_TO_REACH:.0%})")
    if options.picture:
        save_picture(options.picture, noisy[:10], denoised[:10], clean[:10])
    if options.save:
        model.save(options.save)
    if after / before > ERROR_LEFT_TO_REACH:
        sys.exit("this is more than the example may leave")


if __name__ == "__main__":
    main()
