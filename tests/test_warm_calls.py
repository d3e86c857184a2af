"""Calls in a loop trace nothing anew, and give what cold ones would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import classification, weight_bytes

from distnn import tracing
from distnn.layers import Dense, Dropout, Input
from distnn.models import Sequential

X, Y = classification(40, 6, 3)


def make_model() -> Sequential:
    model = Sequential([Input((6,)), Dense(5, "relu"), Dropout(0.3), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modes of all traces, as they are made."""
    found: list[str] = []
    record = tracing._record

    def counting(task: Any, mode: Any, *rest: Any) -> Any:
        found.append(mode)
        return record(task, mode, *rest)

    monkeypatch.setattr(tracing, "_record", counting)
    return found


CALLS: list[Callable[[Sequential, int], Any]] = [
    lambda model, i: model.predict(X[i : i + 1]),
    lambda model, i: model.train_on_batch(X[i : i + 2], Y[i : i + 2]),
    lambda model, i: model.evaluate(X[i:], Y[i:], batch_size=8, verbose=0) if i == 0 else None,
    lambda model, i: model.fit(X, Y, batch_size=16, verbose=0, seed=i),
    lambda model, i: model.fit(X, Y, batch_size=16, shards=2, verbose=0, seed=i),
]


def test_a_loop_of_games_traces_each_kind_of_call_once(traces: list[str]) -> None:
    model = make_model()
    for i in range(3):
        model.predict(X[i : i + 1])
        model.train_on_batch(X[i : i + 2], Y[i : i + 2])
        model.fit(X, Y, batch_size=16, verbose=0, seed=i)
    assert sorted(traces) == ["predict", "train", "train"]


@pytest.mark.parametrize("call", CALLS)
def test_warm_calls_give_what_cold_ones_give(call: Callable[[Sequential, int], Any]) -> None:
    """A model that is closed after each call keeps nothing; its weights go on."""
    warm, cold = make_model(), make_model()
    for model in (warm, cold):
        model.ensure_initialized(4)
    for i in range(4):
        found, expected = call(warm, i), call(cold, i)
        cold.close()
        cold.tasks.forget()
        assert np.array_equal(found, expected) if isinstance(found, np.ndarray) else True
        assert weight_bytes(warm) == weight_bytes(cold)


def test_data_that_changes_in_place_is_seen() -> None:
    model, x = make_model(), X[:4].copy()
    first = model.predict(x)
    x[:] = X[10:14]
    assert not np.array_equal(model.predict(x), first)
    np.testing.assert_array_equal(model.predict(x), model.predict(X[10:14].copy()))


def test_larger_data_and_other_sizes_take_their_turns() -> None:
    model = make_model()
    wide = np.repeat(X, 2000, axis=0)
    small, large = model.predict(X), model.predict(wide, batch_size=1024)
    for _ in range(2):
        assert model.predict(X).tobytes() == small.tobytes()
        assert model.predict(wide, batch_size=1024).tobytes() == large.tobytes()


def test_what_changes_the_model_is_traced_anew(traces: list[str]) -> None:
    model = make_model()
    model.fit(X, Y, verbose=0, seed=1)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()[0]
    model.fit(X, Y, verbose=0, seed=1)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], frozen)
    model.compile("sgd", "mse")
    model.fit(X, np.eye(3)[Y], verbose=0, seed=1)
    model.pop()
    assert model.predict(X[:2]).shape == (2, 5)
    assert traces == ["train", "train", "train", "predict"]


def test_games_of_other_lengths_trace_nothing_anew(traces: list[str]) -> None:
    """Nor do batches of other sizes, and what they give is what cold calls give."""
    found: dict[str, list[bytes]] = {"warm": [], "cold": []}
    for kind, seen in found.items():
        model = make_model()
        model.ensure_initialized(1)
        for length in (20, 33, 7, 40):
            seen.append(model.predict(X[:length], batch_size=64).tobytes())
            model.train_on_batch(X[:length], Y[:length])
            model.fit(X[:length], Y[:length], batch_size=16, epochs=2, shards=2, verbose=0, seed=length)
            seen.append(weight_bytes(model))
            if kind == "cold":
                model.close()
                model.tasks.forget()
        if kind == "warm":
            assert sorted(traces) == ["predict", "train", "train"]
    assert found["warm"] == found["cold"]
