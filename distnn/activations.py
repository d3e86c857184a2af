"""Activation functions by Keras's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distnn import identifiers, ops
from distnn.errors import UnknownNameError
from distnn.naming import did_you_mean_or_known

Activation = Callable[[Any], Any]


def linear(x: Any) -> Any:
    """x itself."""
    return x


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """max(x, 0).

    Args:
        x: any shape.
        negative_slope: slope below the threshold.
        max_value: the largest result, or None.
        threshold: where x begins to pass.
    """
    return ops.general_relu(x, negative_slope, max_value, threshold)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return ops.tanh(x)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) divided by its sum along `axis`."""
    return ops.softmax(x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """The logarithm of `softmax`, computed without taking it."""
    return ops.log_softmax(x, axis=axis)


def gelu(x: Any, approximate: bool = False) -> Any:
    """x times the normal distribution function of x; `approximate` uses tanh. Hendrycks & Gimpel 2016."""
    return ops.gelu(x, approximate=approximate)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x for x > 0, else alpha (exp(x) - 1). Clevert et al. 2016."""
    return ops.elu(x, alpha=alpha)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x for x > 0, else negative_slope x."""
    return ops.leaky_relu(x, negative_slope=negative_slope)


def silu(x: Any) -> Any:
    """x sigmoid(x), also called swish. Ramachandran et al. 2017."""
    return ops.silu(x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return ops.softplus(x)


def exponential(x: Any) -> Any:
    """e^x."""
    return ops.exp(x)


swish = silu
celu = ops.celu
glu = ops.glu
hard_shrink = ops.hard_shrink
hard_sigmoid = ops.hard_sigmoid
hard_silu = ops.hard_silu
hard_swish = ops.hard_swish
hard_tanh = ops.hard_tanh
log_sigmoid = ops.log_sigmoid
mish = ops.mish
relu6 = ops.relu6
selu = ops.selu
soft_shrink = ops.soft_shrink
softsign = ops.softsign
sparse_plus = ops.sparse_plus
sparse_sigmoid = ops.sparse_sigmoid
sparsemax = ops.sparsemax
squareplus = ops.squareplus
tanh_shrink = ops.tanh_shrink
threshold = ops.threshold

_FUNCTIONS: dict[str, Activation] = {
    "linear": linear,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "gelu": gelu,
    "elu": elu,
    "leaky_relu": leaky_relu,
    "silu": silu,
    "swish": silu,
    "softplus": softplus,
    "exponential": exponential,
    "celu": celu,
    "glu": glu,
    "hard_shrink": hard_shrink,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_swish,
    "hard_tanh": hard_tanh,
    "log_sigmoid": log_sigmoid,
    "mish": mish,
    "relu6": relu6,
    "selu": selu,
    "soft_shrink": soft_shrink,
    "softsign": softsign,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "sparsemax": sparsemax,
    "squareplus": squareplus,
    "tanh_shrink": tanh_shrink,
}


def names() -> list[str]:
    """The names that `get` knows."""
    return sorted(_FUNCTIONS)


def get(identifier: Any) -> Activation:
    """The activation for a name, a function, or None (linear).

    Raises:
        UnknownNameError: a ValueError, for an unknown name.
    """
    return deserialize(identifier)


def deserialize(config: Any, custom_objects: Mapping[str, Activation] | None = None) -> Activation:
    """The activation of a name, which may be registered or among `custom_objects`."""
    if config is None:
        return linear
    if isinstance(config, str):
        config = identifiers.lookup(config, _FUNCTIONS, custom_objects) or config
    if callable(config):
        function: Activation = config
        return function
    hint = did_you_mean_or_known(config, names())
    message = f"Could not interpret activation function identifier: {config}.{hint}"
    raise UnknownNameError(message, config, "activation")


def serialize(activation: Activation) -> str:
    """The name under which `get` finds the activation.

    Raises:
        ValueError: for a function of the user's own without a name.
    """
    for name, function in _FUNCTIONS.items():
        if function is activation:
            return name
    return identifiers.name_of(activation, _FUNCTIONS, "activation")
