from __future__ import annotations

import doctest
import json
from typing import Any

import numpy as np
import pytest

from distnn import schedules as s

STEPS = (0, 1, 5, 6, 10, 11, 17, 18, 25, 40)

# What Keras 3.15 gives at STEPS, in float32.
KERAS: list[tuple[s.LearningRateSchedule, list[float]]] = [
    (
        s.ExponentialDecay(0.1, 10, 0.9),
        [0.1, 0.0989519283, 0.0948683247, 0.0938740373, 0.09, 0.0890567303, 0.0836011469, 0.0827249512]
        + [0.0768433437, 0.0656099990],
    ),
    (
        s.ExponentialDecay(0.1, 10, 0.9, staircase=True),
        [0.1, 0.1, 0.1, 0.1, 0.09, 0.09, 0.09, 0.09, 0.081, 0.0656099990],
    ),
    (
        s.CosineDecay(0.1, 20, alpha=0.1),
        [0.1, 0.0994459763, 0.0868198127, 0.0814503357, 0.055, 0.0479604453, 0.0149047030, 0.0122024585]
        + [0.01, 0.01],
    ),
    (
        s.CosineDecay(0.0, 20, alpha=0.1, warmup_target=0.2, warmup_steps=5),
        [0.0, 0.04, 0.2, 0.1988919526, 0.1736396253, 0.1629006714, 0.0821884498, 0.0691408738, 0.02, 0.02],
    ),
    (s.PiecewiseConstantDecay([5, 10], [1.0, 0.5, 0.1]), [1.0, 1.0, 1.0, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1]),
    (
        s.PolynomialDecay(0.1, 10, 0.01, power=2.0),
        [0.1, 0.0829, 0.0325, 0.0244, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01],
    ),
    (
        s.PolynomialDecay(0.1, 10, 0.01, power=0.5, cycle=True),
        [0.1, 0.0953814983, 0.0736396089, 0.0669210032, 0.01, 0.0703738332, 0.0448568463, 0.0384605005]
        + [0.0467423499, 0.01],
    ),
    (
        s.InverseTimeDecay(0.1, 10, 0.5),
        [0.1, 0.0952381045, 0.08, 0.0769230798, 0.0666666701, 0.0645161346, 0.0540540554, 0.0526315793]
        + [0.0444444455, 0.0333333351],
    ),
    (
        s.InverseTimeDecay(0.1, 10, 0.5, staircase=True),
        [0.1, 0.1, 0.1, 0.1, 0.0666666701, 0.0666666701, 0.0666666701, 0.0666666701, 0.05, 0.0333333351],
    ),
    (
        s.CosineDecayRestarts(0.1, 6, t_mul=2.0, m_mul=0.5, alpha=0.01),
        [0.1, 0.0933682621, 0.0076317429, 0.0505, 0.0381250009, 0.0321557708, 0.0018433363, 0.02575]
        + [0.0209084246, 0.0014216680],
    ),
    (
        s.CosineDecayRestarts(0.1, 6, t_mul=1.0, m_mul=0.5),
        [0.1, 0.0933012739, 0.0066987309, 0.05, 0.0125000030, 0.0033493624, 0.0016746841, 0.0125000002]
        + [0.0058313305, 0.0003906253],
    ),
]


@pytest.mark.parametrize(("schedule", "expected"), KERAS, ids=lambda v: getattr(v, "name", ""))
def test_agrees_with_keras(schedule: s.LearningRateSchedule, expected: list[float]) -> None:
    values = [schedule(step) for step in STEPS]
    assert all(type(value) is float for value in values)
    assert values == pytest.approx(expected, rel=3e-6, abs=1e-9)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in KERAS])
def test_config_round_trip(schedule: s.LearningRateSchedule) -> None:
    config = json.loads(json.dumps(s.serialize(schedule)))
    again = s.deserialize(config)
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    assert [again(i) for i in range(50)] == [schedule(i) for i in range(50)]


def test_reads_keras_own_form() -> None:
    config = {
        "module": "keras.optimizers.schedules",
        "class_name": "ExponentialDecay",
        "config": {
            "initial_learning_rate": 0.5,
            "decay_steps": 1,
            "decay_rate": 0.5,
            "name": "ExponentialDecay",
        },
        "registered_name": None,
    }
    assert s.deserialize(config)(1) == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: s.ExponentialDecay(0.1, 0, 0.9),
            "Argument `decay_steps` must be > 0. Received: decay_steps=0",
        ),
        (lambda: s.CosineDecay(0.1, -1), "Argument `decay_steps` must be > 0."),
        (lambda: s.CosineDecayRestarts(0.1, 5, t_mul=0.5), "`t_mul` must be at least 1"),
        (
            lambda: s.PiecewiseConstantDecay([1, 2], [1, 2]),
            "The length of boundaries should be 1 less than the length of values. Received: b",
        ),
        (lambda: s.PiecewiseConstantDecay([2, 1], [1, 2, 3]), "`boundaries` must increase"),
        (lambda: s.CosineDecay("0.1", 5), "`initial_learning_rate` must be a finite number"),  # type: ignore[arg-type]
        (lambda: s.CosineDecay(float("nan"), 5), "`initial_learning_rate` must be a finite number"),
        (
            lambda: s.deserialize({"class_name": "CosinDecay", "config": {}}),
            "Could not interpret learning rate schedule identifier: CosinDecay. Did you mean 'CosineDecay'?",
        ),
        (lambda: s.deserialize({"name": "x"}), "Expected a dict with 'class_name' and 'config'"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_numpy_numbers_become_python_numbers() -> None:
    schedule = s.ExponentialDecay(np.float32(0.5), np.int64(2), np.float64(0.5))  # type: ignore[arg-type]
    json.dumps(schedule.get_config())
    assert schedule(2) == 0.25


def test_a_users_schedule() -> None:
    class Halving(s.LearningRateSchedule):
        def __init__(self, start: float) -> None:
            self.start = start

        def __call__(self, step: int) -> float:
            return self.start / (step + 1)

    with pytest.raises(ValueError, match="must override `get_config"):
        s.serialize(Halving(0.1))
    with pytest.raises(NotImplementedError, match="must override `__call__"):
        s.LearningRateSchedule()(0)
    config = {"class_name": "Halving", "config": {"start": 1.0}}
    assert s.deserialize(config, custom_objects={"Halving": Halving})(1) == 0.5


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(s).failed == 0
