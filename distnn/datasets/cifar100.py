"""CIFAR-100: 50,000 and 10,000 colour pictures, 32 x 32, in 100 classes or 20. Krizhevsky 2009."""

from __future__ import annotations

from distnn.datasets.cifar import load_parts
from distnn.tensor import Array

SHA256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
FOLDER = "cifar-100-python"


def load_data(label_mode: str = "fine") -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The pictures and their classes.

    Args:
        label_mode: "fine" for the 100 classes, "coarse" for the 20 that they belong to.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: x uint8 [N, 32, 32, 3], y int64 [N, 1].

    Raises:
        DataError: the archive is not there and cannot be downloaded.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(
            f'`label_mode` must be one of `"fine"`, `"coarse"`. Received: label_mode={label_mode}.'
        )
    parts = [[f"{FOLDER}/train"], [f"{FOLDER}/test"]]
    train, test = load_parts(
        f"{FOLDER}-target_archive", "cifar-100-python.tar.gz", SHA256, parts, f"{label_mode}_labels"
    )
    return train, test
