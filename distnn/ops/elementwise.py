"""Arithmetic element by element, with NumPy's broadcasting.

Sums, differences, products, quotients, roots and extremes are correctly rounded, so NumPy's
ufuncs give the same bytes on every CPU; exp and log are kernels of our own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from distnn.kernels.elementwise import exp_forward, log1p_forward, log_forward, power_forward
from distnn.ops.arguments import operand, operands
from distnn.ops.comparison import cast as cast
from distnn.ops.comparison import greater_equal, less_equal
from distnn.ops.op import Bound, Op
from distnn.ops.shapes import sum_to_shape
from distnn.tensor import Array, Spec, Tensor, broadcast_shapes

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


class _Binary(Op):
    """A ufunc of two operands of one dtype."""

    ufunc: ClassVar[Any]

    def infer(self, *inputs: Spec) -> Spec:
        shape = broadcast_shapes(inputs[0].shape, inputs[1].shape, f"operands of {self.name}")
        return Spec(shape, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(self.ufunc, inputs[0], inputs[1], out=outputs[0])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        dout = doutputs[0]
        if dout is None:
            return (None, None)
        parts = self.partials(inputs[0], inputs[1], outputs[0], dout)
        return tuple(
            sum_to_shape(part, tensor.spec.shape) for part, tensor in zip(parts, inputs, strict=True)
        )

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients with respect to both operands, of the output's shape."""
        raise NotImplementedError


class Add(_Binary):
    ufunc = np.add

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout, dout


class Subtract(_Binary):
    ufunc = np.subtract

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout, negative(dout)


class Multiply(_Binary):
    ufunc = np.multiply

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return multiply(dout, y), multiply(dout, x)


class Divide(_Binary):
    ufunc = np.divide

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        dx = divide(dout, y)
        return dx, negative(multiply(dx, out))


class Maximum(_Binary):
    """Where both are equal, the gradient goes to the first."""

    ufunc = np.maximum

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return _chosen(greater_equal(x, y), dout)


class Minimum(_Binary):
    """Where both are equal, the gradient goes to the first."""

    ufunc = np.minimum

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return _chosen(less_equal(x, y), dout)


def _chosen(first: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
    return where(first, dout, 0.0), where(first, 0.0, dout)


class _Unary(Op):
    """A ufunc, or a kernel over 1-D arrays, of one operand."""

    function: ClassVar[Callable[..., Any]]
    is_kernel: ClassVar[bool] = False

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        if type(self).is_kernel:
            return partial(type(self).function, inputs[0].reshape(-1), outputs[0].reshape(-1))
        return partial(type(self).function, inputs[0], out=outputs[0])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        dout = doutputs[0]
        return (None if dout is None else self.derivative(inputs[0], outputs[0], dout),)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        """dy times the derivative."""
        raise NotImplementedError


class Negative(_Unary):
    function = np.negative

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return negative(dy)


class Abs(_Unary):
    function = np.absolute

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(dy, sign(x))


class Sign(_Unary):
    function = np.sign

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return None


class Square(_Unary):
    function = np.square

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(dy, multiply(x, 2.0))


class Sqrt(_Unary):
    function = np.sqrt

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return divide(multiply(dy, 0.5), y)


class Exp(_Unary):
    function = staticmethod(exp_forward)
    is_kernel = True

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(dy, y)


class Log(_Unary):
    function = staticmethod(log_forward)
    is_kernel = True

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return divide(dy, x)


class Log1p(_Unary):
    function = staticmethod(log1p_forward)
    is_kernel = True

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return divide(dy, add(x, 1.0))


class Power(Op):
    """x to a fixed power that is no small whole number: e^(p log x), NaN below 0."""

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(power_forward, inputs[0].reshape(-1), self.exponent, outputs[0].reshape(-1))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (multiply(doutputs[0], multiply(power(inputs[0], self.exponent - 1), self.exponent)),)


class StopGradient(Op):
    """x, through which no gradient passes."""

    is_view = True

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]


