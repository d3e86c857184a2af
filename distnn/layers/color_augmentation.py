"""Colours changed at random in training: hue, saturation, grey, inverted, erased, blurred, solarized images.

Images are `(batch, height, width, channels)`. The amounts are drawn for each image, as functions of the seed,
the step, the shard, the image and the layer's place in the model. Keras's arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn import ops, random
from distnn.layers import colors
from distnn.layers.augmentation import RandomBrightness, RandomContrast, RandomLayer
from distnn.layers.layer import Layer

Pair = tuple[float, float]


def _factor(name: str, given: Any) -> Pair:
    """f as (0, f), or a pair in its order; within 0 and 1."""
    pair = (0.0, given) if isinstance(given, int | float) else given
    is_pair = isinstance(pair, list | tuple) and len(pair) == 2
    if not is_pair or not all(isinstance(one, int | float) and 0 <= one <= 1 for one in pair):
        raise ValueError(
            f"The `{name}` argument should be a number (or a list of two numbers) in the range [0, 1]. "
            f"Received: {name}={given}"
        )
    low, high = sorted(float(one) for one in pair)
    return low, high


def _value_range(given: Any) -> Pair:
    if not isinstance(given, list | tuple) or len(given) != 2 or given[0] == given[1]:
        raise ValueError(
            f"The `value_range` argument should be a list of two numbers. Received: value_range={given}"
        )
    low, high = sorted(float(one) for one in given)
    return low, high


class _ColorLayer(RandomLayer):
    """Base of the layers here.

    Args:
        value_range: the least and the largest value that images have.
        seed: a number of the layer's own.
    """

    needs_colors = False

    def __init__(self, value_range: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.value_range = None if value_range is None else _value_range(value_range)

    @property
    def _bounds(self) -> Pair:
        assert self.value_range is not None, "layers that ask for bounds take a `value_range`"
        return self.value_range

    def _changed(self, images: Any, stream: int) -> Any:
        shape = images.shape
        if len(shape) != 4 or (self.needs_colors and shape[-1] != 3):
            raise ValueError(
                f"layer '{self.name}' takes images (batch, height, width, "
                f"{'3' if self.needs_colors else 'channels'}). Received: shape {shape}"
            )
        return self._recolored(images)

    def _recolored(self, images: Any) -> Any:
        raise NotImplementedError

    def _drawn(self, images: Any, between: Pair = (0.0, 1.0)) -> Any:
        """A number for each image, (batch, 1, 1, 1)."""
        return random.uniform((images.spec.shape[0], 1, 1, 1), *between, seed=self.seed)

    def _with_chance(self, images: Any, changed: Any, factor: Pair) -> Any:
        """`changed` in place of each image with a chance drawn from `factor`."""
        chance = self._drawn(images, factor)
        return ops.where(ops.less(self._drawn(images), chance), changed, images)

    def _clipped(self, images: Any) -> Any:
        return ops.clip(images, *self._bounds)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.value_range is None else {**config, "value_range": list(self.value_range)}


class RandomInvert(_ColorLayer):
    """Images as their negatives, or not.

    Args:
        factor: the chance: f for 0 to f, or (lower, upper).
        value_range: of the values; a negative is its upper end minus the image.
        seed: a number of the layer's own.
    """

    def __init__(
        self, factor: Any = 1.0, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.factor = _factor("factor", factor)

    def _recolored(self, images: Any) -> Any:
        return self._with_chance(images, ops.subtract(self._bounds[1], images), self.factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}


class RandomGrayscale(_ColorLayer):
    """Images without their colours, or with them.

    Args:
        factor: the chance of each image.
        data_format: "channels_last" or None.
        seed: a number of the layer's own.
    """

    needs_colors = True

    def __init__(
        self, factor: float = 0.5, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(None, seed, data_format=data_format, **kwargs)
        if not 0 <= factor <= 1:
            raise ValueError(f"`factor` should be between 0 and 1. Received: factor={factor}")
        self.factor = float(factor)

    def _recolored(self, images: Any) -> Any:
        return self._with_chance(images, colors.gray(images), (self.factor, self.factor))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class _AmountOfColor(_ColorLayer):
    """Base of layers with one amount between 0 and 1, drawn for each image."""

    needs_colors = True

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, data_format=data_format, **kwargs)
        self.factor = _factor("factor", factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}


class RandomHue(_AmountOfColor):
    """The hue of each image turned one way or the other.

    Args:
        factor: of half a turn: f for 0 to f, or (lower, upper).
        value_range: of the values.
        seed: a number of the layer's own.
    """

    def _recolored(self, images: Any) -> Any:
        low, high = self._bounds
        amount = self._drawn(images, self.factor) * 0.5
        sign = ops.where(ops.greater(self._drawn(images), 0.5), -1.0, 1.0)
        turned = colors.with_hue_turned(
            ops.divide(ops.subtract(images, low), high - low), ops.multiply(amount, sign)
        )
        return ops.add(ops.clip(turned, 0.0, 1.0) * (high - low), low)


class RandomSaturation(_AmountOfColor):
    """The saturation of each image multiplied by a number.

    Args:
        factor: f for amounts of 0 to f, or (lower, upper); 0 leaves greys, 0.5 the image, 1 full colours.
        value_range: of the values.
        seed: a number of the layer's own.
    """

    def _recolored(self, images: Any) -> Any:
        amount = self._drawn(images, self.factor)
        return colors.with_saturation_times(images, ops.divide(amount, ops.subtract(1.0 + 1e-7, amount)))


class RandomColorJitter(RandomLayer):
    """Brightness, contrast, saturation and hue of each image changed, one after another.

    Args:
        value_range: of the values.
        brightness_factor, contrast_factor, saturation_factor, hue_factor: as of `RandomBrightness`,
            `RandomContrast`, `RandomSaturation` and `RandomHue`; None leaves it.
        seed: a number of the layer's own.
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.value_range = _value_range(value_range)
        self.factors = {
            "brightness_factor": brightness_factor,
            "contrast_factor": contrast_factor,
            "saturation_factor": saturation_factor,
            "hue_factor": hue_factor,
        }
        given: dict[str, Any] = {"value_range": self.value_range, "seed": seed}
        self.steps: list[Layer] = []
        if brightness_factor is not None:
            self.steps.append(RandomBrightness(brightness_factor, **given))
        if contrast_factor is not None:
            self.steps.append(RandomContrast(contrast_factor, seed=seed))
        if saturation_factor is not None:
            self.steps.append(RandomSaturation(saturation_factor, **given))
        if hue_factor is not None:
            self.steps.append(RandomHue(hue_factor, **given))

    def _changed(self, images: Any, stream: int) -> Any:
        for step in self.steps:
            images = step(images, training=True)
            if isinstance(step, RandomContrast):
                images = ops.clip(images, *self.value_range)
        return images

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": list(self.value_range), **self.factors}


