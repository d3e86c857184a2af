"""The reference nets of the benchmarks, as data: both sides build the same nets from them.

All are trained with softmax cross-entropy and SGD with momentum 0.9. Needs neither distnn nor torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mlp:
    """Dense layers with relu between them."""

    inputs: int
    units: tuple[int, ...]
    batch_size: int

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.inputs,)

    @property
    def classes(self) -> int:
        return self.units[-1]


@dataclass(frozen=True)
class Convnet:
    """Groups of 3 x 3 convolutions with relu, max pooling by 2 between the groups, a dense layer at the end.

    Args:
        image: rows, columns, channels.
        groups: the filters of each convolution.
        is_normalized: convolutions keep the size and have batch normalization before relu, and the mean over
            the image comes before the dense layer; else the last group is pooled and flattened too.
    """

    image: tuple[int, int, int]
    groups: tuple[tuple[int, ...], ...]
    is_normalized: bool
    classes: int
    batch_size: int

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.image


@dataclass(frozen=True)
class CharLstm:
    """An embedding, an LSTM, and the next character at every step."""

    vocabulary: int
    steps: int
    embedding: int
    units: int
    batch_size: int

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.steps,)

    @property
    def classes(self) -> int:
        return self.vocabulary


@dataclass(frozen=True)
class CharGpt:
    """An embedding, pre-norm transformer blocks with causal attention, a norm, and the next character.

    A block's hidden layer is four times as wide as the block, with exact gelu.
    """

    vocabulary: int
    steps: int
    width: int
    heads: int
    blocks: int
    batch_size: int

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.steps,)

    @property
    def classes(self) -> int:
        return self.vocabulary


Net = Mlp | Convnet | CharLstm | CharGpt

MLPS = {
    "mlp_seed": Mlp(100, (64, 10), 32),
    "mlp_fmnist": Mlp(784, (512, 512, 10), 64),
    "mlp_mnist": Mlp(784, (512, 256, 10), 128),
    "mlp_wide": Mlp(1024, (2048, 2048, 1000), 256),
}
NETS: dict[str, Net] = {
    **MLPS,
    "cnn_mnist": Convnet((28, 28, 1), ((32,), (64,)), False, 10, 128),
    "cnn_cifar": Convnet((32, 32, 3), ((32, 32), (64, 64), (128, 128)), True, 10, 64),
    "lstm_char": CharLstm(65, 64, 64, 256, 32),
    "gpt_char": CharGpt(65, 64, 128, 4, 4, 32),
}
LEARNING_RATE, MOMENTUM = 0.01, 0.9
NORM_EPSILON = 1e-5
"""Of batch and layer normalization."""
FASHION_LEARNING_RATE = 1e-3
"""Of `fashion_mnist.py`, without momentum."""
