"""The ops of convolutions over one to three axes, channels last, and of transposed ones.

Three ops are closed under differentiation: the convolution, its gradient by the input (which is the
transposed convolution) and its gradient by the weights. Each has a second output, scratch memory that nobody
reads, so that a program plans it with everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from distnn.kernels import convolution as kernels
from distnn.kernels.windows import Windows
from distnn.ops.activations import BiasAdd, Relu
from distnn.ops.op import ELSEWHERE, FIRST_OUTPUT, Bound, Op
from distnn.ops.pooling import MaxPool
from distnn.tensor import Array, Dim, Shape, Spec, Tensor

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def known(dim: Dim) -> int:
    """A size that does not depend on the batch."""
    assert isinstance(dim, int)
    return dim


class OverWindows(Op):
    """An op on images of any number of axes, which kernels see as three."""

    def __init__(self, windows: Windows, groups: int = 1) -> None:
        self.windows, self.groups = windows, groups

    def _images(self, array: Array, is_output: bool = False) -> Array:
        sizes = self.windows.outputs if is_output else self.windows.inputs
        return array.reshape(len(array), *sizes, array.shape[-1])

    def _pooled(self, array: Array) -> Array:
        """Of outputs pooled 2 x 2."""
        return array.reshape(len(array), *(1,) * (5 - array.ndim), *array.shape[1:])

    def _given(self, dy: Array, chosen: Array | None) -> tuple[Array, Array | None]:
        """A gradient as kernels see it; pooled, if there is `chosen`."""
        if chosen is None:
            return self._images(dy, is_output=True), None
        return self._pooled(dy), self._pooled(chosen)

    def _weights(self, array: Array) -> Array:
        return array.reshape(*self.windows.kernel, *array.shape[-2:])

    def _scratch(self, channels: int, filters: int) -> Spec:
        return Spec((kernels.workspace_floats(self.windows, channels, filters, self.groups),))

    def _weight_flops(self, samples: int, weights: Spec) -> int:
        return 2 * samples * self.windows.places * weights.size(samples)


class Convolution(OverWindows):
    """(y, scratch) from (x, w): y at each window is the sum of what it reads times w."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        x, w = inputs
        rank, channels, filters = x.rank - 2, known(x.shape[-1]), known(w.shape[-1])
        y = (x.shape[0], *self.windows.outputs[-rank:], filters)
        return Spec(y, x.dtype), self._scratch(channels, filters)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, w = self._images(inputs[0]), self._weights(inputs[1])
        y = self._images(outputs[0], is_output=True)
        return kernels.bind_convolution(x, w, y, outputs[1], self.windows, self.groups)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (x, w), dy = inputs, doutputs[0]
        if dy is None:
            return None, None
        dx = ConvolutionInputGradient(self.windows, self.groups)(dy, w)[0]
        return dx, ConvolutionWeightGradient(self.windows, self.groups)(x, dy)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        is_bias = isinstance(consumer, BiasAdd) and sources == (FIRST_OUTPUT, ELSEWHERE)
        return BiasedConvolution(self.windows, self.groups) if is_bias else None


class BiasedConvolution(Convolution):
    """(y, scratch) from (x, w, bias): a convolution plus bias, then relu if `is_rectified`.

    Programs make it; it is never recorded.
    """

    def __init__(self, windows: Windows, groups: int = 1, is_rectified: bool = False) -> None:
        super().__init__(windows, groups)
        self.is_rectified = is_rectified

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return super().infer(*inputs[:2])

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, w = self._images(inputs[0]), self._weights(inputs[1])
        y = self._images(outputs[0], is_output=True)
        finish = kernels.Finish(inputs[2], self.is_rectified)
        return kernels.bind_convolution(x, w, y, outputs[1], self.windows, self.groups, finish)

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        if self.is_rectified:
            return None
        if isinstance(consumer, MaxPool) and consumer.windows == kernels.pooling_of(self.windows):
            return PooledConvolution(self.windows, self.groups, consumer.is_rectified)
        is_relu = isinstance(consumer, Relu)
        return BiasedConvolution(self.windows, self.groups, is_rectified=True) if is_relu else None


class PooledConvolution(BiasedConvolution):
    """(y, chosen, scratch) from (x, w, bias): a convolution plus bias, pooled, then relu if `is_rectified`.

    Programs make it; it is never recorded.
    """

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        made, scratch = super().infer(*inputs)
        pool = kernels.pooling_of(self.windows)
        assert pool is not None
        return *MaxPool(pool).infer(made), scratch

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, w = self._images(inputs[0]), self._weights(inputs[1])
        y, chosen = (self._pooled(array) for array in outputs[:2])
        finish = kernels.Finish(inputs[2], self.is_rectified)
        return kernels.bind_convolution(x, w, y, outputs[2], self.windows, self.groups, finish, chosen)

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        if self.is_rectified or not isinstance(consumer, Relu):
            return None
        return PooledConvolution(self.windows, self.groups, is_rectified=True)


