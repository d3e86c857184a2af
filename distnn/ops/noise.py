"""Dropout: noise that is a function of the seed, the step, the shard and the op's place in the model."""

from __future__ import annotations

from functools import partial
from typing import Any

from distnn.kernels.random import dropout as dropout_kernel
from distnn.kernels.random import dropout_gradient
from distnn.ops.elementwise import cast
from distnn.ops.op import Bound, Op, graph_of
from distnn.rng import draw_seed, stream_key
from distnn.tensor import Array, Spec, Tensor

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
    graph = graph_of([value])
    if graph is None:
        stream = stream_key(draw_seed() if seed is None else seed, "dropout")
    else:
        stream = stream_key(0 if seed is None else seed, "dropout", graph.unique_name("dropout_stream"))
    return Dropout(rate, stream)(value)[0]
