"""Activation functions, the bias before them, and both in one pass.

Each activation is a pair of ops: the function, and its gradient from the output (relu, leaky relu, elu,
sigmoid, tanh) or from the input (gelu, silu, softplus). `BiasAdd` followed by an activation becomes one
`BiasActivation` in a program; the bytes stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from distnn.kernels import activations as kernels
from distnn.ops.elementwise import cast
from distnn.ops.op import ELSEWHERE, FIRST_OUTPUT, Bound, Op, graph_of
from distnn.ops.reductions import sum as sum_over
from distnn.tensor import Array, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]
Kernel = Callable[..., object]


class Activation(Op):
    """An activation; its parameters are the instance's attributes, in the kernels' order.

    `gradient_reads_output`: whether the gradient's kernel takes y, or x.
    """

    forward_kernel: ClassVar[Kernel]
    gradient_kernel: ClassVar[Kernel]
    bias_kernel: ClassVar[Kernel]
    gradient_reads_output: ClassVar[bool] = True
    flops_per_value: ClassVar[int] = 20

    @property
    def parameters(self) -> tuple[float, ...]:
        return ()

    def infer(self, *inputs: Spec) -> Spec | tuple[Spec, ...]:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        kernel = type(self).forward_kernel
        return partial(kernel, inputs[0].reshape(-1), *self.parameters, outputs[0].reshape(-1))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        source = outputs[0] if self.gradient_reads_output else inputs[0]
        return (ActivationGradient(self)(source, doutputs[0]),)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self.flops_per_value * inputs[0].size(samples)


class ActivationGradient(Op):
    """The gradient of `activation`, from (its output or input, dy)."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation

    @property
    def name(self) -> str:
        return f"{self.activation.name}_gradient"

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        source, dy = (array.reshape(-1) for array in inputs)
        kernel = type(self.activation).gradient_kernel
        return partial(kernel, source, dy, *self.activation.parameters, outputs[0].reshape(-1))

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        if not isinstance(self.activation, Relu) or sources.count(ELSEWHERE) < len(sources) - 1:
            return None
        return consumer.after_relu_gradient(sources.index(FIRST_OUTPUT))


class Relu(Activation):
    """max(x, 0)."""

    forward_kernel = staticmethod(kernels.relu)
    gradient_kernel = staticmethod(kernels.relu_gradient)
    bias_kernel = staticmethod(kernels.bias_relu)
    flops_per_value = 1


class LeakyRelu(Activation):
    """x, or slope * x below 0.

    Args:
        slope: positive, so that the sign of the output tells that of x.
    """

    forward_kernel = staticmethod(kernels.leaky_relu)
    gradient_kernel = staticmethod(kernels.leaky_relu_gradient)
    bias_kernel = staticmethod(kernels.bias_leaky_relu)
    flops_per_value = 2

    def __init__(self, slope: float) -> None:
        if slope < 0:
            raise ValueError(f"`negative_slope` must not be negative. Received: negative_slope={slope}")
        self.slope = float(slope)

    @property
    def parameters(self) -> tuple[float, ...]:
        return (self.slope,)


class Elu(Activation):
    """x, or alpha * (e^x - 1) below 0."""

    forward_kernel = staticmethod(kernels.elu)
    gradient_kernel = staticmethod(kernels.elu_gradient)
    bias_kernel = staticmethod(kernels.bias_elu)

    def __init__(self, alpha: float) -> None:
        if alpha < 0:
            raise ValueError(f"`alpha` must not be negative. Received: alpha={alpha}")
        self.alpha = float(alpha)

    @property
    def parameters(self) -> tuple[float, ...]:
        return (self.alpha,)


class Sigmoid(Activation):
    """1 / (1 + e^-x)."""

    forward_kernel = staticmethod(kernels.sigmoid_forward)
    gradient_kernel = staticmethod(kernels.sigmoid_gradient)
    bias_kernel = staticmethod(kernels.bias_sigmoid)


class Tanh(Activation):
    """Hyperbolic tangent."""

    forward_kernel = staticmethod(kernels.tanh_forward)
    gradient_kernel = staticmethod(kernels.tanh_gradient)
    bias_kernel = staticmethod(kernels.bias_tanh)


