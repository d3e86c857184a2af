from __future__ import annotations

import doctest
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distnn.optimizers.adadelta
import distnn.optimizers.adafactor
import distnn.optimizers.adagrad
import distnn.optimizers.adam
import distnn.optimizers.adamax
import distnn.optimizers.ftrl
import distnn.optimizers.lamb
import distnn.optimizers.lion
import distnn.optimizers.nadam
import distnn.optimizers.rmsprop
import distnn.optimizers.sgd
from distnn import optimizers
from distnn.optimizers import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Nadam,
    Optimizer,
    RMSprop,
)
from distnn.optimizers.schedules import ExponentialDecay, PiecewiseConstantDecay

Array = np.ndarray
MASK = (1 << 64) - 1


def step(
    optimizer: Optimizer, w: Array, g: Array, slots: Array, iteration: int, cuts: tuple[int, ...] = ()
) -> tuple[Array, Array, int]:
    """One update, in slices cut at `cuts`."""
    w_out, slots_out = np.full_like(w, np.nan), np.full_like(slots, np.nan)
    scalars = optimizer.scalars(iteration)
    bounds = [0, *cuts, len(w)]
    total = 0
    for start, stop in zip(bounds, bounds[1:], strict=False):
        total += optimizer.update(w, g, slots, w_out, slots_out, scalars, start, stop)
    return w_out, slots_out, total & MASK


