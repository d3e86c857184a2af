"""Softmax, log-softmax, and the cross-entropies, which share their passes over memory.

Targets and labels get no gradient. A cross-entropy from logits also leaves the probabilities, so that a
program takes a model's softmax from there (`byproducts`) instead of computing it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from distnn.kernels import metrics as metric_kernels
from distnn.kernels import softmax as kernels
from distnn.ops.arguments import normalized_axes, shape_of
from distnn.ops.elementwise import cast
from distnn.ops.op import Bound, Op
from distnn.ops.shapes import transpose
from distnn.tensor import Array, Shape, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


class _AlongRows(Op):
    """A function of each row along the last axis."""

    kernel: ClassVar[Callable[..., object]]

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        if not shape or shape[-1] == 0:
            raise ValueError(f"{self.name} needs a last axis with values. Received: {keras_shape(shape)}")
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(self.kernel, *(_rows(array) for array in inputs), _rows(outputs[0]))

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 20 * inputs[0].size(samples)


class Softmax(_AlongRows):
    """e^x over its sum along the last axis."""

    kernel = staticmethod(kernels.softmax)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (SoftmaxGradient()(outputs[0], doutputs[0]),)


class SoftmaxGradient(_AlongRows):
    """From (y, dy)."""

    kernel = staticmethod(kernels.softmax_gradient)


class LogSoftmax(_AlongRows):
    """The logarithm of the softmax along the last axis."""

    kernel = staticmethod(kernels.log_softmax)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (LogSoftmaxGradient()(outputs[0], doutputs[0]),)


class LogSoftmaxGradient(_AlongRows):
    """From (y, dy)."""

    kernel = staticmethod(kernels.log_softmax_gradient)


def _check_pair(name: str, target: Shape, output: Shape, wanted: Shape) -> None:
    if not output or target != wanted:
        raise ValueError(
            f"{name}: targets of shape {keras_shape(target)} do not fit predictions of shape "
            f"{keras_shape(output)}; expected {keras_shape(wanted)}"
        )


class _CrossEntropy(Op):
    """From (predictions, targets): one loss per row, and from logits the probabilities."""

    is_sparse: ClassVar[bool]
    forward_kernel: ClassVar[Callable[..., object]]

    def infer(self, *inputs: Spec) -> Spec | tuple[Spec, ...]:
        output, target = inputs[0].shape, inputs[1].shape
        _check_pair(self.name, target, output, output[:-1] if self.is_sparse else output)
        return Spec(output[:-1], inputs[0].dtype)

    def _flat_target(self, target: Array) -> Array:
        return target.reshape(-1) if self.is_sparse else _rows(target)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        target, loss = self._flat_target(inputs[1]), outputs[0].reshape(-1)
        rest = [_rows(array) for array in outputs[1:]]
        return partial(type(self).forward_kernel, _rows(inputs[0]), target, loss, *rest)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 20 * inputs[0].size(samples)


class _CrossEntropyFromLogits(_CrossEntropy):
    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        loss = super().infer(*inputs)
        assert isinstance(loss, Spec)
        return loss, inputs[0]

    def byproducts(self) -> tuple[tuple[Op, int, int], ...]:
        return ((Softmax(), 0, 1),)


class SparseCrossEntropy(_CrossEntropyFromLogits):
    """-log softmax(x)[label] and the probabilities, from (logits, int32 labels)."""

    is_sparse = True
    forward_kernel = staticmethod(kernels.sparse_cross_entropy)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return SparseCrossEntropyGradient()(outputs[1], inputs[1], doutputs[0]), None


class CategoricalCrossEntropy(_CrossEntropyFromLogits):
    """-sum(target log softmax(x)) and the probabilities, from (logits, targets)."""

    is_sparse = False
    forward_kernel = staticmethod(kernels.dense_cross_entropy)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return CategoricalCrossEntropyGradient()(outputs[1], inputs[1], doutputs[0]), None


class SparseCrossEntropyOfProbabilities(_CrossEntropy):
    """-log p[label] of normalised, clipped probabilities, from (probabilities, int32 labels)."""

    is_sparse = True
    forward_kernel = staticmethod(kernels.sparse_cross_entropy_of_probabilities)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return SparseCrossEntropyOfProbabilitiesGradient()(*inputs, doutputs[0]), None


class CategoricalCrossEntropyOfProbabilities(_CrossEntropy):
    """-sum(target log p) of normalised, clipped probabilities, from (probabilities, targets)."""

    is_sparse = False
    forward_kernel = staticmethod(kernels.dense_cross_entropy_of_probabilities)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return CategoricalCrossEntropyOfProbabilitiesGradient()(*inputs, doutputs[0]), None


class _CrossEntropyGradient(Op):
    """From (probabilities, targets, dloss)."""

    is_sparse: ClassVar[bool]
    kernel: ClassVar[Callable[..., object]]

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        p, target, dloss = inputs
        flat = target.reshape(-1) if self.is_sparse else _rows(target)
        return partial(type(self).kernel, _rows(p), flat, dloss.reshape(-1), _rows(outputs[0]))


class SparseCrossEntropyGradient(_CrossEntropyGradient):
    is_sparse = True
    kernel = staticmethod(kernels.sparse_cross_entropy_gradient)


class CategoricalCrossEntropyGradient(_CrossEntropyGradient):
    is_sparse = False
    kernel = staticmethod(kernels.dense_cross_entropy_gradient)


class SparseCrossEntropyOfProbabilitiesGradient(_CrossEntropyGradient):
    is_sparse = True
    kernel = staticmethod(kernels.sparse_cross_entropy_of_probabilities_gradient)


class CategoricalCrossEntropyOfProbabilitiesGradient(_CrossEntropyGradient):
    is_sparse = False
    kernel = staticmethod(kernels.dense_cross_entropy_of_probabilities_gradient)


class BinaryCrossEntropy(Op):
    """Per element, from (predictions, targets).

    Args:
        from_logits: whether predictions are logits; probabilities are clipped to [1e-7, 1 - 1e-7].
    """

    def __init__(self, from_logits: bool) -> None:
        self.from_logits = from_logits

    def infer(self, *inputs: Spec) -> Spec:
        _check_pair(self.name, inputs[1].shape, inputs[0].shape or (1,), inputs[0].shape)
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        logits, probabilities = kernels.binary_cross_entropy, kernels.binary_cross_entropy_of_probabilities
        return partial(
            logits if self.from_logits else probabilities,
            *(array.reshape(-1) for array in (*inputs, outputs[0])),
        )

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return BinaryCrossEntropyGradient(self.from_logits)(*inputs, doutputs[0]), None


class BinaryCrossEntropyGradient(Op):
    """From (predictions, targets, dloss)."""

    def __init__(self, from_logits: bool) -> None:
        self.from_logits = from_logits

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        logits = kernels.binary_cross_entropy_gradient
        probabilities = kernels.binary_cross_entropy_of_probabilities_gradient
        return partial(
            logits if self.from_logits else probabilities,
            *(array.reshape(-1) for array in (*inputs, outputs[0])),
        )


class InTopK(Op):
    """1.0 where the label is among the k largest, from (predictions, int32 labels); no gradient."""

    def __init__(self, k: int) -> None:
        self.k = int(k)

    def infer(self, *inputs: Spec) -> Spec:
        _check_pair(self.name, inputs[1].shape, inputs[0].shape, inputs[0].shape[:-1])
        return Spec(inputs[1].shape, "float32")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        predictions, labels = _rows(inputs[0]), inputs[1].reshape(-1)
        return partial(
            metric_kernels.sparse_top_k_accuracy, labels, predictions, self.k, outputs[0].reshape(-1)
        )


def _on_last_axis(function: Callable[[Any], Any], x: Any, axis: int) -> Any:
    """`function`, which acts on the last axis, along `axis`."""
    rank = len(shape_of(x))
    (place,) = normalized_axes(axis, rank)
    if place == rank - 1:
        return function(x)
    order = list(range(rank))
    order[place], order[-1] = order[-1], order[place]
    return transpose(function(transpose(x, order)), order)


def softmax(x: Any, axis: int = -1) -> Any:
    """e^x divided by its sum along `axis`."""
    return _on_last_axis(lambda value: Softmax()(value), cast(x, "float32"), axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """The logarithm of `softmax`, computed without taking it."""
    return _on_last_axis(lambda value: LogSoftmax()(value), cast(x, "float32"), axis)


def _last(x: Any, axis: int, what: str) -> Any:
    value = cast(x, "float32")
    rank = len(shape_of(value))
    if axis not in (-1, rank - 1):
        raise ValueError(f"{what}: the classes must lie along the last axis. Received: axis={axis}")
    return value


def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-sum(target log(output)) along the last axis; probabilities are normalised and clipped first."""
    predictions = _last(output, axis, "categorical_crossentropy")
    targets = cast(target, "float32")
    if from_logits:
        return CategoricalCrossEntropy()(predictions, targets)[0]
    return CategoricalCrossEntropyOfProbabilities()(predictions, targets)


def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log(output[target]) along the last axis, target the class number; NaN for one that is no class."""
    predictions = _last(output, axis, "sparse_categorical_crossentropy")
    labels = cast(target, "int32")
    if from_logits:
        return SparseCrossEntropy()(predictions, labels)[0]
    return SparseCrossEntropyOfProbabilities()(predictions, labels)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-(target log(output) + (1 - target) log(1 - output)), element by element."""
    return BinaryCrossEntropy(from_logits)(cast(output, "float32"), cast(target, "float32"))


def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether the class number is among the k largest predictions of its row."""
    return cast(InTopK(k)(cast(predictions, "float32"), cast(targets, "int32")), "bool")
