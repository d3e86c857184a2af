"""The law of shards: S shards agree with one to rounding, and give the same bytes anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import Array, Outcome, classification, regression, step_sums, train

from distnn import losses, ops
from distnn.batching import shard_bounds
from distnn.layers import BatchNormalization, Dense, Dropout, Input, LayerNormalization
from distnn.models import Sequential
from distnn.optimizers import SGD, Adafactor, Adam, RMSprop

# To rounding, in float64


def scalar_mean(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


class ScalarSum(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.sum(ops.square(y_true - y_pred))


LABELLED: dict[str, Any] = {
    "sparse": losses.SparseCategoricalCrossentropy(from_logits=True),
    "sparse sum": losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
    "sparse, one ignored": losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1),
    "sparse, weighted": losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=0, reduction="mean_with_sample_weight"
    ),
}
MEASURED: dict[str, Any] = {
    "mse": "mse",
    "mae": "mae",
    "mse weighted": losses.MeanSquaredError(reduction="mean_with_sample_weight"),
    "mse sum": losses.MeanSquaredError(reduction="sum"),
    "huber": losses.Huber(0.3),
    "categorical": losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    "binary": losses.BinaryCrossentropy(from_logits=True),
    "scalar mean": scalar_mean,
    "scalar sum": ScalarSum(reduction="sum"),
}
WITHOUT_WEIGHTS = ("scalar mean", "scalar sum")
CLASSES = 3


def problem(samples: int, name: str, seed: int) -> tuple[Array, Array]:
    """Samples of very unequal size, so that no two shards have the same gradient."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 4)) * np.geomspace(0.1, 5.0, samples)[:, None]
    if name in LABELLED:
        return x, rng.integers(0, CLASSES, samples)
    if name == "categorical":
        return x, rng.dirichlet(np.ones(CLASSES), samples)
    return x, rng.random((samples, CLASSES))


def model_for(name: str) -> Sequential:
    model = Sequential([Input((4,)), Dense(5, "tanh"), LayerNormalization(), Dense(CLASSES)])
    model.compile("sgd", {**LABELLED, **MEASURED}[name], ["mae"] if name in MEASURED else ["accuracy"])
    return model


