"""Depthwise convolutions: each channel by itself. Closed under differentiation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from distnn.kernels import depthwise as kernels
from distnn.ops.convolution import Gradients, OverWindows, Tensors, known
from distnn.ops.op import Bound
from distnn.tensor import Array, Spec


class _Depthwise(OverWindows):
    """Each channel by itself; kernels read flat arrays."""

    def _bound(self, kernel: Callable[..., object], channels: int, filters: int, *arrays: Array) -> Bound:
        first, second, *rest = (array.reshape(-1) for array in arrays)
        sizes = np.array(self.windows.sizes, np.int64)
        return partial(kernel, first, second, sizes, channels, filters, *rest)


class DepthwiseConvolution(_Depthwise):
    """y from (x, w [.., channels, filters of each]): the filters of a channel see that channel only."""

    def infer(self, *inputs: Spec) -> Spec:
        x, w = inputs
        made = known(w.shape[-2]) * known(w.shape[-1])
        return Spec((x.shape[0], *self.windows.outputs[-(x.rank - 2) :], made), x.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        channels, filters = inputs[1].shape[-2:]
        return self._bound(kernels.depthwise, channels, filters, *inputs, outputs[0])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (x, w), dy = inputs, doutputs[0]
        dx = DepthwiseInputGradient(self.windows)(dy, w)
        return dx, DepthwiseWeightGradient(self.windows)(x, dy)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])


class DepthwiseInputGradient(_Depthwise):
    """dx from (dy, w)."""

    def infer(self, *inputs: Spec) -> Spec:
        dy, w = inputs
        return Spec((dy.shape[0], *self.windows.inputs[-(dy.rank - 2) :], w.shape[-2]), dy.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        channels, filters = inputs[1].shape[-2:]
        return self._bound(kernels.depthwise_input_gradient, channels, filters, *inputs, outputs[0])

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])


class DepthwiseWeightGradient(_Depthwise):
    """(dw, scratch) from (x, dy)."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        x, dy = inputs
        channels = known(x.shape[-1])
        filters = known(dy.shape[-1]) // channels
        dw = Spec((*self.windows.kernel[-(x.rank - 2) :], channels, filters), x.dtype)
        return dw, Spec((dw.size(1),), x.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        channels, filters = outputs[0].shape[-2:]
        kernel = kernels.depthwise_weight_gradient
        return self._bound(kernel, channels, filters, *inputs, outputs[1], outputs[0])

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], outputs[0])
