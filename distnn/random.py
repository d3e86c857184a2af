"""`keras.random`: values of many distributions, on values at hand and inside of a layer's `call`.

Nothing is drawn from a generator: every value is a function of a seed and its place. Outside of models the
seed is the one given, a `SeedGenerator`'s next, or one that `set_random_seed` makes repeatable. Inside of a
layer's `call` values are functions of the training's seed, the step, the shard and the place in the model,
with the seed given mixed in; so they are new at every step and the same on any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distnn import ops
from distnn.graph import current_graph
from distnn.kernels import noise
from distnn.ops.noise import Random, RandomOf, noise_stream
from distnn.ops.op import graph_of
from distnn.rng import draw_seed, stream_key
from distnn.tensor import Array, Batch, Shape, Tensor, broadcast_shapes, keras_shape

Seed = Any
"""An integer, a `SeedGenerator`, or None."""
Kernel = Callable[..., object]
_FLOATS, _INTEGERS = ("float32", "float16", "float64"), ("int32", "int8", "int16", "int64", "uint8", "uint16")


class SeedGenerator:
    """Seeds one after another, all functions of the first.

    Args:
        seed: an integer; None for one that `set_random_seed` makes repeatable.
        name: for people.

    >>> from distnn import random
    >>> seeds = random.SeedGenerator(5)
    >>> bool((random.normal((3,), seed=seeds) == random.normal((3,), seed=seeds)).any())
    False
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is not None and not _is_integer(seed):
            raise ValueError(f"Argument `seed` must be an integer. Received: seed={seed}")
        self.name = name or "seed_generator"
        self.initial_seed = seed
        self._first = draw_seed() if seed is None else int(seed)
        self._count = 0

    @property
    def state(self) -> Array:
        """The first seed, and how many were given."""
        return np.array([self._first, self._count], np.int64)

    def next(self, ordered: bool = True) -> int:
        """The next seed; the first is the one given."""
        count, self._count = self._count, self._count + 1
        return self._first if count == 0 else stream_key(self._first, "next-seed", count)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        return cls(**config)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _number(seed: Seed, given: Sequence[Any] = ()) -> int | None:
    """What a seed says: a generator's next, or, inside of models, its first; None stays None.

    Raises:
        ValueError: it is no seed.
    """
    if seed is not None and not isinstance(seed, SeedGenerator) and not _is_integer(seed):
        raise ValueError(
            "Argument `seed` must be either an integer or an instance of `SeedGenerator`. "
            f"Received: seed={seed} (of type {type(seed)})"
        )
    if isinstance(seed, SeedGenerator):
        seed = seed.initial_seed if graph_of(given) is not None else seed.next()
    return None if seed is None else int(seed)


def _stream(what: str, seed: Seed, given: Sequence[Any] = ()) -> int:
    """The key of one call's values."""
    return noise_stream(graph_of(given), what, _number(seed, given))


def _checked_shape(shape: Any, given: Sequence[Any] = ()) -> Shape:
    if not isinstance(shape, tuple | list):
        raise ValueError(f"`shape` must be a tuple of whole numbers. Received: shape={shape!r}")
    has_batch = any(isinstance(dim, Batch) for dim in shape)
    if has_batch and graph_of(given) is None:
        raise ValueError(f"the batch's axis has a size inside of models only. Received: shape={shape}")
    for dim in shape:
        if not isinstance(dim, Batch) and (not _is_integer(dim) or dim < 0):
            raise ValueError(
                f"`shape` must be a tuple of whole numbers, 0 or more. Received: shape={tuple(shape)}. In a "
                "layer's `call`, `ops.shape(x)` has the batch's size as a number"
            )
    return tuple(dim if isinstance(dim, Batch) else int(dim) for dim in shape)


