"""Batch normalisation and layer normalisation over the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import normalization as kernels
from distnn.ops.activations import Relu
from distnn.ops.arguments import operand, shape_of
from distnn.ops.elementwise import add, cast, multiply, subtract
from distnn.ops.elementwise import rsqrt as rsqrt_of
from distnn.ops.op import Bound, Op
from distnn.ops.reductions import sum as sum_over
from distnn.tensor import Array, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _channels(name: str, inputs: Sequence[Spec], vectors: int) -> int:
    """The last dimension of x, which the `vectors` next inputs must have."""
    shape = inputs[0].shape
    if len(shape) < 2 or not isinstance(shape[-1], int):
        raise ValueError(f"{name} needs at least 2 axes, the last one known. Received: {keras_shape(shape)}")
    for spec in inputs[1 : 1 + vectors]:
        if spec.shape != (shape[-1],):
            raise ValueError(
                f"{name}: scale, offset and statistics must have shape ({shape[-1]},) for inputs of shape "
                f"{keras_shape(shape)}. Received: {keras_shape(spec.shape)}"
            )
    return shape[-1]


_DY = 4
"""The place of dy among the inputs of a `BatchNormGradient`."""


class _Normalization(Op):
    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 8 * inputs[0].size(samples)


class BatchNormTraining(_Normalization):
    """x normalised by the statistics of its rows: (y, mean, 1/std, moments float64) from (x, gamma, beta).

    Args:
        epsilon: added to the variance.
        is_rectified: y is relu of that; programs make it so.
    """

    def __init__(self, epsilon: float, is_rectified: bool = False) -> None:
        self.epsilon, self.is_rectified = float(epsilon), is_rectified

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        channels = _channels("batch normalization", inputs, 2)
        vector = Spec((channels,), inputs[0].dtype)
        return inputs[0], vector, vector, Spec((1 + 2 * channels,), "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, gamma, beta = inputs
        y, mean, inverse_std, moments = outputs
        return partial(
            kernels.batch_norm_training,
            _rows(x),
            gamma,
            beta,
            self.epsilon,
            int(self.is_rectified),
            _rows(y),
            mean,
            inverse_std,
            moments,
        )

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        if self.is_rectified or not isinstance(consumer, Relu):
            return None
        return BatchNormTraining(self.epsilon, is_rectified=True)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        if doutputs[0] is None:
            return (None, None, None)
        x, gamma, _ = inputs
        found: Gradients = BatchNormGradient()(x, gamma, outputs[1], outputs[2], doutputs[0])
        return found


class BatchNormGradient(_Normalization):
    """(dx, dgamma, dbeta) from (x, gamma, mean, 1/std, dy)."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return inputs[0], inputs[1], inputs[1]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, gamma, mean, inverse_std, dy = inputs
        return _bound_batch_norm_gradient(x, gamma, mean, inverse_std, None, dy, outputs)

    def after_relu_gradient(self, place: int) -> Op | None:
        return RectifiedBatchNormGradient() if place == _DY else None


class RectifiedBatchNormGradient(_Normalization):
    """`BatchNormGradient` from (relu's y, its dy, x, gamma, mean, 1/std).

    Programs make it; it is never recorded.
    """

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return inputs[2], inputs[3], inputs[3]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        y, dy, x, gamma, mean, inverse_std = inputs
        return _bound_batch_norm_gradient(x, gamma, mean, inverse_std, y, dy, outputs)


def _bound_batch_norm_gradient(
    x: Array,
    gamma: Array,
    mean: Array,
    inverse_std: Array,
    y: Array | None,
    dy: Array,
    outputs: tuple[Array, ...],
) -> Bound:
    """The call; dy counts only where y, if there is one, is above 0."""
    dx, dgamma, dbeta = outputs
    scratch = np.zeros((2, len(gamma)), np.float64)
    return partial(
        kernels.batch_norm_gradient,
        _rows(x),
        gamma,
        mean,
        inverse_std,
        _rows(dy if y is None else y),
        _rows(dy),
        int(y is not None),
        _rows(dx),
        dgamma,
        dbeta,
        scratch,
    )


