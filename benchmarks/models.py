"""The reference MLPs of the benchmarks, as data: both sides build the same nets from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mlp:
    """Dense layers with relu between them, softmax cross-entropy, SGD with momentum 0.9."""

    inputs: int
    units: tuple[int, ...]
    batch_size: int


MLPS = {
    "mlp_seed": Mlp(100, (64, 10), 32),
    "mlp_fmnist": Mlp(784, (512, 512, 10), 64),
    "mlp_mnist": Mlp(784, (512, 256, 10), 128),
    "mlp_wide": Mlp(1024, (2048, 2048, 1000), 256),
}
LEARNING_RATE, MOMENTUM = 0.01, 0.9
FASHION_LEARNING_RATE = 1e-3
"""Of `fashion_mnist.py`, without momentum."""