class RandomErasing(_ColorLayer):
    """A rectangle of each image filled, or not.

    Args:
        factor: the chance: f for 0 to f, or (lower, upper).
        scale: of the image's height and width, squared: between which the rectangle's are.
        fill_value: a number, or one for each of three channels; None for noise.
        value_range: of the values.
        seed: a number of the layer's own.
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.factor, self.scale = _factor("factor", factor), _factor("scale", scale)
        is_list = isinstance(fill_value, list | tuple) and len(fill_value) == 3
        if not is_list and not isinstance(fill_value, int | float | None):
            raise ValueError(
                "The `fill_value` argument should be a number (or a list of three numbers). "
                f"Received: fill_value={fill_value}"
            )
        self.fill_value = list(fill_value) if is_list else fill_value

    def _recolored(self, images: Any) -> Any:
        if self.fill_value is None:
            noise = random.normal(images.spec.shape, seed=self.seed)
            filled = self._clipped(noise * self._bounds[1])
        else:
            value = np.clip(np.asarray(self.fill_value, np.float64), *self._bounds)
            filled = ops.add(ops.zeros_like(images), value)
        rows, columns = (self._inside(images, axis) for axis in (1, 2))
        erased = ops.where(ops.logical_and(rows, columns), filled, images)
        return self._with_chance(images, erased, self.factor)

    def _inside(self, images: Any, axis: int) -> Any:
        """Which places along an axis lie in the rectangle."""
        size = images.shape[axis]
        length = ops.sqrt(self._drawn(images, self.scale)) * float(size)
        start = ops.multiply(self._drawn(images), ops.subtract(float(size), length))
        places = np.arange(size, dtype=np.float64).reshape([-1 if i == axis else 1 for i in range(4)])
        return ops.logical_and(ops.greater_equal(places, start), ops.less(places, ops.add(start, length)))

    def get_config(self) -> dict[str, Any]:
        own = {"factor": list(self.factor), "scale": list(self.scale), "fill_value": self.fill_value}
        return {**super().get_config(), **own}


class RandomGaussianBlur(_ColorLayer):
    """Images blurred, or not; what lies outside of an image is 0.

    Args:
        factor: the chance: f for 0 to f, or (lower, upper).
        kernel_size: odd: how many rows and columns are mixed.
        sigma: the deviation, in pixels: s for 0 to s, or (lower, upper); drawn for rows and columns.
        value_range: of the values; results are kept in it.
        seed: a number of the layer's own.
    """

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, data_format=data_format, **kwargs)
        self.factor, self.sigma = _factor("factor", factor), _factor("sigma", sigma)
        sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if len(sizes) != 2 or any(not isinstance(size, int) or size < 1 or size % 2 == 0 for size in sizes):
            raise ValueError(f"kernel_size must be an odd number. Received: kernel_size={kernel_size}")
        self.kernel_size = (sizes[0], sizes[1])

    def _recolored(self, images: Any) -> Any:
        blurred = images
        for axis, size in enumerate(self.kernel_size, 1):
            sigma = ops.add(self._drawn(images, self.sigma), 1e-6)
            blurred = colors.blurred_along(blurred, axis, size, sigma)
        return self._clipped(self._with_chance(images, blurred, self.factor))

    def get_config(self) -> dict[str, Any]:
        own = {"factor": list(self.factor), "sigma": list(self.sigma), "kernel_size": list(self.kernel_size)}
        return {**super().get_config(), **own}


class Solarization(_ColorLayer):
    """An amount added to each image, then values from a threshold on as their negatives.

    Args:
        addition_factor, threshold_factor: of the range of values: f for 0 to f, or (lower, upper).
        value_range: of the values.
        seed: a number of the layer's own.
    """

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed, **kwargs)
        self.addition_factor = _factor("addition_factor", addition_factor)
        self.threshold_factor = _factor("threshold_factor", threshold_factor)

    def _recolored(self, images: Any) -> Any:
        low, high = self._bounds
        addition, threshold = (
            self._drawn(images, factor) * (high - low)
            for factor in (self.addition_factor, self.threshold_factor)
        )
        moved = self._clipped(ops.add(images, addition))
        negative = ops.subtract(low + high, moved)
        return ops.where(ops.less(moved, ops.add(threshold, low)), moved, negative)

    def get_config(self) -> dict[str, Any]:
        own = {"addition_factor": list(self.addition_factor), "threshold_factor": list(self.threshold_factor)}
        return {**super().get_config(), **own}


class AutoContrast(Layer):
    """Each channel of each image stretched over the whole range of values; also in prediction.

    Args:
        value_range: of the values.
    """

    def __init__(self, value_range: Sequence[float] = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range = _value_range(value_range)

    def call(self, inputs: Any) -> Any:
        return colors.stretched(ops.cast(inputs, "float32"), *self.value_range)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": list(self.value_range)}
