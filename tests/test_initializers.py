from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn import initializers, random_values
from distnn.rng import set_random_seed

KEY = 12345
SHAPE = (200, 300)

# name, expected deviation (None: not checked), bound of the absolute values
RANDOM = [
    (initializers.RandomNormal(mean=0.0, stddev=0.5), 0.5, np.inf),
    (initializers.RandomUniform(-0.2, 0.2), 0.4 / np.sqrt(12), 0.2),
    (initializers.TruncatedNormal(stddev=0.5), 0.5 * 0.8796256610342398, 1.0),
    (initializers.GlorotUniform(), np.sqrt(2 / 500), np.sqrt(6 / 500)),
    (initializers.GlorotNormal(), np.sqrt(2 / 500), 2 * np.sqrt(2 / 500) / 0.8796),
    (initializers.HeUniform(), np.sqrt(2 / 200), np.sqrt(6 / 200)),
    (initializers.HeNormal(), np.sqrt(2 / 200), np.inf),
    (initializers.LecunUniform(), np.sqrt(1 / 200), np.sqrt(3 / 200)),
    (initializers.LecunNormal(), np.sqrt(1 / 200), np.inf),
    (initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"), np.sqrt(3 / 300), np.inf),
]


@pytest.mark.parametrize(("made", "deviation", "bound"), RANDOM, ids=lambda v: type(v).__name__)
def test_distributions(made: Any, deviation: float, bound: float) -> None:
    values = made(SHAPE, key=KEY)
    assert values.shape == SHAPE and values.dtype == np.float32 and values.flags.c_contiguous
    assert abs(values.mean()) < 4 * deviation / np.sqrt(values.size)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(values).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("made", [*(case[0] for case in RANDOM), initializers.Orthogonal()])
def test_values_are_a_function_of_the_key(made: Any) -> None:
    first = made((4, 5), key=1)
    np.random.default_rng().normal()
    assert np.array_equal(first, made((4, 5), key=1))
    assert not np.array_equal(first, made((4, 5), key=2))


@pytest.mark.parametrize("name", ["RandomNormal", "GlorotUniform", "HeNormal", "Orthogonal", "RandomUniform"])
def test_an_own_seed_comes_before_the_key(name: str) -> None:
    made = initializers.INITIALIZERS[name](seed=3)  # type: ignore[call-arg]
    assert np.array_equal(made((3, 3), key=1), made((3, 3), key=2))
    assert np.array_equal(made((3, 3)), made((3, 3)))


def test_without_seed_and_key_values_are_fresh_or_follow_the_global_seed() -> None:
    made = initializers.GlorotUniform()
    assert not np.array_equal(made((3, 3)), made((3, 3)))
    set_random_seed(5)
    first = made((3, 3)), made((3, 3))
    set_random_seed(5)
    second = made((3, 3)), made((3, 3))
    assert np.array_equal(first, second) and not np.array_equal(first[0], first[1])


def test_the_bits_are_fixed() -> None:
    """These must not change with NumPy, libm or the CPU; if they do, `arithmetic_version` has to."""
    state = hashlib.sha256()
    for made in (*(case[0] for case in RANDOM), initializers.Orthogonal()):
        state.update(made((32, 48), key=KEY).tobytes())
    assert state.hexdigest() == "6ea9ed981dccce85ea998708d1aec30ee11e6c7cd418cbb4eaa11b7503fae356"


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (2, 3, 4), (1, 4), (4, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = initializers.Orthogonal(gain=2.0)(shape, dtype="float64", key=KEY).reshape(-1, shape[-1]) / 2.0
    rows, cols = matrix.shape
    product = matrix @ matrix.T if rows < cols else matrix.T @ matrix
    np.testing.assert_allclose(product, np.eye(min(rows, cols)), atol=1e-12)


def test_orthogonal_is_the_qr_of_the_same_normals() -> None:
    bits = np.random.Philox(key=KEY).random_raw(36)
    q, r = np.linalg.qr(random_values.normal_values(bits).reshape(6, 6).T)
    np.testing.assert_allclose(
        initializers.Orthogonal()((6, 6), dtype="float64", key=KEY), q * np.sign(np.diag(r)), atol=1e-12
    )


def test_constants() -> None:
    assert initializers.Zeros()((2, 3)).tolist() == [[0.0] * 3] * 2
    assert initializers.Ones()((2,), dtype="float64").dtype == np.float64
    assert initializers.Constant(2.5)((2,)).tolist() == [2.5, 2.5]
    assert initializers.Constant([[1, 2]])((1, 2)).tolist() == [[1.0, 2.0]]
    assert initializers.Identity(2.0)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((7,), (7, 7)), ((3, 4), (3, 4)), ((3, 3, 8, 16), (72, 144)), ((5, 2, 6), (10, 30))],
)
def test_fans(shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert initializers.compute_fans(shape) == fans


@pytest.mark.parametrize("name", sorted(initializers.INITIALIZERS))
def test_every_name_can_be_got_and_comes_back_from_its_config(name: str) -> None:
    made = initializers.get(name)
    assert made is not None
    again = initializers.get(json.loads(json.dumps(initializers.serialize(made))))
    assert type(again) is type(made)
    assert np.array_equal(made((3, 4), key=7), again((3, 4), key=7))
    assert type(made.clone()) is type(made)


def test_get_passes_objects_on() -> None:
    made = initializers.HeNormal(seed=1)
    assert (
        initializers.get(made) is made
        and initializers.get(None) is None
        and initializers.serialize(None) is None
    )
    assert isinstance(initializers.get(initializers.Zeros), initializers.Zeros)
    assert initializers.get(np.ones((2,), np.float32))((2,)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: initializers.get("glorot_unifrom"),
            "Could not interpret initializer identifier: glorot_unifrom. Did you mean 'glorot_uniform'?",
        ),
        (lambda: initializers.get(3), "Could not interpret initializer identifier: 3"),
        (lambda: initializers.VarianceScaling(scale=-1), "must be positive float. Received: scale=-1"),
        (lambda: initializers.VarianceScaling(mode="x"), "Invalid `mode` argument: x. Please use one of"),
        (lambda: initializers.VarianceScaling(distribution="x"), "Invalid `distribution` argument: x."),
        (lambda: initializers.HeNormal(seed=1.5), "`seed` must be an integer or None. Received: seed=1.5"),
        (
            lambda: initializers.Identity()((3,)),
            "can only be used for 2D matrices. Received: shape=(3,) of rank 1.",
        ),
        (lambda: initializers.Orthogonal()((3,)), "must be at least two-dimensional. Received: shape=(3,)"),
        (lambda: initializers.Constant([1, 2])((3,)), "Expected `shape` to be (2,)"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_users_initializers_need_not_know_of_keys() -> None:
    class Ramp(initializers.Initializer):
        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            return np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)

    made = initializers.get(Ramp())
    assert made is not None and made((2, 2), dtype="float32", key=5).tolist() == [[0, 1], [2, 3]]
    assert made((2,), key=5).dtype == np.float32
    function = initializers.get(lambda shape, dtype: np.full(shape, 3, dtype))
    assert function is not None and function((2,), key=1).tolist() == [3, 3]
    with pytest.raises(ValueError, match="the initializer <lambda> is your own and has no name"):
        function.get_config()


def test_normal_quantile_against_known_values() -> None:
    p = np.array([1e-300, 1e-10, 0.001, 0.025, 0.07, 0.1, 0.5, 0.9, 0.975, 0.999])
    expected = [-37.0471, -6.3613409, -3.0902323061678, -1.9599639845401, -1.4757910281791, -1.2815515655446]
    expected += [0.0, 1.2815515655446, 1.9599639845401, 3.0902323061678]
    np.testing.assert_allclose(random_values.normal_quantile(p), expected, rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(random_values.normal_quantile(p)[2:], expected[2:], rtol=1e-13, atol=1e-15)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
def test_logarithm(values: list[float]) -> None:
    x = np.array(values)
    np.testing.assert_allclose(random_values.logarithm(x), np.log(x), rtol=1e-15, atol=1e-16)


def test_the_ends_of_the_bits_stay_finite() -> None:
    bits = np.array([0, 2**64 - 1], np.uint64)
    uniform = random_values.uniform_values(bits)
    assert uniform.tolist() == [2.0**-53, 1.0 - 2.0**-53]
    assert np.isfinite(random_values.normal_values(bits)).all()
    assert np.abs(random_values.truncated_normal_values(bits)).max() <= 2.0
