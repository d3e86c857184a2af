"""Images changed at random in training: RandomFlip, RandomRotation, ...

Images are `(batch, height, width, channels)`. The amounts are functions of the seed, the step, the shard, the
sample and the layer's place in the model; prediction leaves images alone. Keras's arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from distnn import ops
from distnn.graph import current_graph
from distnn.kernels import images as kernels
from distnn.layers.layer import Layer
from distnn.ops.images import FILLS, INTERPOLATIONS, ChangeBrightness, ChangeContrast, TransformImages
from distnn.ops.windows import checked_data_format
from distnn.rng import draw_seed, stream_key


def _range(name: str, given: Any, lowest: float, highest: float = math.inf) -> tuple[float, float]:
    """One number f as (-f, f); a pair as it is."""
    pair = (-given, given) if isinstance(given, int | float) else tuple(given)
    if len(pair) != 2 or not lowest <= pair[0] <= pair[1] <= highest:
        raise ValueError(
            f"`{name}` must be a number, or a pair (lower, upper) with lower <= upper, from {lowest:g} on. "
            f"Received: {name}={given}"
        )
    return float(pair[0]), float(pair[1])


class RandomLayer(Layer):
    """Changes images in training only."""

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def call(self, inputs: Any, training: bool = False) -> Any:
        images = ops.cast(inputs, "float32")
        return self._changed(images, self._stream()) if training else images

    def _changed(self, images: Any, stream: int) -> Any:
        raise NotImplementedError

    def _stream(self) -> int:
        graph = current_graph()
        if graph is None:
            return stream_key(draw_seed() if self.seed is None else self.seed, "images")
        return stream_key(0 if self.seed is None else self.seed, "images", graph.unique_name("images_stream"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


class _Moving(RandomLayer):
    """What is filled in where an image has been moved away."""

    def __init__(
        self, fill_mode: str, fill_value: float, interpolation: str, seed: int | None, **kwargs: Any
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        if fill_mode not in FILLS:
            raise ValueError(f"Unknown `fill_mode`: {fill_mode!r}. Expected one of {tuple(FILLS)}")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"Unknown `interpolation`: {interpolation!r}. Expected one of {INTERPOLATIONS}")
        self.fill_mode, self.fill_value, self.interpolation = fill_mode, float(fill_value), interpolation

    def _amounts(self) -> dict[int, tuple[float, float]]:
        """(lowest, highest) by their places."""
        raise NotImplementedError

    def _changed(self, images: Any, stream: int) -> Any:
        return TransformImages(
            _amounts(self._amounts()), self.fill_mode, self.fill_value, self.interpolation, stream
        )(images)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "interpolation": self.interpolation,
        }


def _amounts(given: dict[int, tuple[float, float]]) -> tuple[float, ...]:
    amounts = [0.0] * kernels.NUM_AMOUNTS
    for place, pair in given.items():
        amounts[place : place + 2] = pair
    return tuple(amounts)


class RandomFlip(RandomLayer):
    """Images mirrored or not.

    Args:
        mode: "horizontal", "vertical" or "horizontal_and_vertical".
        seed: a number of the layer's own.
    """

    def __init__(self, mode: str = "horizontal_and_vertical", seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(
                f"Unknown `mode`: {mode!r}. Expected 'horizontal', 'vertical' or 'horizontal_and_vertical'"
            )
        self.mode = mode

    def _changed(self, images: Any, stream: int) -> Any:
        flips = (float("vertical" in self.mode), float("horizontal" in self.mode))
        amounts = _amounts({kernels.FLIP_ROWS: flips})
        return TransformImages(amounts, "nearest", 0.0, "nearest", stream)(images)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


class RandomRotation(_Moving):
    """Images turned about their middle.

    Args:
        factor: of a full turn: f for -f to f, or (lower, upper); positive turns counter-clockwise.
        fill_mode: "reflect", "wrap", "constant" or "nearest".
        interpolation: "bilinear" or "nearest".
        seed: a number of the layer's own.
        fill_value: for "constant".
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, fill_value, interpolation, seed, **kwargs)
        self.factor = _range("factor", factor, -1.0, 1.0)

    def _amounts(self) -> dict[int, tuple[float, float]]:
        return {kernels.ANGLE: self.factor}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}