class KerasInFloat64:
    """Keras's formulas, transcribed word by word, one array at a time."""

    def __init__(self, o: Any, w: Array) -> None:
        self.o, self.w, self.t = o, w.astype(np.float64), 0
        first = getattr(o, "initial_accumulator_value", 0.0)
        self.slots = {name: np.full(w.shape, 0.0 if name == "linear" else first) for name in o.slot_names}

    def step(self, g: Array) -> None:
        o, g, lr = self.o, g.astype(np.float64), self.o.learning_rate_at(self.t)
        if o.clipvalue:
            g = np.clip(g, -o.clipvalue, o.clipvalue)
        if o.weight_decay:
            self.w = self.w - self.w * o.weight_decay * lr
        getattr(self, type(o).__name__.lower())(g, lr)
        self.t += 1

    def sgd(self, g: Array, lr: float) -> None:
        if not self.o.momentum:
            self.w = self.w - g * lr
            return
        m = self.slots["momentum"] = self.slots["momentum"] * self.o.momentum - g * lr
        self.w = self.w + (m * self.o.momentum - g * lr if self.o.nesterov else m)

    def rmsprop(self, g: Array, lr: float) -> None:
        o, s = self.o, self.slots
        s["velocity"] = o.rho * s["velocity"] + (1 - o.rho) * g**2
        denominator = s["velocity"] + o.epsilon
        if o.centered:
            s["average_gradient"] = o.rho * s["average_gradient"] + (1 - o.rho) * g
            denominator = s["velocity"] - s["average_gradient"] ** 2 + o.epsilon
        increment = lr * g / np.sqrt(denominator)
        if o.momentum > 0:
            s["momentum"] = o.momentum * s["momentum"] + increment
            increment = s["momentum"]
        self.w = self.w - increment

    def adam(self, g: Array, lr: float) -> None:
        o, s, t = self.o, self.slots, self.t + 1
        alpha = lr * math.sqrt(1 - o.beta_2**t) / (1 - o.beta_1**t)
        s["momentum"] = s["momentum"] + (g - s["momentum"]) * (1 - o.beta_1)
        s["velocity"] = s["velocity"] + (g**2 - s["velocity"]) * (1 - o.beta_2)
        v = s["velocity"]
        if o.amsgrad:
            v = s["velocity_hat"] = np.maximum(s["velocity_hat"], v)
        self.w = self.w - s["momentum"] * alpha / (np.sqrt(v) + o.epsilon)

    adamw = adam

    def adagrad(self, g: Array, lr: float) -> None:
        a = self.slots["accumulator"] = self.slots["accumulator"] + g**2
        self.w = self.w - lr * g / np.sqrt(a + self.o.epsilon)

    def adadelta(self, g: Array, lr: float) -> None:
        o, s = self.o, self.slots
        s["accumulated_grad"] = o.rho * s["accumulated_grad"] + (1 - o.rho) * g**2
        rms = [np.sqrt(s[name] + o.epsilon) for name in ("accumulated_delta_var", "accumulated_grad")]
        delta = -rms[0] * g / rms[1]
        s["accumulated_delta_var"] = o.rho * s["accumulated_delta_var"] + (1 - o.rho) * delta**2
        self.w = self.w + lr * delta

    def adamax(self, g: Array, lr: float) -> None:
        o, s, t = self.o, self.slots, self.t + 1
        s["momentum"] = s["momentum"] + (g - s["momentum"]) * (1 - o.beta_1)
        s["norm"] = np.maximum(o.beta_2 * s["norm"], np.abs(g))
        self.w = self.w - lr * s["momentum"] / ((1 - o.beta_1**t) * (s["norm"] + o.epsilon))

    def nadam(self, g: Array, lr: float) -> None:
        o, s, t = self.o, self.slots, self.t + 1
        u = [o.beta_1 * (1 - 0.5 * 0.96**i) for i in range(1, t + 2)]
        p_t, p_next = math.prod(u[:-1]), math.prod(u)
        s["momentum"] = s["momentum"] + (g - s["momentum"]) * (1 - o.beta_1)
        s["velocity"] = s["velocity"] + (g**2 - s["velocity"]) * (1 - o.beta_2)
        m_hat = u[-1] * s["momentum"] / (1 - p_next) + (1 - u[-2]) * g / (1 - p_t)
        self.w = self.w - m_hat * lr / (np.sqrt(s["velocity"] / (1 - o.beta_2**t)) + o.epsilon)

    def lion(self, g: Array, lr: float) -> None:
        o, m = self.o, self.slots["momentum"]
        self.w = self.w - lr * np.sign(m * o.beta_1 + g * (1 - o.beta_1))
        self.slots["momentum"] = m * o.beta_2 + g * (1 - o.beta_2)

    def ftrl(self, g: Array, lr: float) -> None:
        o, s = self.o, self.slots
        l2 = o.l2_regularization_strength + o.beta / (2 * lr)
        used = g + 2 * o.l2_shrinkage_regularization_strength * self.w
        new = s["accumulator"] + g**2
        s["linear"] = s["linear"] + used - (np.sqrt(new) - np.sqrt(s["accumulator"])) / lr * self.w
        l1 = o.l1_regularization_strength
        self.w = (np.clip(s["linear"], -l1, l1) - s["linear"]) / (np.sqrt(new) / lr + 2 * l2)
        s["accumulator"] = new

    def adafactor(self, g: Array, lr: float) -> None:
        """Of a vector."""
        o, v, t = self.o, self.slots["row_means"], self.t + 1
        rho, kept = min(lr, 1 / math.sqrt(t)), 1 - t**o.beta_2_decay
        alpha = max(o.epsilon_2, math.sqrt(np.mean(self.w**2))) * rho
        v = self.slots["row_means"] = kept * v + (1 - kept) * (g**2 + o.epsilon_1)
        u = g / np.sqrt(v)
        self.w = self.w - alpha * u / max(1.0, math.sqrt(np.mean(u**2)) / o.clip_threshold)

    def lamb(self, g: Array, lr: float) -> None:
        """Without the trust, which whoever knows the weights gives."""
        o, s, t = self.o, self.slots, self.t + 1
        s["momentum"] = s["momentum"] + (g - s["momentum"]) * (1 - o.beta_1)
        s["velocity"] = s["velocity"] + (g**2 - s["velocity"]) * (1 - o.beta_2)
        root = np.sqrt(s["velocity"] / (1 - o.beta_2**t)) + o.epsilon
        self.w = self.w - lr * s["momentum"] / (1 - o.beta_1**t) / root


MAKERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: SGD(0.1),
    "sgd_momentum": lambda: SGD(0.1, momentum=0.9),
    "sgd_nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True),
    "sgd_decay": lambda: SGD(0.1, momentum=0.5, weight_decay=0.3),
    "sgd_clipvalue": lambda: SGD(0.1, clipvalue=0.25),
    "sgd_schedule": lambda: SGD(PiecewiseConstantDecay([1], [0.5, 0.05]), momentum=0.9),
    "rmsprop": lambda: RMSprop(0.01),
    "rmsprop_momentum": lambda: RMSprop(0.01, momentum=0.8),
    "rmsprop_centered": lambda: RMSprop(0.01, centered=True, epsilon=1e-3),
    "rmsprop_all": lambda: RMSprop(
        0.01, rho=0.7, momentum=0.8, centered=True, epsilon=1e-3, weight_decay=0.1
    ),
    "adam": lambda: Adam(0.01),
    "adam_amsgrad": lambda: Adam(0.01, amsgrad=True, beta_1=0.8, beta_2=0.9),
    "adam_schedule": lambda: Adam(ExponentialDecay(0.01, 2, 0.5), clipvalue=1.0, epsilon=1e-3),
    "adamw": lambda: AdamW(0.01, weight_decay=0.2),
    "adagrad": lambda: Adagrad(0.05),
    "adagrad_settings": lambda: Adagrad(0.05, initial_accumulator_value=0.0, epsilon=1e-2, weight_decay=0.1),
    "adadelta": lambda: Adadelta(0.5),
    "adadelta_settings": lambda: Adadelta(1.0, rho=0.7, epsilon=1e-3, weight_decay=0.1),
    "adafactor": lambda: Adafactor(0.05),
    "adafactor_settings": lambda: Adafactor(
        0.5, beta_2_decay=-0.5, epsilon_2=0.8, clip_threshold=0.3, weight_decay=0.1
    ),
    "adamax": lambda: Adamax(0.01),
    "adamax_settings": lambda: Adamax(0.01, beta_1=0.7, beta_2=0.5, weight_decay=0.2, clipvalue=1.0),
    "nadam": lambda: Nadam(0.01),
    "nadam_settings": lambda: Nadam(0.01, beta_1=0.8, beta_2=0.9, epsilon=1e-3, weight_decay=0.2),
    "lion": lambda: Lion(0.01),
    "lion_settings": lambda: Lion(0.01, beta_1=0.7, beta_2=0.9, weight_decay=0.5),
    "ftrl": lambda: Ftrl(0.1),
    "ftrl_settings": lambda: Ftrl(
        0.1,
        initial_accumulator_value=0.5,
        l1_regularization_strength=0.3,
        l2_regularization_strength=0.2,
        l2_shrinkage_regularization_strength=0.1,
        beta=0.4,
    ),
    "lamb": lambda: Lamb(0.01, weight_decay=0.2),
}
every = pytest.mark.parametrize("name", sorted(MAKERS))


def gradients(n: int, steps: int, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=n).astype(np.float32) for _ in range(steps)]


@every
def test_five_steps_agree_with_keras_formulas(name: str) -> None:
    optimizer = MAKERS[name]()
    w = gradients(37, 1, seed=1)[0]
    reference = KerasInFloat64(optimizer, w)
    slots = optimizer.initial_slots(len(w))
    for t, g in enumerate(gradients(37, 5)):
        w, slots, _ = step(optimizer, w, g, slots, t)
        reference.step(g)
        np.testing.assert_allclose(w, reference.w, rtol=2e-6, atol=2e-6)
        for row, slot in zip(slots, optimizer.slot_names, strict=True):
            np.testing.assert_allclose(row, reference.slots[slot], rtol=2e-6, atol=2e-7, err_msg=slot)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (SGD(0.5), [0.5, 3.0]),
        (SGD(0.5, momentum=0.5, nesterov=True), [0.25, 3.5]),
        (RMSprop(0.5, rho=0.75, epsilon=1e-12), [0.0, 3.0]),
        (Adam(0.5, epsilon=1e-12), [0.5, 2.5]),
        (Adam(0.5, weight_decay=1.0, epsilon=1e-12), [0.0, 1.5]),
        (Adagrad(0.5, initial_accumulator_value=3.0), [0.75, 2 + 0.5 * 2 / math.sqrt(7)]),
    ],
)
def test_a_single_step_by_hand(optimizer: Optimizer, expected: list[float]) -> None:
    w, g = np.array([1.0, 2.0], np.float32), np.array([1.0, -2.0], np.float32)
    got, _, _ = step(optimizer, w, g, optimizer.initial_slots(2), 0)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@every
