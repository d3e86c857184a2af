"""Dropout: its rate and scale, and noise that is a function of seed, step, shard and place in the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from trainings import Array, train

from distnn.layers import Dense, Dropout, Input, Layer
from distnn.models import Sequential
from distnn.optimizers import SGD


class Watch(Layer):
    """Leaves, after a step, the sum over the samples of what passed through it."""

    def build(self, input_shape: Any) -> None:
        self.sums = self.add_weight((input_shape[-1],), "zeros", trainable=False, aggregation="sum")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            from distnn import ops

            self.sums.assign(ops.sum(inputs, axis=0))
        return inputs


FEATURES = 64


def watched(rate: float = 0.4, seed: int | None = None, eager: bool = False) -> Sequential:
    model = Sequential(
        [Input((FEATURES,)), Dropout(rate, seed=seed), Watch(), Dropout(rate, seed=seed), Watch()]
    )
    model.add(Dense(1))
    model.compile(SGD(0.0), "mse", run_eagerly=eager)
    return model


def kept(samples: int = 1, steps: int = 1, **options: Any) -> tuple[Array, Array]:
    """How many of the samples' ones came through the first, and through both dropouts, in the last step."""
    eager, rate = options.pop("eager", False), options.pop("rate", 0.4)
    model = watched(rate, options.pop("layer_seed", None), eager)
    x = np.ones((samples * steps, FEATURES), np.float32)
    fit = {"seed": 3, "batch_size": samples, "shuffle": False, "verbose": 0, **options}
    model.fit(x, np.zeros((len(x), 1)), **fit)
    scale = np.float32(1.0 / (1.0 - rate))
    first, second = (model.layers[i].get_weights()[0] for i in (1, 3))
    return first / scale, second / scale**2


def test_the_rate_is_kept_and_the_rest_scaled() -> None:
    x = np.ones((500, 200), np.float32)
    y = Dropout(0.3, seed=1)(x, training=True)
    np.testing.assert_array_equal(np.unique(y), np.array([0.0, 1.0 / 0.7], np.float32))
    assert abs((y == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / y.size)
    columns = (y == 0).mean(axis=0)
    assert np.abs(columns - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 500)


def test_nothing_is_dropped_in_inference() -> None:
    x = np.random.default_rng(0).normal(size=(4, FEATURES)).astype(np.float32)
    layer = Dropout(0.5)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)
    model = Sequential([Input((FEATURES,)), Dropout(0.9)])
    np.testing.assert_array_equal(model.predict(x), x)


@pytest.mark.parametrize("rate, left", [(0, 1.0), (1, 0.0)])
def test_all_and_nothing(rate: float, left: float) -> None:
    np.testing.assert_array_equal(Dropout(rate)(np.ones((3, 5), np.float32), training=True), left)


def test_layers_of_one_model_differ() -> None:
    first, both = kept()
    np.testing.assert_array_equal(first, first.astype(bool))
    assert (both <= first).all()
    assert 0 < both.sum() < first.sum(), "the second layer drops others than the first"


def test_steps_differ() -> None:
    assert (kept(steps=1)[0] != kept(steps=2)[0]).any()


def test_shards_differ() -> None:
    """With the same noise in both shards each column would come through both samples or none."""
    first, _ = kept(samples=2, shards=2)
    assert set(np.unique(first)) == {0.0, 1.0, 2.0}


def test_samples_of_a_shard_differ() -> None:
    first, _ = kept(samples=2, shards=1)
    assert set(np.unique(first)) == {0.0, 1.0, 2.0}


def test_seeds_differ_and_repeat() -> None:
    np.testing.assert_array_equal(kept(seed=3), kept(seed=3))
    assert (kept(seed=4)[0] != kept(seed=3)[0]).any()


def test_a_layers_own_seed_is_mixed_in() -> None:
    assert (kept(layer_seed=9)[0] != kept()[0]).any()
    np.testing.assert_array_equal(kept(layer_seed=9), kept(layer_seed=9))
    first, both = kept(layer_seed=9)
    assert 0 < both.sum() < first.sum(), "two layers with one seed still differ"


@pytest.mark.parametrize(
    "place", [{"backend": "threads", "workers": 1}, {"backend": "threads", "workers": 3}, {"eager": True}]
)
def test_noise_is_the_same_wherever_it_is_computed(place: dict[str, Any]) -> None:
    options = {"samples": 7, "steps": 2, "shards": 3}
    np.testing.assert_array_equal(kept(**options, **place), kept(**options))


def test_other_shards_give_other_noise() -> None:
    """So that the tests above can fail."""
    x = np.random.default_rng(0).normal(size=(12, FEATURES))
    y = x[:, :1]
    outcomes = [train(watched, x, y, batch_size=6, shards=shards).digest for shards in (1, 2)]
    assert outcomes[0] != outcomes[1]