def _check_fits(name: str, value: Any, shape: Shape) -> None:
    """A parameter does not change the shape of the values."""
    given = value.spec.shape if isinstance(value, Tensor) else np.shape(value)
    try:
        fits = broadcast_shapes(given, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must broadcast to the shape of the values, {keras_shape(shape)}. "
            f"Received: {name} of shape {keras_shape(given)}"
        )


def _checked_dtype(dtype: str | None, allowed: tuple[str, ...], function: str) -> str:
    wanted = allowed[0] if dtype is None else str(np.dtype(dtype))
    if wanted not in allowed:
        kind = "a floating point" if allowed is _FLOATS else "an integer"
        raise ValueError(f"`distnn.random.{function}` requires {kind} `dtype`. Received: dtype={dtype}")
    return wanted


def _as(values: Any, dtype: str | None, allowed: tuple[str, ...], function: str) -> Any:
    """The values in a dtype; inside of models there is one for floats and one for integers."""
    wanted = _checked_dtype(dtype, allowed, function)
    if not isinstance(values, Tensor):
        return values.astype(wanted, copy=False)
    if wanted != allowed[0]:
        raise ValueError(
            f"inside of a model `distnn.random.{function}` gives {allowed[0]}. Received: dtype={dtype}"
        )
    return values


def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: str | None = None, seed: Seed = None
) -> Any:
    """Normal values (Box and Muller 1958); tensors for `mean` and `stddev` get gradients."""
    return _placed("normal", noise.normal_noise, shape, mean, stddev, dtype, seed)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: str | None = None, seed: Seed = None
) -> Any:
    """Normal values, those beyond two standard deviations drawn again."""
    return _placed("truncated_normal", noise.truncated_noise, shape, mean, stddev, dtype, seed)


def _placed(
    function: str, kernel: Kernel, shape: Any, mean: Any, stddev: Any, dtype: str | None, seed: Seed
) -> Any:
    """mean + stddev * the kernel's values, in `shape`."""
    given = (mean, stddev)
    places = _checked_shape(shape, given)
    _check_fits("mean", mean, places)
    _check_fits("stddev", stddev, places)
    values = Random(places, "float32", kernel, _stream(function, seed, given), 1.0)()
    if isinstance(stddev, Tensor) or np.any(np.asarray(stddev) != 1.0):
        values = ops.multiply(values, stddev)
    if isinstance(mean, Tensor) or np.any(np.asarray(mean) != 0.0):
        values = ops.add(values, mean)
    return _as(values, dtype, _FLOATS, function)


def uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: str | None = None, seed: Seed = None
) -> Any:
    """Values of [minval, maxval), in 2^24 equal steps; both ends rounded to the dtype."""
    wanted = _checked_dtype(dtype, _FLOATS, "uniform")
    low, high = float(minval), float(maxval)
    if not low <= high:
        raise ValueError(f"`minval` must not be above `maxval`. Received: minval={minval}, maxval={maxval}")
    least, last = _ends(low, high, wanted)
    below = last if wanted == "float32" else _ends(low, high, "float32")[1]
    stream = _stream("uniform", seed)
    drawn = Random(_checked_shape(shape), "float32", noise.uniform_noise, stream, low, high, below)()
    values = _as(drawn, dtype, _FLOATS, "uniform")
    # other dtypes may round a float32 to a number outside
    return values if wanted == "float32" else np.clip(values, least, last, dtype=wanted)


def _ends(low: float, high: float, dtype: str) -> tuple[float, float]:
    """The least and the largest number of a dtype in [low, high); the least if there is none.

    Raises:
        ValueError: an end, or what is between them in float32, is too large.
    """
    kind = np.dtype(dtype).type
    with np.errstate(all="ignore"):
        least, end, width = kind(low), kind(high), np.float32(high) - np.float32(low)
    if not np.isfinite([least, end, width]).all():
        raise ValueError(
            f"`minval`, `maxval` and their difference must be numbers that {dtype} and float32 hold. "
            f"Received: minval={low}, maxval={high}"
        )
    return float(least), float(max(np.nextafter(end, kind(-np.inf)), least))


