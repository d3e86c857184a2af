"""Keras's initializers: the first values of weights, a function of the shape and a random key only.

Random bits come from the counter-based Philox stream of the key; what is made of them uses only additions,
products, divisions and square roots in float64 (see random_values.py), because NumPy's distributions and
LAPACK's decompositions may differ between versions and CPU types.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn import identifiers, rng
from distnn.naming import snake_case
from distnn.random_values import (
    normal_values,
    orthonormal_rows,
    truncated_normal_values,
    uniform_values,
)

Array = npt.NDArray[Any]
Shape = Sequence[int]


def _takes_key(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters
    return "key" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _without_key(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Any:
        return function(self, shape, dtype)

    return call


class Initializer:
    """What an initializer is; subclass it and write `__call__` for one of your own.

    A subclass may leave out `key`, as in Keras: `__call__(self, shape, dtype=None)`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("__call__")
        if own is not None and not _takes_key(own):
            cls.__call__ = _without_key(own)  # type: ignore[method-assign]

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        """Values of the given shape.

        Args:
            shape: all dimensions known.
            dtype: of the result.
            key: names the random stream; models give each weight its own. A `seed` of the initializer's own
                comes first; without both, a fresh seed is drawn.
        """
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        return cls(**config)

    def clone(self) -> Initializer:
        """Another initializer with the same arguments."""
        return type(self).from_config(self.get_config())


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        return np.ones(shape, dtype)


class Constant(Initializer):
    """All the same value, or given values of the weight's own shape."""

    def __init__(self, value: npt.ArrayLike = 0.0) -> None:
        self.value = np.asarray(value)

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        if self.value.ndim and self.value.shape != tuple(shape):
            raise ValueError(
                f"Expected `shape` to be {self.value.shape}, the shape of the given values. "
                f"Received: shape={tuple(shape)}"
            )
        return np.full(shape, self.value, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value.tolist()}


class FunctionInitializer(Initializer):
    """What a function of `(shape, dtype)` returns; `get` makes it of functions."""

    def __init__(self, function: Callable[..., npt.ArrayLike]) -> None:
        self.function = function

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        return np.asarray(self.function(tuple(shape), dtype=dtype))

    def get_config(self) -> dict[str, Any]:
        return {"function": identifiers.name_of(self.function, INITIALIZERS, "initializer")}


class Identity(Initializer):
    """`gain` times the identity matrix; for matrices only."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        if len(shape) != 2:
            raise ValueError(
                "Identity matrix initializer can only be used for 2D matrices. "
                f"Received: shape={tuple(shape)} of rank {len(shape)}."
            )
        return np.asarray(self.gain * np.eye(shape[0], shape[1]), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class RandomNormal(Initializer):
    """Normally distributed."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = _checked_seed(seed)

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        values = normal_values(_bits(shape, self.seed, key))
        return _shaped(self.mean + self.stddev * values, shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


class TruncatedNormal(Initializer):
    """Normally distributed, cut off at two standard deviations from the mean."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = _checked_seed(seed)

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        values = truncated_normal_values(_bits(shape, self.seed, key))
        return _shaped(self.mean + self.stddev * values, shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


class RandomUniform(Initializer):
    """Uniformly distributed between `minval` and `maxval`."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval = minval
        self.maxval = maxval
        self.seed = _checked_seed(seed)

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        values = uniform_values(_bits(shape, self.seed, key))
        return _shaped(self.minval + (self.maxval - self.minval) * values, shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed}


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("uniform", "truncated_normal", "untruncated_normal")
_TRUNCATED_DEVIATION = 0.87962566103423978
"""The standard deviation of a standard normal variable that is cut off at two."""


class VarianceScaling(Initializer):
    """Random values whose variance is `scale / n`, where `n` counts the weight's inputs, outputs or both.

    Args:
        scale: positive.
        mode: `fan_in`, `fan_out` or `fan_avg`.
        distribution: `truncated_normal`, `untruncated_normal` or `uniform`.
        seed: an own seed, or None.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        if scale <= 0.0:
            raise ValueError(f"Argument `scale` must be positive float. Received: scale={scale}")
        if mode not in _MODES:
            raise ValueError(f"Invalid `mode` argument: {mode}. Please use one of {_MODES}")
        distribution = "truncated_normal" if distribution.lower() == "normal" else distribution.lower()
        if distribution not in _DISTRIBUTIONS:
            raise ValueError(
                f"Invalid `distribution` argument: {distribution}. Please use one of {_DISTRIBUTIONS}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = _checked_seed(seed)

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        fan_in, fan_out = compute_fans(shape)
        fans = {"fan_in": float(fan_in), "fan_out": float(fan_out), "fan_avg": (fan_in + fan_out) / 2.0}
        variance = self.scale / max(1.0, fans[self.mode])
        bits = _bits(shape, self.seed, key)
        if self.distribution == "truncated_normal":
            stddev = math.sqrt(variance) / _TRUNCATED_DEVIATION
            return _shaped(stddev * truncated_normal_values(bits), shape, dtype)
        if self.distribution == "untruncated_normal":
            return _shaped(math.sqrt(variance) * normal_values(bits), shape, dtype)
        limit = math.sqrt(3.0 * variance)
        return _shaped(limit * (2.0 * uniform_values(bits) - 1.0), shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "seed": self.seed,
        }


class _NamedScaling(Initializer):
    """A variance scaling with a name of its own; only the seed is left open."""

    recipe: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        self.seed = _checked_seed(seed)

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        return VarianceScaling(*self.recipe, self.seed)(shape, dtype, key=key)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_NamedScaling):
    """Uniform with variance `2 / (inputs + outputs)`: Keras's default for kernels."""

    recipe = (1.0, "fan_avg", "uniform")


class GlorotNormal(_NamedScaling):
    """Truncated normal with variance `2 / (inputs + outputs)`."""

    recipe = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_NamedScaling):
    """Uniform with variance `2 / inputs`."""

    recipe = (2.0, "fan_in", "uniform")


