"""Adafactor: its settings, and that it learns."""

from __future__ import annotations

import pytest
from trainings import classification, train

from distnn.layers import Dense, Input
from distnn.models import Sequential
from distnn.optimizers import Adafactor


@pytest.mark.parametrize("name", ["beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold"])
def test_settings_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Adafactor(**{name: 0.0})


def test_it_learns() -> None:
    def make() -> Sequential:
        model = Sequential([Input((6,)), Dense(16, "relu"), Dense(3, "softmax")])
        model.compile(Adafactor(0.1), "sparse_categorical_crossentropy")
        return model

    history = train(make, *classification(200), batch_size=20, epochs=10, shards=2).history
    assert history["loss"][-1] < 0.4 * history["loss"][0]