def randint(shape: Any, minval: int, maxval: int, dtype: str = "int32", seed: Seed = None) -> Any:
    """Integers of [minval, maxval)."""
    low, high = int(minval), int(maxval)
    if not (-(2**31) <= low < high <= 2**31):
        raise ValueError(
            "`minval` must be below `maxval`, both within 32 bits. "
            f"Received: minval={minval}, maxval={maxval}"
        )
    _check_holds(_checked_dtype(dtype, _INTEGERS, "randint"), low, high - 1)
    stream = _stream("randint", seed)
    values = Random(_checked_shape(shape), "int32", noise.integer_noise, stream, low, high - low)()
    return _as(values, dtype, _INTEGERS, "randint")


def _check_holds(dtype: str, low: int, last: int) -> None:
    limits = np.iinfo(dtype)
    if low < limits.min or last > limits.max:
        raise ValueError(
            f"`dtype` must hold all of the values, {low} to {last}; {dtype} holds {limits.min} to "
            f"{limits.max}. Received: dtype={dtype}"
        )


def categorical(logits: Any, num_samples: int, dtype: str = "int32", seed: Seed = None) -> Any:
    """Class numbers `(batch, num_samples)` by the log-probabilities `(batch, classes)` of each row.

    The largest of logits with Gumbel noise added (Gumbel 1954); logits need not be normalised.
    """
    shape = logits.spec.shape if isinstance(logits, Tensor) else np.shape(logits)
    if len(shape) != 2:
        raise ValueError(
            f"`logits` should be a 2-D tensor with shape [batch_size, num_classes]. Received: logits={logits}"
        )
    if not isinstance(logits, Tensor):
        logits = np.asarray(logits, np.float32)
    if not isinstance(shape[1], Batch):
        _check_holds(_checked_dtype(dtype, _INTEGERS, "categorical"), 0, shape[1] - 1)
    places = (shape[0], int(num_samples), shape[1])
    stream = _stream("categorical", seed, (logits,))
    least = 2.0**-25
    numbers = (least, 1.0, 1.0 - 2.0**-24)
    u = Random(_checked_shape(places, (logits,)), "float32", noise.uniform_noise, stream, *numbers)()
    gumbel = ops.negative(ops.log(ops.negative(ops.log(u))))
    chosen = ops.argmax(ops.add(ops.expand_dims(logits, 1), gumbel), axis=-1)
    return _as(chosen, dtype, _INTEGERS, "categorical")


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Seed = None) -> Any:
    """The inputs with a fraction `rate` set to 0 and the others divided by `1 - rate`.

    Args:
        inputs: any shape.
        rate: 0 <= rate <= 1.
        noise_shape: shape of the choice, 1 where it holds along a whole axis, None where it does not.
        seed: see the module.
    """
    number = _number(seed, (inputs,))
    if noise_shape is None:
        return ops.dropout(inputs, rate, seed=number)
    shape = inputs.spec.shape if isinstance(inputs, Tensor) else np.shape(inputs)
    if len(noise_shape) != len(shape):
        raise ValueError(
            f"`noise_shape` must have {len(shape)} entries, as the inputs have axes. "
            f"Received: noise_shape={noise_shape}"
        )
    chosen = tuple(dim if wanted is None else wanted for wanted, dim in zip(noise_shape, shape, strict=True))
    ones = ops.broadcast_to(1.0, chosen) if graph_of((inputs,)) is not None else np.ones(chosen, np.float32)
    return ops.multiply(inputs, ops.dropout(ones, rate, seed=number))