class BatchNormInference(_Normalization):
    """x normalised by given statistics, from (x, gamma, beta, mean, variance)."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = float(epsilon)

    def infer(self, *inputs: Spec) -> Spec:
        _channels("batch normalization", inputs, 4)
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, gamma, beta, mean, variance = inputs
        scratch = np.empty_like(gamma)
        return partial(
            kernels.batch_norm_inference,
            _rows(x),
            gamma,
            beta,
            mean,
            variance,
            self.epsilon,
            _rows(outputs[0]),
            scratch,
        )

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        x, gamma, _, mean, variance = inputs
        dy = doutputs[0]
        inverse_std = rsqrt_of(add(variance, self.epsilon))
        leading = list(range(x.spec.rank - 1))
        # d/dmean = -sum(dx), d/dvariance = -dgamma gamma inv^2 / 2
        dx = multiply(dy, multiply(gamma, inverse_std))
        dgamma = sum_over(multiply(dy, multiply(subtract(x, mean), inverse_std)), axis=leading)
        dmean = multiply(sum_over(dx, axis=leading), -1.0)
        dvariance = multiply(multiply(dgamma, gamma), multiply(multiply(inverse_std, inverse_std), -0.5))
        return dx, dgamma, sum_over(dy, axis=leading), dmean, dvariance


class LayerNorm(_Normalization):
    """Each row normalised by its own statistics: (y, mean, 1/std) from (x, gamma, beta)."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = float(epsilon)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        _channels("layer normalization", inputs, 2)
        per_row = Spec(inputs[0].shape[:-1], inputs[0].dtype)
        return inputs[0], per_row, per_row

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, gamma, beta = inputs
        y, mean, inverse_std = outputs
        return partial(
            kernels.layer_norm,
            _rows(x),
            gamma,
            beta,
            self.epsilon,
            _rows(y),
            mean.reshape(-1),
            inverse_std.reshape(-1),
        )

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        if doutputs[0] is None:
            return (None, None, None)
        x, gamma, _ = inputs
        found: Gradients = LayerNormGradient()(x, gamma, outputs[1], outputs[2], doutputs[0])
        return found


class LayerNormGradient(_Normalization):
    """(dx, dgamma, dbeta) from (x, gamma, mean, 1/std, dy)."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return inputs[0], inputs[1], inputs[1]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, gamma, mean, inverse_std, dy = inputs
        dx, dgamma, dbeta = outputs
        return partial(
            kernels.layer_norm_gradient,
            _rows(x),
            gamma,
            mean.reshape(-1),
            inverse_std.reshape(-1),
            _rows(dy),
            _rows(dx),
            dgamma,
            dbeta,
        )


def _scale_and_offset(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
    """gamma and beta, ones and zeros where they are None."""
    shape = (shape_of(x)[-1],)
    dtype = x.dtype if isinstance(x, np.ndarray) else np.float32
    scale = operand(np.ones(shape, dtype)) if gamma is None else gamma
    offset = operand(np.zeros(shape, dtype)) if beta is None else beta
    return scale, offset


def batch_norm_training(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any]:
    """x normalised over all axes but the last by its own statistics, and these.

    Args:
        x: at least 2 axes.
        gamma: scale of each channel, or None.
        beta: offset of each channel, or None.
        epsilon: added to the variance.

    Returns:
        y, and the moments: float64 count, mean and sum of squared deviations of each channel.
    """
    value = cast(x, "float32")
    y, _, _, moments = BatchNormTraining(epsilon)(value, *_scale_and_offset(value, gamma, beta))
    return y, moments


def batch_norm_inference(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float) -> Any:
    """x normalised over the last axis by the statistics given; gamma and beta may be None."""
    value = cast(x, "float32")
    return BatchNormInference(epsilon)(value, *_scale_and_offset(value, gamma, beta), mean, variance)


def layer_norm(x: Any, gamma: Any = None, beta: Any = None, epsilon: float = 1e-3) -> Any:
    """Each row along the last axis normalised by its own statistics; gamma and beta may be None."""
    value = cast(x, "float32")
    return LayerNorm(epsilon)(value, *_scale_and_offset(value, gamma, beta))[0]