class HeNormal(_NamedScaling):
    """Truncated normal with variance `2 / inputs`."""

    recipe = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_NamedScaling):
    """Uniform with variance `1 / inputs`."""

    recipe = (1.0, "fan_in", "uniform")


class LecunNormal(_NamedScaling):
    """Truncated normal with variance `1 / inputs`."""

    recipe = (1.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """`gain` times a random matrix with orthonormal rows or columns; leading axes are taken as rows."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = gain
        self.seed = _checked_seed(seed)

    def __call__(self, shape: Shape, dtype: str = "float32", *, key: int | None = None) -> Array:
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. "
                f"Received: shape={tuple(shape)} of rank {len(shape)}."
            )
        num_rows, num_cols = math.prod(shape[:-1]), shape[-1]
        count, length = min(num_rows, num_cols), max(num_rows, num_cols)
        vectors = orthonormal_rows(
            normal_values(_bits((count, length), self.seed, key)).reshape(count, length)
        )
        matrix = vectors if num_rows < num_cols else vectors.T
        return _shaped(self.gain * matrix, shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "seed": self.seed}


def compute_fans(shape: Shape) -> tuple[int, int]:
    """How many inputs and outputs a weight of this shape has, by Keras's rules."""
    if len(shape) < 1:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    receptive_field = math.prod(shape[:-2])
    return shape[-2] * receptive_field, shape[-1] * receptive_field


constant, identity, ones, orthogonal, zeros = Constant, Identity, Ones, Orthogonal, Zeros
glorot_normal, glorot_uniform, he_normal, he_uniform = GlorotNormal, GlorotUniform, HeNormal, HeUniform
lecun_normal, lecun_uniform, variance_scaling = LecunNormal, LecunUniform, VarianceScaling
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal

INITIALIZERS: dict[str, type[Initializer]] = {}
for _cls in (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    LecunNormal,
    LecunUniform,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
):
    INITIALIZERS[_cls.__name__] = INITIALIZERS[snake_case(_cls.__name__)] = _cls
INITIALIZERS |= {"normal": RandomNormal, "uniform": RandomUniform, "one": Ones, "zero": Zeros}


def serialize(initializer: Initializer | None) -> dict[str, Any] | None:
    """The initializer as a JSON-able dict; None stays None."""
    if isinstance(initializer, FunctionInitializer):
        return {"class_name": "FunctionInitializer", "config": initializer.get_config()}
    return None if initializer is None else identifiers.to_config(initializer, INITIALIZERS, "initializer")


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[Initializer]] | None = None
) -> Initializer:
    """The initializer that `serialize` described."""
    if config.get("class_name") == "FunctionInitializer":
        return _named(config["config"]["function"], custom_objects)
    return identifiers.from_config(config, INITIALIZERS, "initializer", custom_objects)


def get(identifier: Any) -> Initializer | None:
    """An initializer from its name, config, class, a function, an array or itself; None stays None."""
    if identifier is None or isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str):
        return _named(identifier)
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if inspect.isclass(identifier) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier):
        return FunctionInitializer(identifier)
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    raise identifiers.not_interpreted(identifier, INITIALIZERS, "initializer")


def _named(name: str, custom_objects: Mapping[str, Any] | None = None) -> Initializer:
    """The initializer of a class's name, or around a function of the user's by its name."""
    found = identifiers.lookup(name, INITIALIZERS, custom_objects)
    if found is None:
        raise identifiers.not_interpreted(name, INITIALIZERS, "initializer")
    made: Initializer = found() if isinstance(found, type) else FunctionInitializer(found)
    return made


def _checked_seed(seed: Any) -> int | None:
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ValueError(f"Argument `seed` must be an integer or None. Received: seed={seed!r}")
    return seed


def _bits(shape: Shape, seed: int | None, key: int | None) -> npt.NDArray[np.uint64]:
    """64 random bits for each value."""
    if seed is not None:
        key = rng.stream_key(seed, "initializer")
    elif key is None:
        key = rng.stream_key(rng.draw_seed(), "initializer")
    return np.random.Philox(key=key).random_raw(math.prod(shape))


def _shaped(values: Array, shape: Shape, dtype: str) -> Array:
    return np.array(values.reshape(tuple(shape)), dtype=dtype, order="C")