def shuffle(x: Any, axis: int = 0, seed: Seed = None) -> Any:
    """The slices of x along `axis` in another order; inside of a model any axis but the batch's."""
    shape = x.spec.shape if isinstance(x, Tensor) else np.shape(x)
    if not shape or not -len(shape) <= axis < len(shape):
        raise ValueError(f"`axis` must be one of x's {len(shape)} axes. Received: axis={axis}")
    size = shape[axis]
    if isinstance(size, Batch) or (graph_of((x,)) is not None and axis % len(shape) == 0):
        raise ValueError(
            "inside of a model the batch's axis cannot be shuffled: its samples are spread over shards"
        )
    stream = _stream("shuffle", seed, (x,))
    keys = Random((int(size),), "float32", noise.uniform_noise, stream, 0.0, 1.0, 1.0 - 2.0**-24)()
    return ops.take(x, ops.argsort(keys), axis=axis)


def gamma(shape: Any, alpha: Any, dtype: str | None = None, seed: Seed = None) -> Any:
    """Gamma values of shape `alpha` and scale 1 (Marsaglia and Tsang 2000)."""
    stream = _stream("gamma", seed, (alpha,))
    parameter = _spread(alpha, _checked_shape(shape, (alpha,)), "alpha", lowest_excluded=0.0)
    return _as(RandomOf(noise.gamma_noise, stream)(parameter), dtype, _FLOATS, "gamma")


def beta(shape: Any, alpha: Any, beta: Any, dtype: str | None = None, seed: Seed = None) -> Any:
    """Beta values: `x / (x + y)` of gamma values of shapes `alpha` and `beta`."""
    given = (alpha, beta)
    places = _checked_shape(shape, given)
    key = _stream("beta", seed, given)
    x, y = (
        RandomOf(noise.gamma_noise, stream_key(key, part))(_spread(value, places, part, lowest_excluded=0.0))
        for part, value in (("alpha", alpha), ("beta", beta))
    )
    # where both are too small for a float32 neither is the larger
    least = float(np.finfo(np.float32).tiny)
    x, y = ops.maximum(x, least), ops.maximum(y, least)
    return _as(ops.divide(x, ops.add(x, y)), dtype, _FLOATS, "beta")


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: str | None = None, seed: Seed = None) -> Any:
    """How many of `counts` trials succeed, with these probabilities; each trial has its own random word."""
    given = (counts, probabilities)
    stream = _stream("binomial", seed, given)
    places = _checked_shape(shape, given)
    if not isinstance(counts, Tensor) and np.any(np.asarray(counts) > noise.MAX_TRIALS):
        raise ValueError(
            f"`counts` of more than {noise.MAX_TRIALS:,} trials are not to be had: each is drawn. "
            f"Received: {np.max(np.asarray(counts)):g}"
        )
    trials, shares = _spread(counts, places, "counts"), _spread(probabilities, places, "probabilities")
    return _as(RandomOf(noise.binomial_noise, stream)(trials, shares), dtype, _FLOATS, "binomial")


def _spread(value: Any, shape: Shape, name: str, lowest_excluded: float | None = None) -> Any:
    """A parameter in the shape of the values.

    Raises:
        ValueError: it does not fit, or is a number that has no distribution.
    """
    _check_fits(name, value, shape)
    if not isinstance(value, Tensor):
        with np.errstate(over="ignore"):
            value, given = np.asarray(value, np.float32), value
        if not np.isfinite(value).all():
            raise ValueError(f"`{name}` must be finite in float32. Received: {name}={given}")
        if lowest_excluded is not None and np.any(~(value > lowest_excluded)):
            raise ValueError(f"`{name}` must be above {lowest_excluded:g}. Received: {name}={value}")
        if lowest_excluded is None and np.any(~(value >= 0)):
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
        if name == "probabilities" and np.any(value > 1):
            raise ValueError(f"`{name}` must not be above 1. Received: {name}={value}")
        if current_graph() is None:
            return np.ascontiguousarray(np.broadcast_to(value, shape))  # type: ignore[arg-type]
    return ops.broadcast_to(value, shape)