class Silu(Activation):
    """x * sigmoid(x)."""

    forward_kernel = staticmethod(kernels.silu)
    gradient_kernel = staticmethod(kernels.silu_gradient)
    bias_kernel = staticmethod(kernels.bias_silu)
    gradient_reads_output = False


class Gelu(Activation):
    """x times the normal distribution function of x."""

    forward_kernel = staticmethod(kernels.gelu)
    gradient_kernel = staticmethod(kernels.gelu_gradient)
    bias_kernel = staticmethod(kernels.bias_gelu)
    gradient_reads_output = False


class GeluWithSlope(Activation):
    """(gelu of x, its derivative): for training, where the derivative costs little beside the value.

    A bias before it is added in the same pass, as nothing else then reads their sum.
    """

    forward_kernel = staticmethod(kernels.gelu_with_slope)
    bias_kernel = staticmethod(kernels.bias_gelu_with_slope)
    flops_per_value = 40

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return inputs[0], inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(kernels.gelu_with_slope, *(array.reshape(-1) for array in (*inputs, *outputs)))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        from distnn.ops.elementwise import multiply

        return (multiply(doutputs[0], outputs[1]),)


class GeluTanh(Activation):
    """gelu by its tanh approximation."""

    forward_kernel = staticmethod(kernels.gelu_tanh)
    gradient_kernel = staticmethod(kernels.gelu_tanh_gradient)
    bias_kernel = staticmethod(kernels.bias_gelu_tanh)
    gradient_reads_output = False


class Softplus(Activation):
    """log(1 + e^x)."""

    forward_kernel = staticmethod(kernels.softplus_forward)
    gradient_kernel = staticmethod(kernels.softplus_gradient)
    bias_kernel = staticmethod(kernels.bias_softplus)
    gradient_reads_output = False


class BiasAdd(Op):
    """x + bias along the last axis, from (x, bias)."""

    def infer(self, *inputs: Spec) -> Spec:
        x, bias = inputs[0].shape, inputs[1].shape
        if not x or bias != x[-1:]:
            raise ValueError(
                f"a bias of shape {keras_shape(bias)} does not fit the last axis of {keras_shape(x)}"
            )
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, bias = inputs
        units = len(bias)
        return partial(kernels.bias_add, x.reshape(-1, units), bias, outputs[0].reshape(-1, units))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        dy = doutputs[0]
        assert dy is not None
        smaller = dy.node.op.same_sums(dy.node.inputs) if dy.node is not None else None
        added = dy if smaller is None else smaller
        return dy, sum_over(added, axis=list(range(inputs[0].spec.rank - 1)))

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        return BiasActivation(consumer) if isinstance(consumer, Activation) else None


class BiasActivation(Op):
    """An activation of x + bias in one pass, from (x, bias). Programs make it; it is never recorded."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation

    @property
    def name(self) -> str:
        return f"bias_{self.activation.name}"

    def infer(self, *inputs: Spec) -> Spec:
        return BiasAdd().infer(*inputs)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, bias = inputs
        rows, kernel = (-1, len(bias)), type(self.activation).bias_kernel
        places = (array.reshape(rows) for array in outputs)
        return partial(kernel, x.reshape(rows), bias, *self.activation.parameters, *places)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return (1 + self.activation.flops_per_value) * inputs[0].size(samples)


def relu(x: Any) -> Any:
    """max(x, 0)."""
    return Relu()(cast(x, "float32"))


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x for x > 0, else negative_slope * x."""
    return LeakyRelu(negative_slope)(cast(x, "float32"))


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x for x > 0, else alpha * (e^x - 1)."""
    return Elu(alpha)(cast(x, "float32"))


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return Sigmoid()(cast(x, "float32"))


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return Tanh()(cast(x, "float32"))


def silu(x: Any) -> Any:
    """x * sigmoid(x)."""
    return Silu()(cast(x, "float32"))


swish = silu


def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution function of x; `approximate` uses tanh."""
    value = cast(x, "float32")
    if approximate:
        return GeluTanh()(value)
    graph = graph_of([value])
    return GeluWithSlope()(value)[0] if graph is not None and graph.training else Gelu()(value)


def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return Softplus()(cast(x, "float32"))


def bias_add(x: Any, bias: Any) -> Any:
    """x + bias along the last axis."""
    return BiasAdd()(cast(x, "float32"), bias)