class ConvolutionInputGradient(OverWindows):
    """(dx, scratch) from (dy, w): for each input the sum of dy times w over the windows that read it."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        dy, w = inputs
        rank, channels = dy.rank - 2, known(w.shape[-2]) * self.groups
        dx = (dy.shape[0], *self.windows.inputs[-rank:], channels)
        return Spec(dx, dy.dtype), self._scratch(channels, known(w.shape[-1]))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        dy, w = self._images(inputs[0], is_output=True), self._weights(inputs[1])
        dx = self._images(outputs[0])
        return kernels.bind_input_gradient(dy, w, dx, outputs[1], self.windows, self.groups)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (dy, w), seed = inputs, doutputs[0]
        if seed is None:
            return None, None
        by_dy = Convolution(self.windows, self.groups)(seed, w)[0]
        return by_dy, ConvolutionWeightGradient(self.windows, self.groups)(seed, dy)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])

    def joined_with(self, other: Op, sources: tuple[int, ...]) -> Op | None:
        is_same = isinstance(other, ConvolutionWeightGradient) and vars(other) == vars(self)
        return ConvolutionGradients(self.windows, self.groups) if is_same and sources[1] == 0 else None


class ConvolutionGradients(OverWindows):
    """(dx, scratch, dw) from (dy, w, x): both gradients. Programs make it; it is never recorded.

    With `is_pooled` from (dy, chosen, w, x), where dy is that of 2 x 2 pooling after the convolution.
    """

    def __init__(self, windows: Windows, groups: int = 1, is_pooled: bool = False) -> None:
        super().__init__(windows, groups)
        self.is_pooled = is_pooled

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        w, x = inputs[-2:]
        return x, self._scratch(known(x.shape[-1]), known(w.shape[-1])), w

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        dy, chosen = self._given(inputs[0], inputs[1] if self.is_pooled else None)
        w, x = self._weights(inputs[-2]), self._images(inputs[-1])
        dx, dw = self._images(outputs[0]), self._weights(outputs[2])
        return kernels.bind_gradients(x, w, dy, dx, dw, outputs[1], self.windows, self.groups, chosen)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 2 * self._weight_flops(inputs[0].concrete(samples)[0], inputs[-2])

    def after_pooling(self, pool: Windows, place: int) -> Op | None:
        is_known = not self.is_pooled and place == 0 and pool == kernels.pooling_of(self.windows)
        return ConvolutionGradients(self.windows, self.groups, is_pooled=True) if is_known else None


class ConvolutionWeightGradient(OverWindows):
    """(dw, scratch) from (x, dy): for each weight the sum over windows of what it meets times dy."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        x, dy = inputs
        channels, filters = known(x.shape[-1]), known(dy.shape[-1])
        dw: Shape = (*self.windows.kernel[-(x.rank - 2) :], channels // self.groups, filters)
        return Spec(dw, x.dtype), self._scratch(channels, filters)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, dy = self._images(inputs[0]), self._images(inputs[1], is_output=True)
        dw = self._weights(outputs[0])
        return kernels.bind_weight_gradient(x, dy, dw, outputs[1], self.windows, self.groups)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (x, dy), seed = inputs, doutputs[0]
        if seed is None:
            return None, None
        dx = ConvolutionInputGradient(self.windows, self.groups)(dy, seed)[0]
        return dx, Convolution(self.windows, self.groups)(x, seed)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], outputs[0])

    def after_pooling(self, pool: Windows, place: int) -> Op | None:
        is_known = place == 1 and pool == kernels.pooling_of(self.windows)
        return PooledWeightGradient(self.windows, self.groups) if is_known else None


class PooledWeightGradient(OverWindows):
    """(dw, scratch) from (dy, chosen, x), where dy is that of 2 x 2 pooling after the convolution.

    Programs make it; it is never recorded.
    """

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        dy, _, x = inputs
        return ConvolutionWeightGradient(self.windows, self.groups).infer(x, dy)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        (dy, chosen), x = self._given(*inputs[:2]), self._images(inputs[2])
        dw = self._weights(outputs[0])
        return kernels.bind_weight_gradient(x, dy, dw, outputs[1], self.windows, self.groups, chosen)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[2].concrete(samples)[0], outputs[0])
