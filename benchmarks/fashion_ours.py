"""Our side of `fashion_mnist.py`, as a process of its own; prints JSON last."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from fashion_data import DEBIAN_FOLDER, load  # noqa: E402
from models import FASHION_LEARNING_RATE, MLPS  # noqa: E402

from distnn.initializers import RandomUniform, VarianceScaling  # noqa: E402
from distnn.layers import Dense, Input  # noqa: E402
from distnn.models import Sequential  # noqa: E402
from distnn.optimizers import SGD  # noqa: E402


def dense(inputs: int, units: int, activation: str) -> Dense:
    """Initial values as PyTorch's Linear draws them: between -1 and 1 over the square root of `inputs`."""
    limit = inputs**-0.5
    return Dense(
        units,
        activation=activation,
        kernel_initializer=VarianceScaling(1 / 3, "fan_in", "uniform"),
        bias_initializer=RandomUniform(-limit, limit),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    data = load(options.data)
    mlp = MLPS["mlp_fmnist"]
    sizes = (mlp.inputs, *mlp.units)
    model = Sequential([Input((mlp.inputs,))])
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        model.add(dense(inputs, units, "softmax" if units == sizes[-1] else "relu"))
    model.compile(SGD(FASHION_LEARNING_RATE), "sparse_categorical_crossentropy", ["accuracy"])
    began = time.perf_counter()
    history = model.fit(
        data.x_train,
        data.y_train,
        batch_size=mlp.batch_size,
        epochs=options.epochs,
        validation_data=(data.x_test, data.y_test),
        backend="ray",
        workers=options.workers,
        shards=options.workers,
        seed=0,
        verbose=0,
    )
    seconds = time.perf_counter() - began
    model.close()
    print(json.dumps({"accuracy": history.history["val_accuracy"], "fit_seconds": seconds}))


if __name__ == "__main__":
    main()