class Where(Op):
    """x where the condition holds, else y; all three broadcast."""

    def infer(self, *inputs: Spec) -> Spec:
        condition, x, y = inputs
        shape = broadcast_shapes(broadcast_shapes(condition.shape, x.shape), y.shape, "operands of where")
        return Spec(shape, x.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        condition, x, y = (np.broadcast_to(array, outputs[0].shape) for array in inputs)
        out = outputs[0]

        def choose() -> None:
            np.copyto(out, y)
            np.copyto(out, x, where=condition)

        return choose

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        condition, x, y = inputs
        dx, dy = where(condition, doutputs[0], 0.0), where(condition, 0.0, doutputs[0])
        return None, sum_to_shape(dx, x.spec.shape), sum_to_shape(dy, y.spec.shape)


def add(x1: Any, x2: Any) -> Any:
    """x1 + x2."""
    return Add()(*operands(x1, x2))


def subtract(x1: Any, x2: Any) -> Any:
    """x1 - x2."""
    return Subtract()(*operands(x1, x2))


def multiply(x1: Any, x2: Any) -> Any:
    """x1 * x2."""
    return Multiply()(*operands(x1, x2))


def divide(x1: Any, x2: Any) -> Any:
    """x1 / x2, as floats."""
    x1, x2 = operands(x1, x2)
    return Divide()(cast(x1, "float32"), cast(x2, "float32"))


def maximum(x1: Any, x2: Any) -> Any:
    """The larger, element by element."""
    return Maximum()(*operands(x1, x2))


def minimum(x1: Any, x2: Any) -> Any:
    """The smaller, element by element."""
    return Minimum()(*operands(x1, x2))


def clip(x: Any, x_min: float, x_max: float) -> Any:
    """x within [x_min, x_max]."""
    return minimum(maximum(x, x_min), x_max)


def negative(x: Any) -> Any:
    """-x."""
    return Negative()(operand(x))


def abs(x: Any) -> Any:  # noqa: A001  (Keras's name)
    """|x|."""
    return Abs()(operand(x))


def absolute(x: Any) -> Any:
    """|x|."""
    return Abs()(operand(x))


def sign(x: Any) -> Any:
    """-1, 0 or 1; no gradient passes."""
    return Sign()(operand(x))


def square(x: Any) -> Any:
    """x * x."""
    return Square()(operand(x))


def sqrt(x: Any) -> Any:
    """The square root; NaN below 0."""
    return Sqrt()(cast(x, "float32"))


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return divide(1.0, sqrt(x))


def reciprocal(x: Any) -> Any:
    """1 / x."""
    return divide(1.0, x)


def exp(x: Any) -> Any:
    """e^x."""
    return Exp()(cast(x, "float32"))


def log(x: Any) -> Any:
    """Natural logarithm."""
    return Log()(cast(x, "float32"))


def log1p(x: Any) -> Any:
    """log(1 + x), accurate near 0."""
    return Log1p()(cast(x, "float32"))


_MOST_PRODUCTS = 16


def power(x1: Any, x2: float) -> Any:
    """x1 to a fixed power; whole powers up to 16 by products, so that x1 may be negative."""
    x, exponent = x1, x2
    if not isinstance(exponent, int | float):
        raise ValueError(f"`x2`, the exponent, must be a number. Received: {type(exponent).__name__}")
    if exponent == 0.5:
        return sqrt(x)
    if exponent != int(exponent) or not 0 <= exponent <= _MOST_PRODUCTS:
        if exponent == int(exponent) and -_MOST_PRODUCTS <= exponent < 0:
            return reciprocal(power(x, -exponent))
        return Power(float(exponent))(cast(x, "float32"))
    if exponent == 0:
        return add(multiply(x, 0.0), 1.0)
    result = operand(x)
    for _ in range(int(exponent) - 1):
        result = multiply(result, x)
    return result


def stop_gradient(variable: Any) -> Any:
    """What is given, through which no gradient passes."""
    return StopGradient()(operand(variable))


def where(condition: Any, x1: Any, x2: Any) -> Any:
    """x1 where `condition` holds, else x2."""
    from distnn.ops.op import as_tensor, graph_of

    graph = graph_of([condition, x1, x2])
    if graph is None:
        return Where()(np.asarray(condition, bool), *operands(x1, x2))
    with_graph = operands(*(v if isinstance(v, Tensor) else as_tensor(v, graph) for v in (x1, x2)))
    return Where()(cast(as_tensor(condition, graph), "bool"), *with_graph)
