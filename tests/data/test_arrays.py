from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn.data import ArrayData, as_array_data
from distnn.data.arrays import STORED_DTYPES
from distnn.errors import DataError


class Frame:
    """What a data frame looks like from outside."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)
        self.shape = self._values.shape

    def to_numpy(self) -> Any:
        return self._values


class Exporting:
    """Only `__array__`, as of other libraries' tensors."""

    shape = (2, 2)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.ones((2, 2), dtype or np.float32)


@pytest.mark.parametrize(
    ("given_dtype", "kept"),
    [
        ("bool", "uint8"),
        ("uint8", "uint8"),
        ("int8", "int16"),
        ("int16", "int16"),
        ("uint16", "int32"),
        ("int64", "int32"),
        ("uint64", "int32"),
        ("float16", "float32"),
        ("float64", "float32"),
        (">f8", "float32"),
        (">i2", "int16"),
    ],
)
def test_dtypes_become_few(given_dtype: str, kept: str) -> None:
    data = as_array_data(np.array([[1, 0], [0, 1]], dtype=given_dtype))
    assert data.x[0].dtype == kept and kept in STORED_DTYPES
    assert data.x[0].tolist() == [[1, 0], [0, 1]]


def test_large_integers_become_floats() -> None:
    assert as_array_data(np.array([2**40, 1])).x[0].dtype == np.float32


def test_float64_is_kept_when_asked() -> None:
    assert as_array_data(np.zeros((2, 2)), keep_float64=True).x[0].dtype == np.float64


def test_accepts_lists_frames_and_exporters() -> None:
    assert as_array_data([[1.0, 2.0], [3.0, 4.0]], [0, 1]).y[0].dtype == np.int32
    assert as_array_data(Frame([[1.0], [2.0]]), Frame([0, 1])).num_samples == 2
    assert as_array_data(Exporting()).x[0].shape == (2, 2)


def test_a_list_of_arrays_is_several_inputs() -> None:
    data = as_array_data([np.zeros((3, 2)), np.zeros((3, 4))], np.zeros(3))
    assert [a.shape for a in data.x] == [(3, 2), (3, 4)] and len(data.y) == 1


def test_a_list_of_numpy_scalars_is_one_input() -> None:
    assert as_array_data([np.float32(1), np.float32(2)]).x[0].shape == (2,)


def test_an_array_that_fits_is_not_copied() -> None:
    x = np.zeros((4, 2), np.float32)
    assert as_array_data(x).x[0] is x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 3)), "x holds no samples: its shape is (0, 3)"),
        ([], "x holds no samples"),
        (5.0, "x is a single value (5.0)"),
        ([[1.0], [2.0, 3.0]], "x is not a rectangular array"),
        (["a", "b"], "x holds text (dtype <U1, first: 'a')"),
        (np.array([[1, "red"]], object), "x holds Python objects (first: 'red' at row 0, column 1)"),
        (np.array([[1, None]], object), "x holds Python objects (first: None at row 0, column 1)"),
        (np.array([[1, 2]], object), "x has dtype object though it holds numbers"),
        (np.array([1j]), "x has dtype complex128"),
        (np.array(["2020-01-01"], "M8[D]"), "x has dtype datetime64[D]"),
        (np.zeros(2, [("a", int)]), "x is a structured array with fields ['a']"),
        ({"a": [1]}, "x is a dict (keys ['a'])"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "x has masked values"),
        ([np.zeros((2, 1)), np.array(["a", "b"])], "x[1] holds text"),
    ],
)
def test_refuses_what_cannot_be_trained_on(x: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        as_array_data(x)
    assert message in str(caught.value)


def test_names_the_first_value_that_is_not_finite() -> None:
    x = np.zeros((20, 5))
    x[17, 3], x[18, 0] = np.nan, np.inf
    with pytest.raises(DataError) as caught:
        as_array_data(x)
    assert str(caught.value).startswith(
        "x has a value that is not finite (nan) at row 17, column 3 (2 such values in all):"
    )


def test_names_places_in_other_ranks() -> None:
    x = np.zeros((3, 2, 2), np.float32)
    x[2, 1, 0] = -np.inf
    with pytest.raises(DataError, match=r"\(-inf\) at row 2, position \(1, 0\) \(1 such value in all\)"):
        as_array_data(x)
    with pytest.raises(DataError, match=r"y has a value .* at row 1 "):
        as_array_data(np.zeros(2), np.array([0.0, np.nan]))


def test_finds_a_bad_value_beyond_the_first_chunk() -> None:
    x = np.zeros((9_000, 1_000), np.float32)
    x[8_999, 7] = np.nan
    with pytest.raises(DataError, match="row 8999, column 7"):
        as_array_data(x)


def test_refuses_floats_beyond_float32() -> None:
    with pytest.raises(DataError, match=r"too large for float32 \(1e\+300\) at row 1"):
        as_array_data(np.array([0.0, 1e300]))


def test_cardinality_is_keras_message() -> None:
    with pytest.raises(DataError) as caught:
        as_array_data(np.zeros(3), np.zeros(4), np.zeros(5))
    assert str(caught.value) == (
        "Data cardinality is ambiguous. Make sure all arrays contain the same number of samples. "
        "'x' sizes: 3 'y' sizes: 4 'sample_weight' sizes: 5"
    )


def test_sample_weight_is_float32_by_sample_or_by_step() -> None:
    data = as_array_data(np.zeros(2), None, [[1], [2]])
    assert data.sample_weight is not None and data.sample_weight.dtype == np.float32
    assert data.sample_weight.tolist() == [1.0, 2.0]
    by_step = as_array_data(np.zeros(2), None, np.ones((2, 3))).sample_weight
    assert by_step is not None and by_step.shape == (2, 3)


def test_slice_and_take_keep_the_parts_together() -> None:
    data = as_array_data(np.arange(5), np.arange(5) * 10, np.arange(5))
    part = data.slice(1, 3)
    assert part.x[0].tolist() == [1, 2] and part.y[0].tolist() == [10, 20]
    chosen = data.take(np.array([4, 0]))
    assert chosen.x[0].tolist() == [4, 0] and chosen.sample_weight is not None
    assert chosen.sample_weight.tolist() == [4.0, 0.0]


def test_digest_sees_every_part() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    base = ArrayData((x,), (np.arange(3),))
    others = [
        ArrayData((x.reshape(3, 2, 1),), (np.arange(3),)),
        ArrayData((x,), (np.arange(3, dtype=np.int32),)),
        ArrayData((x,), (np.arange(3) + 1,)),
        ArrayData((x,), ()),
        ArrayData((x, np.arange(3)), ()),
        ArrayData((x,), (np.arange(3),), np.ones(3, np.float32)),
    ]
    assert len({d.digest() for d in [base, *others]}) == 7
    assert base.digest() == ArrayData((x.copy(order="F"),), (np.arange(3),)).digest()
    assert base.digest() == ArrayData((x.astype(">f4"),), (np.arange(3),)).digest()


def test_digest_is_fixed() -> None:
    data = as_array_data(np.array([[1.0, 2.0]]), [1])
    assert data.digest() == "4cd5f463069577d06ee481ebc170d5bd0d814b2c2064c3b3d180bab656f61ad7"


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=8))
def test_either_all_finite_or_refused(rows: list[list[float]]) -> None:
    x = np.array(rows)
    if np.isfinite(x).all():
        assert np.array_equal(as_array_data(x).x[0], x)
    else:
        with pytest.raises(DataError, match=f"{np.count_nonzero(~np.isfinite(x))} such value"):
            as_array_data(x)
