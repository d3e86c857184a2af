"""Layers that make one tensor of several: Add, Multiply, Concatenate, Dot and their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from distnn import ops
from distnn.layers.layer import Layer
from distnn.ops.shapes import product
from distnn.tensor import Shape, keras_shape


class _Merge(Layer):
    """Combines a list of tensors, shapes broadcast against each other."""

    supports_masking = True
    fewest: ClassVar[int] = 1
    most: ClassVar[int | None] = None

    def call(self, inputs: Any) -> Any:
        return self._merged(self._checked(inputs))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Where all inputs that have a mask count; None where none has."""
        whole: Any = None
        for mask in previous_mask or ():
            if mask is not None:
                whole = mask if whole is None else ops.logical_and(whole, mask)
        return whole

    def _checked(self, inputs: Any) -> list[Any]:
        if not isinstance(inputs, list | tuple):
            raise ValueError(
                f"A `{type(self).__name__}` layer should be called on a list of inputs. "
                f"Received: inputs={inputs!r} (not a list of tensors)"
            )
        if len(inputs) < self.fewest or (self.most is not None and len(inputs) > self.most):
            wanted = f"exactly {self.most}" if self.most else f"at least {self.fewest}"
            raise ValueError(
                f"A `{type(self).__name__}` layer should be called on a list of {wanted} inputs. "
                f"Received: {len(inputs)}"
            )
        return list(inputs)

    def _merged(self, inputs: list[Any]) -> Any:
        raise NotImplementedError


class _Elementwise(_Merge):
    """A function of pairs, taken from the first tensor to the last."""

    function: ClassVar[Callable[..., Any]]

    def _merged(self, inputs: list[Any]) -> Any:
        rank = max(len(x.spec.shape) for x in inputs)
        first, *others = (_aligned(x, rank) for x in inputs)
        for other in others:
            first = type(self).function(first, other)
        return first


def _aligned(x: Any, rank: int) -> Any:
    """x with axes of 1 behind the batch's, until it has `rank` axes."""
    shape: Shape = x.spec.shape
    if len(shape) == rank or not shape:
        return x
    return ops.reshape(x, (shape[0], *(1 for _ in range(rank - len(shape))), *shape[1:]))


class Add(_Elementwise):
    """The sum of a list of tensors, element by element."""

    function = staticmethod(ops.add)


class Subtract(_Elementwise):
    """The first of two tensors minus the second."""

    fewest = most = 2
    function = staticmethod(ops.subtract)


class Multiply(_Elementwise):
    """The product of a list of tensors, element by element."""

    function = staticmethod(ops.multiply)


class Average(Add):
    """The mean of a list of tensors, element by element."""

    def _merged(self, inputs: list[Any]) -> Any:
        return ops.multiply(super()._merged(inputs), 1.0 / len(inputs))


class Maximum(_Elementwise):
    """The largest of a list of tensors, element by element."""

    function = staticmethod(ops.maximum)


class Minimum(_Elementwise):
    """The smallest of a list of tensors, element by element."""

    function = staticmethod(ops.minimum)


class Concatenate(_Merge):
    """A list of tensors one after the other along an axis.

    Args:
        axis: not the batch's; all other axes must agree.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axis, int) or axis == 0:
            raise ValueError(f"`axis` must be an integer, not the batch's (0). Received: axis={axis}")
        self.axis = axis

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The masks one after the other along the steps' axis, all true where there is none."""
        is_along_steps = self.axis % len(inputs[0].spec.shape) == 1
        if not is_along_steps or all(mask is None for mask in previous_mask or ()):
            return super().compute_mask(inputs, previous_mask)
        masks = [
            ops.broadcast_to(ops.cast(1, "bool"), x.spec.shape[:2]) if mask is None else mask
            for x, mask in zip(inputs, previous_mask, strict=True)
        ]
        numbers = ops.concatenate([ops.cast(mask, "int32") for mask in masks], axis=1)
        return ops.cast(numbers, "bool")

    def _merged(self, inputs: list[Any]) -> Any:
        return ops.concatenate(inputs, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class Dot(_Merge):
    """Sums of products of two tensors along an axis of each, sample by sample.

    Output shape: the batch, the other axes of the first, those of the second; `(batch, 1)` if there are none.

    Args:
        axes: the axis of both, or a pair of axes.
        normalize: whether both are divided by their length along these axes first (cosine similarity).
    """

    fewest = most = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = (axes, axes) if isinstance(axes, int) else tuple(axes)
        if len(pair) != 2 or any(not isinstance(axis, int) or axis == 0 for axis in pair):
            raise ValueError(
                f"`axes` must be an integer or a pair of them, none the batch's (0). Received: axes={axes}"
            )
        self.axes = axes if isinstance(axes, int) else list(pair)
        self._pair = pair
        self.normalize = normalize

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """None: the result has no steps."""

    def _merged(self, inputs: list[Any]) -> Any:
        ranks = [len(x.spec.shape) for x in inputs]
        places = [axis % rank for axis, rank in zip(self._pair, ranks, strict=True)]
        x, y = inputs
        if self.normalize:
            x, y = ops.normalize(x, axis=places[0]), ops.normalize(y, axis=places[1])
        x, y = ops.moveaxis(x, places[0], -1), ops.moveaxis(y, places[1], 1)
        shape_x, shape_y = x.spec.shape, y.spec.shape
        if shape_x[-1] != shape_y[1]:
            raise ValueError(
                f"Dot: axes {self._pair} of inputs of shapes {keras_shape(inputs[0].spec.shape)} and "
                f"{keras_shape(inputs[1].spec.shape)} differ in size"
            )
        rows, columns = product(shape_x[1:-1]), product(shape_y[2:])
        left = ops.reshape(x, (shape_x[0], rows, shape_x[-1]))
        right = ops.reshape(y, (shape_y[0], shape_y[1], columns))
        rest = (*shape_x[1:-1], *shape_y[2:])
        return ops.reshape(ops.matmul(left, right), (shape_x[0], *(rest or (1,))))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, **kwargs: Any) -> Any:
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes=axes, **kwargs)(inputs)