class RandomTranslation(_Moving):
    """Images moved.

    Args:
        height_factor, width_factor: of the image's size: f for -f to f, or (lower, upper); positive moves
            down and to the right.
        fill_mode, interpolation, seed, fill_value: as for `RandomRotation`.
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, fill_value, interpolation, seed, **kwargs)
        self.height_factor = _range("height_factor", height_factor, -1.0, 1.0)
        self.width_factor = _range("width_factor", width_factor, -1.0, 1.0)

    def _amounts(self) -> dict[int, tuple[float, float]]:
        return {kernels.SHIFT_ROWS: self.height_factor, kernels.SHIFT_COLUMNS: self.width_factor}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height_factor": list(self.height_factor),
            "width_factor": list(self.width_factor),
        }


class RandomZoom(_Moving):
    """Images zoomed about their middle.

    Args:
        height_factor: f for -f to f, or (lower, upper); positive zooms out, negative in.
        width_factor: likewise; None keeps the proportions.
        fill_mode, interpolation, seed, fill_value: as for `RandomRotation`.
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, fill_value, interpolation, seed, **kwargs)
        self.height_factor = _range("height_factor", height_factor, -1.0)
        self.width_factor = None if width_factor is None else _range("width_factor", width_factor, -1.0)

    def _amounts(self) -> dict[int, tuple[float, float]]:
        width = (math.nan, math.nan) if self.width_factor is None else self.width_factor
        return {kernels.ZOOM_ROWS: self.height_factor, kernels.ZOOM_COLUMNS: width}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height_factor": list(self.height_factor),
            "width_factor": None if self.width_factor is None else list(self.width_factor),
        }


class RandomShear(_Moving):
    """Images whose rows (or columns) are moved the more, the lower (or further right) they are.

    Args:
        x_factor: columns moved for each row: f for -f to f, or (lower, upper), from 0 to 1.
        y_factor: rows moved for each column, likewise.
        interpolation, fill_mode, fill_value, seed: as for `RandomRotation`.
    """

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, fill_value, interpolation, seed, **kwargs)
        self.data_format = checked_data_format(data_format)
        self.x_factor, self.y_factor = _shear("x_factor", x_factor), _shear("y_factor", y_factor)

    def _amounts(self) -> dict[int, tuple[float, float]]:
        return {kernels.SHEAR_COLUMNS: self.x_factor, kernels.SHEAR_ROWS: self.y_factor}

    def get_config(self) -> dict[str, Any]:
        own = {"x_factor": _as_given(self.x_factor), "y_factor": _as_given(self.y_factor)}
        return {**super().get_config(), **own, "data_format": self.data_format}


def _shear(name: str, given: Any) -> tuple[float, float]:
    parts = [given] if isinstance(given, int | float) else list(given)
    if len(parts) not in (1, 2) or not all(0 <= part <= 1 for part in parts):
        raise ValueError(
            "The `factor` argument should be a number (or a list of two numbers) in the range [0, 1.0]. "
            f"Received: {name}={given}"
        )
    low, high = sorted(parts) if len(parts) == 2 else (-parts[0], parts[0])
    return float(low), float(high)


def _as_given(pair: tuple[float, float]) -> float | list[float]:
    return pair[1] if pair[0] == -pair[1] else list(pair)


class RandomContrast(RandomLayer):
    """`(x - mean) * amount + mean` for each channel of each image.

    Args:
        factor: f for amounts from 1 - f to 1 + f, or (lower, upper) for 1 - lower to 1 + upper.
        seed: a number of the layer's own.
    """

    def __init__(self, factor: Any, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        pair = (factor, factor) if isinstance(factor, int | float) else tuple(factor)
        if len(pair) != 2 or not 0 <= pair[0] <= 1 or pair[1] < 0:
            raise ValueError(
                f"`factor` must be a number between 0 and 1, or a pair of such. Received: factor={factor}"
            )
        self.factor = (float(pair[0]), float(pair[1]))

    def _changed(self, images: Any, stream: int) -> Any:
        return ChangeContrast(1.0 - self.factor[0], 1.0 + self.factor[1], stream)(images)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}


class RandomBrightness(RandomLayer):
    """An amount of its own added to each image.

    Args:
        factor: of the range of values: f for -f to f, or (lower, upper).
        value_range: of the values; results are kept in it.
        seed: a number of the layer's own.
    """

    def __init__(
        self,
        factor: Any,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.factor = _range("factor", factor, -1.0, 1.0)
        if len(value_range) != 2 or value_range[0] >= value_range[1]:
            raise ValueError(f"`value_range` must be a pair (low, high). Received: {value_range}")
        self.value_range = (float(value_range[0]), float(value_range[1]))

    def _changed(self, images: Any, stream: int) -> Any:
        width = self.value_range[1] - self.value_range[0]
        lowest, highest = (width * part for part in self.factor)
        return ChangeBrightness(lowest, highest, self.value_range, stream)(images)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": list(self.factor),
            "value_range": list(self.value_range),
        }
