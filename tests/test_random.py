"""`distnn.random`: distributions, seeds, and the same bytes inside of models on any workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import Array, classification, train, weight_bytes

from distnn import ops, random, utils
from distnn.layers import Dense, Input, Layer
from distnn.models import Sequential

COUNT = 40_000
ALPHAS = np.repeat([0.3, 1.0, 4.5], COUNT // 4).astype(np.float32)

DRAWS: dict[str, Callable[[Any], Array]] = {
    "normal": lambda seed: random.normal((COUNT,), 1.0, 2.0, seed=seed),
    "truncated_normal": lambda seed: random.truncated_normal((COUNT,), 3.0, 0.5, seed=seed),
    "uniform": lambda seed: random.uniform((COUNT,), -1.0, 3.0, seed=seed),
    "randint": lambda seed: random.randint((COUNT,), -3, 8, seed=seed),
    "gamma below 1": lambda seed: random.gamma((COUNT,), 0.4, seed=seed),
    "gamma": lambda seed: random.gamma((COUNT,), 3.0, seed=seed),
    "beta": lambda seed: random.beta((COUNT,), 2.0, 0.5, seed=seed),
    "binomial": lambda seed: random.binomial((COUNT,), 13, 0.3, seed=seed),
    "categorical": lambda seed: random.categorical(np.log([[1.0, 2.0, 7.0]]), COUNT, seed=seed)[0],
}
_TRUNCATED = 1 - 4 * math.exp(-2.0) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2.0))
MOMENTS: dict[str, tuple[float, float]] = {
    "normal": (1.0, 4.0),
    "truncated_normal": (3.0, 0.25 * _TRUNCATED),
    "uniform": (1.0, 16 / 12),
    "randint": (2.0, 10.0),
    "gamma below 1": (0.4, 0.4),
    "gamma": (3.0, 3.0),
    "beta": (0.8, 1.0 / (2.5**2 * 3.5)),
    "binomial": (3.9, 2.73),
    "categorical": (1.6, 0.44),
}


@pytest.mark.parametrize("name", DRAWS)
def test_values_have_the_mean_and_variance_of_their_distribution(name: str) -> None:
    values = DRAWS[name](7).astype(np.float64)
    mean, variance = MOMENTS[name]
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / COUNT)
    assert abs(values.var() / variance - 1) < 0.06
    halves = values[: COUNT // 2], values[COUNT // 2 :]
    assert abs(np.corrcoef(*halves)[0, 1]) < 5 / math.sqrt(COUNT // 2)
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 5 / math.sqrt(COUNT)


@pytest.mark.parametrize("name", DRAWS)
def test_values_are_a_function_of_the_seed_and_their_place(name: str) -> None:
    first, again, other = DRAWS[name](7), DRAWS[name](7), DRAWS[name](8)
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_bounds_are_kept() -> None:
    u = random.uniform((COUNT,), 0.1, np.nextafter(np.float32(0.1), np.float32(1)), seed=1)
    assert set(u.tolist()) == {float(np.float32(0.1))}
    assert (random.uniform((4,), 2.0, 2.0, seed=1) == 2.0).all()
    whole = random.randint((COUNT,), -(2**31), 2**31, seed=1)
    assert whole.min() < -(2**30) and whole.max() > 2**30
    assert set(random.randint((999,), 5, 6, seed=1).tolist()) == {5}
    assert set(random.randint((999,), 250, 256, dtype="uint8", seed=1).tolist()) == set(range(250, 256))
    cut = random.truncated_normal((COUNT,), seed=1)
    assert 1.99 < np.abs(cut).max() < 2.0
    counts = random.binomial((999,), 6, 0.5, seed=1)
    assert set(counts.tolist()) == set(range(7))
    assert (random.binomial((9,), 6, 1.0, seed=1) == 6).all() and not random.binomial(
        (9,), 6, 0.0, seed=1
    ).any()
    assert set(random.randint((999,), -128, -126, dtype="int8", seed=1).tolist()) == {-128, -127}
    tiny = random.beta((999,), 1e-4, 1e-4, seed=1)
    assert np.isfinite(tiny).all() and 0.3 < tiny.mean() < 0.7


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.7, 0.8), (-1.0, 0.1), (0.1, 0.2), (3.0, 3.001), (-50_000.0, 50_000.0)]
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_values_are_below_their_bound_in_any_dtype(dtype: str, low: float, high: float) -> None:
    values = random.uniform((200_000,), low, high, dtype=dtype, seed=1)
    assert values.dtype == dtype
    least, bound = np.array([low, high]).astype(dtype)
    assert least <= values.min() and values.max() < bound
    same = random.uniform((200_000,), low, high, seed=1)
    step = max(np.spacing(np.abs(values).max()), np.spacing(np.abs(same).max()))
    np.testing.assert_allclose(values.astype(np.float64), same, rtol=0, atol=2 * step)


@pytest.mark.parametrize("draw", [random.normal, random.truncated_normal])
@pytest.mark.parametrize("neutral", [True, False])
def test_the_shape_is_the_one_asked_for(draw: Any, neutral: bool) -> None:
    """Whatever the values of the parameters."""
    mean, stddev = (0.0, 1.0) if neutral else (0.5, 2.0)
    for shape in ((), (1,), (3,), (2, 1), (2, 3)):
        assert draw((2, 3), np.full(shape, mean), np.full(shape, stddev), seed=1).shape == (2, 3)
    for shape in ((2, 3), (1, 3), (4,)):
        for name, value in (("mean", mean), ("stddev", stddev)):
            with pytest.raises(ValueError, match=rf"`{name}` must broadcast to the shape .*, \(3,\)\. Rec"):
                draw((3,), **{name: np.full(shape, value)}, seed=1)


def test_parameters_may_be_arrays() -> None:
    values = random.gamma((3, COUNT // 4), np.array([[0.3], [1.0], [4.5]]), seed=2)
    np.testing.assert_allclose(values.mean(axis=1), [0.3, 1.0, 4.5], rtol=0.05)
    shares = np.array([0.1, 0.9])
    np.testing.assert_allclose(
        random.binomial((COUNT, 2), 5, shares, seed=2).mean(axis=0), 5 * shares, rtol=0.02
    )
    moved = random.normal((COUNT, 2), np.array([0.0, 5.0]), np.array([1.0, 0.1]), seed=2)
    np.testing.assert_allclose(moved.std(axis=0), [1.0, 0.1], rtol=0.02)
    classes = random.categorical(np.array([[50.0, 0.0], [0.0, 50.0]]), 5, seed=2)
    np.testing.assert_array_equal(classes, [[0] * 5, [1] * 5])


def test_dtypes() -> None:
    assert random.normal((2,), dtype="float64", seed=1).dtype == np.float64
    assert random.uniform((2,), dtype="float16", seed=1).dtype == np.float16
    assert random.randint((2,), 0, 9, seed=1).dtype == np.int32
    assert random.categorical(np.zeros((2, 3)), 4, dtype="int64", seed=1).dtype == np.int64


def test_dropout_and_shuffle() -> None:
    kept = random.dropout(np.ones((COUNT,), np.float32), 0.25, seed=3)
    assert set(np.unique(kept).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert abs((kept == 0).mean() - 0.25) < 0.02
    rows = random.dropout(np.ones((50, 4), np.float32), 0.5, noise_shape=(None, 1), seed=3)
    assert (rows == rows[:, :1]).all() and len(np.unique(rows)) == 2
    x = np.arange(24).reshape(6, 4)
    mixed = random.shuffle(x, seed=3)
    assert sorted(mixed.tolist()) == x.tolist() and mixed.tolist() != x.tolist()
    columns = random.shuffle(x, axis=1, seed=3)
    assert sorted(columns.T.tolist()) == x.T.tolist()
    firsts = [int(random.shuffle(np.arange(4), seed=seed)[0]) for seed in range(400)]
    assert all(70 < firsts.count(value) < 130 for value in range(4))


def test_a_seed_generator_gives_one_seed_after_another() -> None:
    one, other = random.SeedGenerator(5), random.SeedGenerator(5)
    drawn = [random.normal((3,), seed=one).tolist() for _ in range(3)]
    assert drawn == [random.normal((3,), seed=other).tolist() for _ in range(3)]
    assert len({tuple(values) for values in drawn}) == 3
    assert drawn[0] == random.normal((3,), seed=5).tolist(), "the first is the seed given, as in Keras"
    assert one.state.tolist() == [5, 3]
    assert random.SeedGenerator.from_config(one.get_config()).next() == 5


def test_set_random_seed_makes_unseeded_values_repeatable() -> None:
    drawn = []
    for _ in range(2):
        utils.set_random_seed(11)
        drawn.append(
            [random.normal((3,)).tolist(), random.SeedGenerator().next(), random.uniform((2,)).tolist()]
        )
    assert drawn[0] == drawn[1]
    assert random.normal((3,)).tolist() != random.normal((3,)).tolist()


# Inside of models


class Noisy(Layer):
    """All distributions, on the batch's shape or on a sample's."""

    def __init__(self, by_numbers: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.by_numbers = by_numbers
        self.seeds = random.SeedGenerator(3)

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs * self.scale
        shape = ops.shape(inputs) if self.by_numbers else inputs.spec.shape
        noise = random.normal(shape, stddev=0.1, seed=self.seeds) + random.uniform(shape, -0.1, 0.1)
        noise = noise + random.truncated_normal(shape, stddev=0.1) * random.gamma(shape, 2.0)
        noise = noise + random.beta(shape, 1.0, 2.0) * random.binomial(shape, 3, 0.5) * 0.1
        whole = random.randint(shape, 0, 3, seed=1) + random.categorical(inputs, 6)
        noise = noise + ops.cast(whole, "float32") * 0.01
        hidden = random.dropout(inputs * self.scale + noise, 0.2, noise_shape=(None, 1), seed=self.seeds)
        return random.shuffle(hidden, axis=1, seed=4)


X, Y = classification(53)


def noisy(by_numbers: bool = False, **compiled: Any) -> Callable[[], Sequential]:
    def make() -> Sequential:
        model = Sequential([Input((6,)), Noisy(by_numbers), Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", **compiled)
        return model

    return make


OPTIONS: dict[str, Any] = {"batch_size": 16, "epochs": 2, "shards": 3}


@pytest.mark.parametrize("by_numbers", [False, True])
def test_inside_of_a_model_workers_change_nothing(by_numbers: bool) -> None:
    expected = train(noisy(by_numbers), X, Y, **OPTIONS)
    for workers in (1, 2, 3, 7):
        assert train(noisy(by_numbers), X, Y, backend="threads", workers=workers, **OPTIONS) == expected
    assert train(noisy(run_eagerly=True), X, Y, **OPTIONS).weights == expected.weights
    assert train(noisy(), X, Y, **OPTIONS).weights == expected.weights
    for change in ({"seed": 6}, {"shards": 2}):
        assert train(noisy(), X, Y, **{**OPTIONS, **change}).weights != expected.weights


def test_values_are_new_at_every_step() -> None:
    class Values(Layer):
        def build(self, input_shape: Any) -> None:
            self.seen = self.add_weight((4,), "zeros", trainable=False, aggregation="sum", name="seen")

        def call(self, inputs: Any) -> Any:
            self.seen.assign(random.normal((4,), seed=9))
            return inputs

    model = Sequential([Input((6,)), Values(), Dense(1)])
    model.compile("sgd", "mse")
    found = []
    for _ in range(2):
        for epochs in (1, 2, 3):
            model.fit(X, X[:, :1], batch_size=53, epochs=epochs, initial_epoch=epochs - 1, seed=1, verbose=0)
            found.append(tuple(model.layers[0].get_weights()[0].tolist()))
    assert len(set(found)) == 3 and found[:3] == found[3:]


def test_means_and_deviations_that_are_learnt_have_gradients() -> None:
    class Sampled(Layer):
        def build(self, input_shape: Any) -> None:
            self.mean = self.add_weight((1,), "zeros", name="mean")
            self.width = self.add_weight((1,), "ones", name="width")

        def call(self, inputs: Any) -> Any:
            shape = inputs.spec.shape
            mean = ops.broadcast_to(self.mean, shape)
            return random.normal(shape, mean, ops.broadcast_to(self.width, shape), seed=2) + inputs * 0.0

    model = Sequential([Input((8,)), Sampled()])
    model.compile("sgd", "mse")
    before = weight_bytes_after(model, 0)
    assert weight_bytes_after(model, 200) != before
    mean, width = model.layers[0].get_weights()
    assert abs(mean[0] - 3.0) < 0.1 and abs(width[0]) < 0.3


def weight_bytes_after(model: Sequential, epochs: int) -> bytes:
    x = np.zeros((64, 8), np.float32)
    model.ensure_initialized(1)
    if epochs:
        model.fit(x, x + 3.0, batch_size=64, epochs=epochs, seed=1, verbose=0)
    return weight_bytes(model)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: random.normal(3), r"`shape` must be a tuple of whole numbers. Received: shape=3"),
    (lambda: random.normal((None, 3)), r"`shape` must be a tuple of whole numbers, 0 or more"),
    (lambda: random.normal((2.5,)), r"`shape` must be a tuple of whole numbers, 0 or more"),
    (lambda: random.normal((-1,)), r"`shape` must be a tuple of whole numbers, 0 or more"),
    (
        lambda: random.normal((2,), seed="a"),
        "`seed` must be either an integer or an instance of `SeedGenerator`",
    ),
    (
        lambda: random.dropout(np.ones(3), 0.5, seed="a"),
        "`seed` must be either an integer or an instance of `SeedGenerator`",
    ),
    (lambda: random.dropout(np.ones(3), 0.5, (None,), True), "`seed` must be either an integer or an inst"),
    (lambda: random.normal((2,), seed=True), "`seed` must be either an integer or an instance"),
    (lambda: random.SeedGenerator("a"), "Argument `seed` must be an integer. Received: seed=a"),  # type: ignore[arg-type]
    (lambda: random.normal((2,), dtype="int32"), "`distnn.random.normal` requires a floating point `dtype`"),
    (
        lambda: random.uniform((2,), dtype="int32"),
        "`distnn.random.uniform` requires a floating point `dtype`",
    ),
    (
        lambda: random.randint((2,), 0, 3, dtype="float32"),
        "`distnn.random.randint` requires an integer `dtype`",
    ),
    (lambda: random.uniform((2,), 3.0, 1.0), "`minval` must not be above `maxval`"),
    (lambda: random.randint((2,), 3, 3), "`minval` must be below `maxval`, both within 32 bits"),
    (lambda: random.randint((2,), 0, 2**40), "`minval` must be below `maxval`, both within 32 bits"),
    (
        lambda: random.uniform((2,), 0.0, 1e5, dtype="float16"),
        "must be numbers that float16 and float32",
    ),
    (lambda: random.uniform((2,), -np.inf), "must be numbers that float32 and float32 hold"),
    (lambda: random.uniform((2,), -3e38, 3e38), "`minval`, `maxval` and their difference must be numbers"),
    (
        lambda: random.randint((5,), 0, 1000, dtype="uint8"),
        "must hold all of the values, 0 to 999; uint8 holds 0 to 255. Received: dtype=uint8",
    ),
    (lambda: random.randint((5,), -1, 9, dtype="uint16"), "must hold all of the values, -1 to 8; uint16"),
    (
        lambda: random.categorical(np.zeros((1, 129)), 2, dtype="int8"),
        "must hold all of the values, 0 to 128; int8 holds -128 to 127",
    ),
    (lambda: random.categorical(np.zeros(3), 2), "`logits` should be a 2-D tensor"),
    (lambda: random.gamma((2,), 0.0), "`alpha` must be above 0. Received: alpha=0.0"),
    (lambda: random.beta((2,), 1.0, -1.0), "`beta` must be above 0. Received: beta=-1.0"),
    (lambda: random.gamma((1,), np.inf), "`alpha` must be finite in float32. Received: alpha=inf"),
    (lambda: random.gamma((2,), np.array([1.0, 1e39])), "`alpha` must be finite in float32. Received: alpha"),
    (lambda: random.beta((1,), 1e39, 1.0), "`alpha` must be finite in float32. Received: alpha=1e.39"),
    (lambda: random.beta((1,), 1.0, np.nan), "`beta` must be finite in float32. Received: beta=nan"),
    (lambda: random.binomial((1,), np.inf, 0.5), "`counts` of more than 1,000,000 trials"),
    (lambda: random.binomial((1,), 3, np.nan), "`probabilities` must be finite in float32"),
    (lambda: random.gamma((3,), np.ones((2, 3))), "`alpha` must broadcast to the shape of the values"),
    (lambda: random.binomial((2,), 3, 1.5), "`probabilities` must not be above 1"),
    (lambda: random.binomial((2,), -3, 0.5), "`counts` must not be negative"),
    (lambda: random.binomial((2,), 10_000_000, 0.5), "`counts` of more than 1,000,000 trials"),
    (lambda: random.shuffle(np.zeros(3), axis=1), "`axis` must be one of x's 1 axes"),
    (lambda: random.dropout(np.zeros((2, 2)), 0.5, noise_shape=(2,)), "`noise_shape` must have 2 entries"),
    (lambda: shuffled_batch(), "inside of a model the batch's axis cannot be shuffled"),
]


def shuffled_batch() -> None:
    class Mixed(Layer):
        def call(self, inputs: Any) -> Any:
            return random.shuffle(inputs)

    Sequential([Input((6,)), Mixed(), Dense(1)]).predict(X)


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_refused_says_why(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
