"""Random changes of images, each image by amounts of its own. They have no gradient: they come first."""

from __future__ import annotations

from functools import partial

import numpy as np

from distnn.kernels import images as kernels
from distnn.ops.op import Bound, Op
from distnn.tensor import Array, Spec, Tensor

FILLS = {
    "constant": kernels.CONSTANT,
    "nearest": kernels.NEAREST,
    "reflect": kernels.REFLECT,
    "wrap": kernels.WRAP,
}
INTERPOLATIONS = ("nearest", "bilinear")


class _ImageOp(Op):
    def infer(self, *inputs: Spec) -> Spec:
        if inputs[0].rank != 4:
            raise ValueError(
                f"images have four axes (batch, height, width, channels). Received: shape {inputs[0].shape}"
            )
        return inputs[0]

    def gradient(
        self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], doutputs: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        raise ValueError(
            f"{type(self).__name__} has no gradient: put random changes of images before all layers with "
            "weights"
        )


class TransformImages(_ImageOp):
    """Images mirrored, zoomed, turned and moved.

    Args:
        amounts: see `kernels.images`, as a tuple.
        fill_mode: what lies outside of an image: one of `FILLS`.
        fill_value: for "constant".
        interpolation: one of `INTERPOLATIONS`.
        stream: differs for each such op of a model.
    """

    def __init__(
        self,
        amounts: tuple[float, ...],
        fill_mode: str,
        fill_value: float,
        interpolation: str,
        stream: int,
    ) -> None:
        self.amounts, self.fill_mode, self.fill_value = amounts, fill_mode, float(fill_value)
        self.interpolation, self.stream = interpolation, stream

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(
            kernels.transform_images,
            inputs[0],
            control,
            self.stream,
            np.array(self.amounts, np.float64),
            FILLS[self.fill_mode],
            self.fill_value,
            int(self.interpolation == "bilinear"),
            outputs[0],
        )


class CropImages(_ImageOp):
    """A part of each image, of `height` rows and `width` columns, from a place of its own."""

    def __init__(self, height: int, width: int, stream: int) -> None:
        self.height, self.width, self.stream = height, width, stream

    def infer(self, *inputs: Spec) -> Spec:
        shape = super().infer(*inputs).shape
        return Spec((shape[0], self.height, self.width, shape[3]))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(kernels.crop_images, inputs[0], control, self.stream, outputs[0])


class ChangeContrast(_ImageOp):
    """Contrast multiplied by an amount between `lowest` and `highest`."""

    def __init__(self, lowest: float, highest: float, stream: int) -> None:
        self.lowest, self.highest, self.stream = float(lowest), float(highest), stream

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(
            kernels.change_contrast, inputs[0], control, self.stream, self.lowest, self.highest, outputs[0]
        )


class ChangeBrightness(_ImageOp):
    """An amount between `lowest` and `highest` added, the result kept in `value_range`."""

    def __init__(self, lowest: float, highest: float, value_range: tuple[float, float], stream: int) -> None:
        self.lowest, self.highest, self.stream = float(lowest), float(highest), stream
        self.value_range = (float(value_range[0]), float(value_range[1]))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        least, most = self.value_range
        return partial(
            kernels.change_brightness,
            inputs[0],
            control,
            self.stream,
            self.lowest,
            self.highest,
            least,
            most,
            outputs[0],
        )
