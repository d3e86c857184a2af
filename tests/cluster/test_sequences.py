"""Masks and states over Ray: workers count and keep them as one process does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.layers import LSTM, Dense, Embedding, Input
from distnn.models import Sequential

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

RNG = np.random.default_rng(2)
TOKENS = RNG.integers(1, 7, size=(40, 6)).astype(np.int32)
TOKENS[np.arange(6)[None] >= RNG.integers(0, 7, size=40)[:, None]] = 0
LABELS = RNG.integers(0, 4, size=(40, 6)).astype(np.int32)


def model() -> Sequential:
    """Masked losses and states that go on from batch to batch."""
    found = Sequential([Input(batch_shape=(10, 6), dtype="int32"), Embedding(7, 5, mask_zero=True)])
    found.add(LSTM(6, return_sequences=True, stateful=True))
    found.add(Dense(4, "softmax"))
    found.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return found


def outcome(**where: Any) -> tuple[Any, ...]:
    with model() as one:
        options: dict[str, Any] = {"batch_size": 10, "epochs": 2, "shuffle": False, "shards": 3, "seed": 1}
        history = one.fit(TOKENS, LABELS, **options, verbose=0, **where).history
        weights = [array.tobytes() for array in one.get_weights()]
        logs = one.evaluate(TOKENS, LABELS, batch_size=10, verbose=0, shards=3, **where)
        predicted = [one.predict(TOKENS, batch_size=10, shards=3, **where).tobytes() for _ in range(2)]
        return history, weights, logs, predicted


def test_masked_and_stateful_trainings_leave_the_same_bytes_over_ray() -> None:
    local = outcome()
    assert outcome(backend="ray", workers=2) == local
    assert local[3][0] != local[3][1], "the second prediction goes on from the states of the first"
