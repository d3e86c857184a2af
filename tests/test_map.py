"""`Model.map` in one process; over workers see tests/cluster/test_mapping.py and the engine contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.layers import Dense, Input
from distnn.models import Model, Sequential


def make_model() -> Sequential:
    return Sequential([Input((3,)), Dense(2)])


def scores(model: Model, item: Any) -> Any:
    return model.predict(np.full((1, 3), item, np.float32)).tolist()


@pytest.mark.parametrize("backend", ["local", "threads"])
def test_map_calls_the_function_with_the_model_for_each_item(backend: str) -> None:
    model = make_model()
    found = model.map(scores, (i for i in range(3)), backend=backend)
    assert found == [scores(model, i) for i in range(3)]
    assert found[1] != found[2]
    model.close()


def test_map_lets_the_functions_exception_through() -> None:
    with pytest.raises(ZeroDivisionError):
        make_model().map(lambda model, item: 1 // item, [0])


@pytest.mark.parametrize(
    ("model", "function", "message"),
    [
        (make_model(), 5, "takes a function of .model, item.. Received: 5"),
        (Sequential([Dense(2)]), scores, "has no weights yet: begin it with an `Input`"),
    ],
)
def test_map_refuses_what_it_cannot_call(model: Sequential, function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.map(function, [1])


def test_map_refuses_an_unknown_backend() -> None:
    with pytest.raises(ValueError, match="Unknown backend: 'rey'"):
        make_model().map(scores, [1], backend="rey")