@given(
    name=st.sampled_from([*LABELLED, *MEASURED]),
    samples=st.integers(1, 24),
    shards=st.integers(2, 9),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_shards_add_up_to_the_whole(name: str, samples: int, shards: int, weighted: bool, seed: int) -> None:
    x, y = problem(samples, name, seed)
    rng = np.random.default_rng(seed)
    weights = rng.random(samples) * 2 if weighted and name not in WITHOUT_WEIGHTS else None
    whole = step_sums(model_for(name), x, y, 1, weights)
    parts = step_sums(model_for(name), x, y, shards, weights)
    scale = np.abs(whole.gradient).max()
    np.testing.assert_allclose(parts.gradient, whole.gradient, rtol=1e-10, atol=1e-12 * scale)
    np.testing.assert_allclose(objective_sums(name, parts.sums), objective_sums(name, whole.sums), rtol=1e-11)


def objective_sums(name: str, sums: Array) -> Array:
    """Without the count of a summed scalar, which counts shards and is not read."""
    return np.delete(sums, 1) if name == "scalar sum" else sums


@pytest.mark.parametrize("name", [*LABELLED, *MEASURED])
def test_a_mean_of_the_shards_means_would_be_noticed(name: str) -> None:
    """The problems above can tell a sum over samples from a plain mean over shards."""
    x, y = problem(11, name, 0)
    whole = step_sums(model_for(name), x, y, 1).gradient
    means = []
    for shard in range(3):
        low, high = shard_bounds(0, 11, 3, shard)
        means.append(step_sums(model_for(name), x[low:high], y[low:high], 1).gradient)
    assert np.abs(np.mean(means, axis=0) - whole).max() > 0.01 * np.abs(whole).max()


@pytest.mark.parametrize("shards", [2, 5])
def test_trainings_of_other_shards_differ_by_rounding_only(shards: int) -> None:
    x, y = regression(61)

    def make() -> Sequential:
        model = Sequential([Input((6,)), Dense(8, "tanh", kernel_regularizer="l2"), Dense(1)])
        model.compile(Adam(0.01, clipnorm=0.5), "mse", ["mae"])
        return model

    options: dict[str, Any] = {"batch_size": 17, "epochs": 3}
    one, several = train(make, x, y, shards=1, **options), train(make, x, y, shards=shards, **options)
    assert one.weights != several.weights
    first, second = (np.frombuffer(outcome.weights, np.float32) for outcome in (one, several))
    np.testing.assert_allclose(first, second, atol=1e-5)
    for name, values in one.history.items():
        np.testing.assert_allclose(values, several.history[name], rtol=1e-4)


# To the byte


def dense(optimizer: Any, *layers: Any, **compile_options: Any) -> Callable[[], Sequential]:
    def make() -> Sequential:
        made = [layer() for layer in layers]
        model = Sequential(
            [Input((6,)), Dense(9, "relu", kernel_regularizer="l2"), *made, Dense(3, "softmax")]
        )
        model.compile(optimizer(), "sparse_categorical_crossentropy", ["accuracy"], **compile_options)
        return model

    return make


def held() -> Sequential:
    layers = [Dense(9, "relu", kernel_constraint="max_norm"), Dense(3, "softmax", bias_constraint="non_neg")]
    model = Sequential([Input((6,)), *layers])
    model.compile(Adam(), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def plain(shards: int, **options: Any) -> dict[str, Any]:
    return {"batch_size": 16, "epochs": 2, "shards": shards, **options}


WEIGHTS = np.linspace(0.0, 2.0, 53)
TRAININGS: dict[str, tuple[Callable[[], Sequential], dict[str, Any]]] = {
    "sgd": (dense(lambda: SGD(0.1)), plain(4)),
    "momentum": (dense(lambda: SGD(0.1, momentum=0.9, nesterov=True)), plain(3)),
    "adam, dropout": (dense(Adam, lambda: Dropout(0.3)), plain(4)),
    "clipnorm": (dense(lambda: Adam(clipnorm=0.01)), plain(3)),
    "global clipnorm": (dense(lambda: Adam(global_clipnorm=0.01), lambda: Dropout(0.3)), plain(5)),
    "clipvalue": (dense(lambda: RMSprop(clipvalue=0.001)), plain(3)),
    "batch norm": (dense(Adam, BatchNormalization, LayerNormalization), plain(3)),
    "empty shards": (dense(Adam, BatchNormalization), plain(11, batch_size=7)),
    "more shards than samples": (dense(Adam, lambda: Dropout(0.3)), plain(64, epochs=1)),
    "one sample in the last batch": (dense(Adam), plain(4, batch_size=13)),
    "sample weights": (dense(Adam), plain(4, sample_weight=WEIGHTS)),
    "class weights": (dense(Adam), plain(4, class_weight={0: 2.0, 2: 0.5})),
    "validation": (dense(Adam), plain(3, validation_split=0.3, validation_batch_size=5)),
    "constraints": (held, plain(3)),
    "adafactor": (dense(lambda: Adafactor(0.01)), plain(3)),
    "no shuffle": (dense(Adam), plain(3, shuffle=False)),
    "partial epochs": (dense(Adam), plain(3, steps_per_epoch=2)),
    "more than a pass": (dense(Adam), plain(3, steps_per_epoch=6, epochs=1)),
}
PLACES: list[dict[str, Any]] = [
    *({"backend": "threads", "workers": workers} for workers in (1, 2, 3, 7)),
    {"backend": "local", "workers": 2},
]


def outcome_of(name: str, **place: Any) -> Outcome:
    make, options = TRAININGS[name]
    return train(make, *classification(53), **options, **place)


@pytest.mark.filterwarnings("ignore:BatchNormalization")
@pytest.mark.parametrize("name", TRAININGS)
def test_the_same_shards_give_the_same_bytes_anywhere(name: str) -> None:
    expected = outcome_of(name)
    assert np.isfinite(np.frombuffer(expected.weights, np.float32)).all()
    assert len(set(expected.fingerprints)) == len(expected.fingerprints), "every step changes something"
    for place in PLACES:
        assert outcome_of(name, **place) == expected, place


@pytest.mark.filterwarnings("ignore:BatchNormalization")
@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "more shards than samples"])
def test_eager_runs_give_the_same_bytes(name: str) -> None:
    make, options = TRAININGS[name]

    def eager() -> Sequential:
        model = make()
        model._compiled["run_eagerly"] = True  # type: ignore[index]
        return model

    assert train(eager, *classification(53), **options) == outcome_of(name)


@pytest.mark.filterwarnings("ignore:BatchNormalization")
@pytest.mark.parametrize("name", ["sgd", "adam, dropout", "batch norm", "clipnorm"])
@pytest.mark.parametrize("change", [{"shards": 2}, {"seed": 6}, {"batch_size": 15}])
def test_what_is_in_the_recipe_changes_the_bytes(name: str, change: dict[str, Any]) -> None:
    """So that the tests above can fail."""
    make, options = TRAININGS[name]
    changed = train(make, *classification(53), **{**options, **change})
    assert changed.weights != outcome_of(name).weights
    assert changed.fingerprints[0] != outcome_of(name).fingerprints[0]


@pytest.mark.parametrize("shards", [1, 3, 4])
def test_evaluation_and_prediction_are_the_same_anywhere(shards: int) -> None:
    x, y = classification(53)
    model = dense(Adam, BatchNormalization)()
    model.ensure_initialized(3)
    options: dict[str, Any] = {"batch_size": 16, "shards": shards, "verbose": 0}
    logs = model.evaluate(x, y, return_dict=True, **options)
    outputs = model.predict(x, **options)
    for workers in (1, 2, 3, 7):
        place: dict[str, Any] = {"backend": "threads", "workers": workers}
        assert model.evaluate(x, y, return_dict=True, **options, **place) == logs
        assert model.predict(x, **options, **place).tobytes() == outputs.tobytes()
    model.close()
