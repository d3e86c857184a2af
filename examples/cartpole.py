"""CartPole-v1 learned by policy gradient (PPO), the workers playing the games.

    pip install 'distnn[games]'
    python examples/cartpole.py [--backend ray --workers 2]

A game's random numbers follow from (seed, iteration, episode), so the weights do not depend on who plays it.
There is no spec beside this program: a spec trains on data that is there, and here the data is played anew by
what has been learned so far. Methods: Schulman et al. 2017 (PPO) and 2016 (generalised advantage estimation).
"""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from arguments import make_parser

from distnn import ops
from distnn.layers import Dense, Input
from distnn.models import Model
from distnn.optimizers import Adam
from distnn.utils import set_random_seed

RETURN_TO_REACH = 475
"""The mean of 100 games. A game gives 1 for each step that the pole stands, 500 steps at most."""
TEST_GAMES = 100
ITERATIONS, EPISODES, EPOCHS, BATCH_SIZE = 20, 16, 8, 256
DISCOUNT, SMOOTHING, CLIP = 0.99, 0.95, 0.2


# The model


def build_model() -> Model:
    """From a state to the logits of pushing left and right, and to the reward that is to come."""
    state = Input((4,))
    acting = Dense(64, activation="tanh")(Dense(64, activation="tanh")(state))
    judging = Dense(64, activation="tanh")(Dense(64, activation="tanh")(state))
    outputs = {"action": Dense(2, name="action")(acting), "value": Dense(1, name="value")(judging)}
    model = Model(state, outputs)
    model.compile(Adam(0.003), loss={"action": clipped_gain, "value": "mse"})
    return model


def clipped_gain(y_true: Any, logits: Any) -> Any:
    """The less, the likelier are actions that went well. y_true: action, advantage, log p when played."""
    action, advantage, before = y_true[:, 0], y_true[:, 1], y_true[:, 2]
    ratio = ops.exp(log_probability(logits, action) - before)
    return -ops.minimum(ratio * advantage, ops.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)


def log_probability(logits: Any, action: Any) -> Any:
    """Of actions 0 (left) or 1 (right)."""
    return -ops.softplus((1 - 2 * action) * (logits[:, 1] - logits[:, 0]))


# The games


def play(model: Model, key: tuple[int, ...], greedy: bool = False) -> dict[str, Any]:
    """A game of T steps: `states` (T, 4), and the targets `action` (T, 3) and `value` (T, 1)."""
    import gymnasium  # of the extra `games`

    rng = np.random.default_rng(key)
    env = gymnasium.make("CartPole-v1")
    state, _ = env.reset(seed=int(rng.integers(2**31)))
    states, logits, values, actions = [], [], [], []
    has_fallen = is_late = False
    while not (has_fallen or is_late):
        outputs = model.predict(state[np.newaxis])
        left, right = outputs["action"][0]
        action = int(right > left if greedy else rng.random() < 1 / (1 + np.exp(left - right)))
        states.append(state)
        logits.append((left, right))
        values.append(outputs["value"][0, 0])
        actions.append(action)
        state, _, has_fallen, is_late, _ = env.step(action)
    values.append(0 if has_fallen else model.predict(state[np.newaxis])["value"][0, 0])
    advantage = advantages(np.array(values))
    before = log_probability(np.array(logits), np.array(actions))
    return {
        "states": np.array(states),
        "action": np.stack([actions, advantage, before], axis=1),
        "value": (advantage + values[:-1])[:, np.newaxis],
    }


def advantages(values: Any) -> Any:
    """By how much each step went better than the values of the states before and after it promise."""
    gains = 1 + DISCOUNT * values[1:] - values[:-1]
    for step in reversed(range(len(gains) - 1)):
        gains[step] += DISCOUNT * SMOOTHING * gains[step + 1]
    return gains


# Playing and learning


def train(model: Model, iterations: int, seed: int, **where: Any) -> None:
    for iteration in range(iterations):
        games = model.map(play, [(seed, iteration, episode) for episode in range(EPISODES)], **where)
        played = {name: np.concatenate([game[name] for game in games]) for name in games[0]}
        advantage = played["action"][:, 1]
        advantage[:] = (advantage - advantage.mean()) / advantage.std()
        model.fit(
            played.pop("states"),
            played,
            batch_size=BATCH_SIZE,
            epochs=EPOCHS,
            shards=2,
            seed=seed + iteration,
            verbose=0,
            **where,
        )
        print(f"iteration {iteration + 1}: mean return {len(advantage) / EPISODES:.1f}", flush=True)


def mean_return(model: Model, seed: int, **where: Any) -> float:
    """Of games that were not learned from, taking the likelier action in each step."""
    keys = [(seed, ITERATIONS, episode) for episode in range(TEST_GAMES)]
    games = model.map(partial(play, greedy=True), keys, **where)
    return float(np.mean([len(game["states"]) for game in games]))


def main() -> None:
    parser = make_parser(__doc__, needs_data=False)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if find_spec("gymnasium") is None:
        parser.error("the games need gymnasium: pip install gymnasium")
    where = {"backend": options.backend, "workers": options.workers}

    set_random_seed(options.seed)
    model = build_model()
    model.summary()
    train(model, ITERATIONS, options.seed, **where)
    reached = mean_return(model, options.seed, **where)
    print(f"mean return of {TEST_GAMES} other games: {reached:.1f} (to reach: {RETURN_TO_REACH})")
    if options.save:
        model.save(options.save)
    if reached < RETURN_TO_REACH:
        sys.exit("this is less than the example must reach")


if __name__ == "__main__":
    main()