def test_leaves_the_callers_arrays_alone_and_keeps_their_dtype(name: str) -> None:
    optimizer = MAKERS[name]()
    w, g = gradients(20, 2)
    slots = optimizer.initial_slots(20)
    before = w.tobytes(), g.tobytes(), slots.tobytes()
    w_out, slots_out, _ = step(optimizer, w, g, slots, 3)
    assert (w.tobytes(), g.tobytes(), slots.tobytes()) == before
    assert w_out.dtype == slots_out.dtype == np.float32 and slots.shape == (len(optimizer.slot_names), 20)
    assert np.isfinite(w_out).all() and np.isfinite(slots_out).all()


@pytest.mark.parametrize("name", [n for n in sorted(MAKERS) if not MAKERS[n]().needs_whole_weights])
def test_slicing_never_changes_a_bit(name: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(0, 203), max_size=5).map(sorted), st.integers(0, 1000))
    def check(cuts: list[int], seed: int) -> None:
        w, g, *slot_values = gradients(203, 5, seed)
        optimizer = MAKERS[name]()
        slots = np.abs(np.array(slot_values[: len(optimizer.slot_names)], np.float32).reshape(-1, 203))
        if "average_gradient" in optimizer.slot_names:
            slots[-1] = 0.0
        whole = step(optimizer, w, g, slots, 7)
        sliced = step(optimizer, w, g, slots, 7, tuple(cuts))
        assert sliced[0].tobytes() == whole[0].tobytes()
        assert sliced[1].tobytes() == whole[1].tobytes()
        assert sliced[2] == whole[2]

    check()


def parabola(w: Array) -> Array:
    return 2.0 * (w - np.array([1.0, -2.0, 0.5]))


def rosenbrock(w: Array) -> Array:
    x, y = w
    return np.array([-2 * (1 - x) - 40 * x * (y - x * x), 20 * (y - x * x)])


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (SGD(0.05), 400),
        (SGD(0.02, momentum=0.9), 400),
        (SGD(0.02, momentum=0.9, nesterov=True), 400),
        (RMSprop(ExponentialDecay(0.05, 100, 0.5)), 1500),
        (RMSprop(ExponentialDecay(0.05, 100, 0.5), centered=True, momentum=0.5), 1500),
        (Adam(0.05), 1000),
        (Adam(0.05, amsgrad=True), 1500),
        (AdamW(0.05, weight_decay=0.0), 1000),
        (Adagrad(0.5), 2000),
        (Adadelta(ExponentialDecay(5.0, 400, 0.7)), 1500),
        (Adafactor(0.05), 1500),
        (Adamax(0.05), 1500),
        (Nadam(0.05), 1000),
        (Lion(ExponentialDecay(0.05, 150, 0.5)), 1500),
        (Ftrl(0.5), 2000),
        (Lamb(ExponentialDecay(0.05, 300, 0.7)), 1500),
    ],
    ids=lambda v: repr(v)[:40],
)
def test_reaches_the_minimum(optimizer: Optimizer, steps: int) -> None:
    cases = [
        (parabola, [1.0, -2.0, 0.5], [0.0, 0.0, 0.0], steps),
        (rosenbrock, [1.0, 1.0], [-0.5, 1.0], 6 * steps),
    ]
    for gradient, minimum, start, count in cases:
        factor = 0.2 if gradient is rosenbrock and isinstance(optimizer, SGD) else 1.0
        w, slots = np.array(start, np.float32), optimizer.initial_slots(len(start))
        for t in range(count):
            g = (factor * gradient(w.astype(np.float64))).astype(np.float32)
            w, slots, _ = step(optimizer, w, g, slots, t)
        np.testing.assert_allclose(w, minimum, atol=2e-2)


# Settings


