"""What the game's program is made of; it needs gymnasium where it plays."""

from __future__ import annotations

import sys
from collections.abc import Callable

import cartpole
import numpy as np
import pytest

from distnn import ops

Train = Callable[..., dict[str, bytes]]


def test_advantages_are_what_came_beyond_the_values() -> None:
    values = np.array([1.0, 2.0, 0.5])
    last = 1 + cartpole.DISCOUNT * 0.5 - 2
    first = 1 + cartpole.DISCOUNT * 2 - 1 + cartpole.DISCOUNT * cartpole.SMOOTHING * last
    np.testing.assert_allclose(cartpole.advantages(values), [first, last])


def test_log_probabilities_are_those_of_a_softmax(rng: np.random.Generator) -> None:
    logits, actions = rng.normal(size=(6, 2)), np.array([0, 1, 1, 0, 1, 0])
    expected = np.log(np.asarray(ops.softmax(logits)))[np.arange(6), actions]
    np.testing.assert_allclose(cartpole.log_probability(logits, actions), expected, rtol=1e-5)


def test_gain_is_clipped_only_where_it_would_grow() -> None:
    """The ratio is 2 for all: a good action gains no more than 1.2, a bad one loses all of 2."""
    logits = np.zeros((2, 2), np.float32)
    y_true = np.array([[0, 1, np.log(0.25)], [1, -1, np.log(0.25)]], np.float32)
    np.testing.assert_allclose(cartpole.clipped_gain(y_true, logits), [-1.2, 2.0], rtol=1e-5)


def test_a_game_depends_on_its_key_alone() -> None:
    pytest.importorskip("gymnasium")
    model = cartpole.build_model()
    model.ensure_initialized(1)
    first, other, again = (cartpole.play(model, key) for key in ((1, 2, 3), (1, 2, 4), (1, 2, 3)))
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert first["states"][0].tolist() != other["states"][0].tolist()
    steps = len(first["states"])
    assert (first["states"].shape, first["action"].shape, first["value"].shape) == (
        (steps, 4),
        (steps, 3),
        (steps, 1),
    )
    assert set(first["action"][:, 0]) <= {0.0, 1.0}


def test_program_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)  # as if it were not there
    monkeypatch.setattr(sys, "argv", ["cartpole.py"])
    with pytest.raises(SystemExit) as ended:
        cartpole.main()
    assert ended.value.code == 2
    assert "the games need gymnasium: pip install gymnasium" in capsys.readouterr().err


def test_program_learns_the_same_in_threads(train_program: Train, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    constants = {"ITERATIONS": 2, "EPISODES": 3, "TEST_GAMES": 2, "RETURN_TO_REACH": 0}
    here = train_program("cartpole", **constants)
    assert train_program("cartpole", "--backend", "threads", "--workers", "2", **constants) == here
    assert train_program("cartpole", "--seed", "2", **constants) != here
    assert "iteration 2: mean return" in capsys.readouterr().out
