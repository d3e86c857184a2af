"""Dropout and other random values: functions of the seed, the step, the shard and the place in the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from distnn.graph import Graph
from distnn.kernels.noise import normal_noise
from distnn.kernels.random import dropout as dropout_kernel
from distnn.kernels.random import dropout_gradient
from distnn.ops.elementwise import cast
from distnn.ops.op import Bound, Op, graph_of
from distnn.rng import draw_seed, stream_key
from distnn.tensor import Array, Shape, Spec, Tensor

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def _scale(rate: float) -> float:
    return 1.0 / (1.0 - rate) if rate < 1.0 else 0.0


class Dropout(Op):
    """(y, mask): a fraction `rate` of x set to 0, the rest divided by `1 - rate`.

    Args:
        rate: 0 <= rate <= 1.
        stream: differs for each dropout of a model.
    """

    def __init__(self, rate: float, stream: int) -> None:
        self.rate, self.stream = float(rate), int(stream)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return inputs[0], Spec(inputs[0].shape, "uint8")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        threshold = round(self.rate * (1 << 32))
        y, mask = (array.reshape(-1) for array in outputs)
        x = inputs[0].reshape(-1)
        return partial(dropout_kernel, x, control, self.stream, threshold, _scale(self.rate), y, mask)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (DropoutGradient(self.rate)(doutputs[0], outputs[1]),)


class DropoutGradient(Op):
    """From (dy, mask)."""

    def __init__(self, rate: float) -> None:
        self.rate = float(rate)

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        dy, mask = (array.reshape(-1) for array in inputs)
        return partial(dropout_gradient, dy, mask, _scale(self.rate), outputs[0].reshape(-1))


class NormalNoise(Op):
    """Normal noise of mean 0 in the shape of x, whose values are not read.

    Args:
        stddev: standard deviation.
        stream: differs for each noise of a model.
    """

    def __init__(self, stddev: float, stream: int) -> None:
        self.stddev, self.stream = float(stddev), int(stream)

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(normal_noise, control, self.stream, self.stddev, outputs[0].reshape(-1))

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 60 * outputs[0].size(samples)


class Random(Op):
    """Random values of a shape of its own; no gradient.

    Args:
        shape: the batch's axis may be among them.
        dtype: of the values.
        kernel: `(control, stream, *numbers, out)`.
        stream: differs for each op of a model.
        numbers: of the distribution.
    """

    def __init__(
        self, shape: Shape, dtype: str, kernel: Callable[..., object], stream: int, *numbers: float
    ) -> None:
        self.shape, self.dtype, self.kernel, self.stream = shape, dtype, kernel, int(stream)
        self.numbers = numbers

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(self.shape, self.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(self.kernel, control, self.stream, *self.numbers, outputs[0].reshape(-1))

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 60 * outputs[0].size(samples)


class RandomOf(Op):
    """Random values by parameters of their own, all of one shape; no gradient.

    Args:
        kernel: `(control, stream, *parameters, out)`.
        stream: differs for each op of a model.
    """

    def __init__(self, kernel: Callable[..., object], stream: int) -> None:
        self.kernel, self.stream = kernel, int(stream)

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        parameters = (array.reshape(-1) for array in inputs)
        return partial(self.kernel, control, self.stream, *parameters, outputs[0].reshape(-1))

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 100 * outputs[0].size(samples)


def noise_stream(graph: Graph | None, what: str, seed: int | None) -> int:
    """The key of one noise: by its place in the model where there is one."""
    if graph is None:
        return stream_key(draw_seed() if seed is None else seed, what)
    return stream_key(0 if seed is None else seed, what, graph.unique_name(f"{what}_stream"))


def normal_like(x: Any, stddev: float = 1.0, seed: int | None = None) -> Any:
    """Normal noise of mean 0 in the shape of x; no gradient passes.

    Args:
        x: any shape.
        stddev: standard deviation, 0 or more.
        seed: a number of the caller's own, mixed into the stream.
    """
    if stddev < 0:
        raise ValueError(f"`stddev` must not be negative. Received: stddev={stddev}")
    value = cast(x, "float32")
    return NormalNoise(stddev, noise_stream(graph_of([value]), "normal", seed))(value)


def dropout(x: Any, rate: float, seed: int | None = None) -> Any:
    """x with a fraction `rate` of its values set to 0 and the others divided by `1 - rate`.

    Args:
        x: any shape.
        rate: 0 <= rate <= 1.
        seed: a number of the caller's own, mixed into the stream.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"`rate` must be between 0 and 1. Received: rate={rate}")
    value = cast(x, "float32")
    return Dropout(rate, noise_stream(graph_of([value]), "dropout", seed))(value)[0]