def test_defaults_are_keras() -> None:
    sgd, rmsprop, adam, adamw, adagrad = SGD(), RMSprop(), Adam(), AdamW(), Adagrad()
    assert (sgd.learning_rate, sgd.momentum, sgd.nesterov) == (0.01, 0.0, False)
    assert (rmsprop.learning_rate, rmsprop.rho, rmsprop.momentum, rmsprop.epsilon) == (0.001, 0.9, 0.0, 1e-7)
    assert (adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon) == (0.001, 0.9, 0.999, 1e-7)
    assert (adamw.weight_decay, adam.weight_decay, adamw.learning_rate) == (0.004, None, 0.001)
    assert (adagrad.learning_rate, adagrad.initial_accumulator_value, adagrad.epsilon) == (0.001, 0.1, 1e-7)
    assert [o.name for o in (sgd, rmsprop, adam, adamw, adagrad)] == [
        "sgd",
        "rm_sprop",
        "adam",
        "adam_w",
        "adagrad",
    ]
    adadelta, adamax, nadam, lion, ftrl, lamb = Adadelta(), Adamax(), Nadam(), Lion(), Ftrl(), Lamb()
    assert (adadelta.learning_rate, adadelta.rho, adadelta.epsilon) == (0.001, 0.95, 1e-7)
    for adam_like in (adamax, nadam, lamb):
        assert (adam_like.beta_1, adam_like.beta_2, adam_like.epsilon) == (0.9, 0.999, 1e-7)
    assert (lion.learning_rate, lion.beta_1, lion.beta_2) == (0.001, 0.9, 0.99)
    assert (ftrl.learning_rate, ftrl.initial_accumulator_value, ftrl.beta) == (0.001, 0.1, 0.0)
    assert AdamW(0.1, 0.2).weight_decay == 0.2 and SGD(0.1, 0.9, True).nesterov


@every
def test_config_round_trip_gives_the_same_bytes(name: str) -> None:
    optimizer = MAKERS[name]()
    again = optimizers.get(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
    w, g = gradients(30, 2)
    slots = optimizer.initial_slots(30)
    assert step(again, w, g, slots, 4)[0].tobytes() == step(optimizer, w, g, slots, 4)[0].tobytes()
    assert type(optimizer).__name__ in repr(optimizer)


OTHERS = ("adadelta", "adafactor", "Adamax", "nadam", "lion", "ftrl", "lamb")


def test_get() -> None:
    made = Adam()
    assert optimizers.get(made) is made
    for name in ("sgd", "SGD", "rmsprop", "RMSprop", "adam", "Adam", "adamw", "AdamW", "adagrad", *OTHERS):
        assert type(optimizers.get(name)).__name__.lower() == name.lower()
    assert isinstance(optimizers.get(Adam), Adam)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optimizers.get("addam"),
            "Could not interpret optimizer identifier: addam. Did you mean 'adam', 'nadam' or 'adamw'?",
        ),
        (lambda: optimizers.get(3), "Could not interpret optimizer identifier: 3"),
        (lambda: optimizers.get(None), "Could not interpret optimizer identifier: None"),
        (
            lambda: SGD(clipnorm=1, clipvalue=1),
            "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. "
            "Received: clipnorm=1.0, clipvalue=1.0, global_clipnorm=None",
        ),
        (lambda: Adam(clipvalue=0), "`clipvalue` must be a positive float. Received: clipvalue=0"),
        (lambda: Adam(global_clipnorm=-1.0), "`global_clipnorm` must be a positive float."),
        (lambda: SGD(weight_decay=-0.1), "`weight_decay` must be at least 0.0."),
        (lambda: SGD(lr=0.1), "Argument `lr` of SGD is an old spelling: write `learning_rate=0.1`."),  # type: ignore[call-arg]
        (lambda: SGD(decay=0.1), "write `learning_rate=schedules.InverseTimeDecay("),  # type: ignore[call-arg]
        (lambda: SGD(momentm=0.1), "Argument(s) not recognized: {'momentm': 0.1}. Did you mean 'momentum'?"),  # type: ignore[call-arg]
        (lambda: AdamW(beta_3=0.1), "AdamW takes: learning_rate, weight_decay, beta_1"),
        (lambda: Adam(use_ema=True), "Argument `use_ema` of Adam is not supported yet"),  # type: ignore[call-arg]
        (lambda: SGD(momentum=2.0), "`momentum` must be a float between [0, 1]. Received: momentum=2.0"),
        (lambda: Adam(beta_1=1.0), "`beta_1` must be a float between [0, 1). Received: beta_1=1.0"),
        (lambda: RMSprop(rho="a"), "`rho` must be a finite number. Received: rho='a'"),  # type: ignore[arg-type]
        (lambda: Adam(epsilon=0.0), "`epsilon` must be a positive float."),
        (
            lambda: Adagrad(initial_accumulator_value=-1),
            "`initial_accumulator_value` must be a positive float.",
        ),
        (lambda: AdamW(weight_decay=None), "Argument `weight_decay` must be a float."),  # type: ignore[arg-type]
        (lambda: Lamb(clipnorm=1.0), "Lamb cannot clip norms: leave `clipnorm` and `global_clipnorm` out"),
        (lambda: Lion(beta_1=0.0), "degenerates to SignSGD. Received: beta_1=0.0."),
        (lambda: Ftrl(learning_rate_power=-1.0), "`learning_rate_power` is not supported yet"),
        (lambda: Ftrl(l1_regularization_strength=-1.0), "needs to be positive or zero"),
        (lambda: SGD("fast"), "Argument `learning_rate` should be a float"),  # type: ignore[arg-type]
        (lambda: SGD(-0.1), "Received instead: learning_rate=-0.1"),
        (lambda: SGD(float("nan")), "Received instead: learning_rate=nan"),
        (lambda: SGD(lambda: 0.1), "or an instance of LearningRateSchedule."),  # type: ignore[arg-type]
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_defaults_of_keras_own_arguments_are_accepted() -> None:
    given = SGD(use_ema=False, ema_momentum=0.99, gradient_accumulation_steps=None)  # type: ignore[call-arg]
    assert given.get_config() == SGD().get_config()


def test_the_learning_rate_can_be_set() -> None:
    optimizer = SGD(1)
    optimizer.learning_rate = np.float32(0.5)
    assert optimizer.learning_rate == 0.5 and optimizer.scalars(3)[0] == 0.5
    state = json.loads(json.dumps(optimizer.get_state()))
    other = SGD(0.1)
    other.set_state(state)
    assert other.learning_rate == 0.5
    with pytest.raises(ValueError, match="Received instead: learning_rate=-1"):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.5


def test_a_schedules_learning_rate_cannot_be_set() -> None:
    optimizer = SGD(ExponentialDecay(0.5, 1, 0.5))
    assert optimizer.learning_rate == 0.5
    optimizer.iterations = 2
    assert optimizer.learning_rate == 0.125 and optimizer.scalars(1)[0] == 0.25
    with pytest.raises(TypeError, match="hence its learning rate is not settable"):
        optimizer.learning_rate = 0.1
    assert optimizer.get_state() == {}
    optimizer.learning_rate = ExponentialDecay(0.1, 1, 1.0)
    assert optimizer.learning_rate == 0.1


def test_clipvalue_bounds_each_value() -> None:
    optimizer = SGD(1.0, clipvalue=0.5)
    w, g = np.zeros(4, np.float32), np.array([2.0, -2.0, 0.25, -0.5], np.float32)
    assert step(optimizer, w, g, optimizer.initial_slots(4), 0)[0].tolist() == [-0.5, 0.5, -0.25, 0.5]


def test_norms_are_clipped_by_whoever_knows_the_weights() -> None:
    for optimizer in (SGD(1.0, clipnorm=0.5), SGD(1.0, global_clipnorm=0.5)):
        scalars = optimizer.scalars(0)
        assert scalars[distnn.optimizers.base.kernels.GRADIENT_SCALE] == 1.0
        assert scalars[distnn.optimizers.base.kernels.CLIP_VALUE] == math.inf


def test_adams_correction_survives_many_steps() -> None:
    assert Adam(0.5).scalars(10**7)[distnn.optimizers.base.kernels.ALPHA] == 0.5


def test_the_fingerprint_sees_every_value() -> None:
    optimizer = SGD(0.1, momentum=0.9)
    w, g = gradients(8, 2)
    slots = optimizer.initial_slots(8)
    prints = {step(optimizer, w, g, slots, 0)[2]}
    for i in range(8):
        changed = w.copy()
        changed[i] += 1
        prints.add(step(optimizer, changed, g, slots, 0)[2])
        moved = slots.copy()
        moved[0, i] += 1
        prints.add(step(optimizer, w, g, moved, 0)[2])
    assert len(prints) == 17


@pytest.mark.parametrize(
    "module",
    [
        "adadelta",
        "adafactor",
        "adagrad",
        "adam",
        "adamax",
        "ftrl",
        "lamb",
        "lion",
        "nadam",
        "rmsprop",
        "sgd",
    ],
)
def test_examples_in_the_docstrings(module: str) -> None:
    assert doctest.testmod(getattr(distnn.optimizers, module)).failed == 0
