from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from distnn.data import ArrayData, MinMax, Preprocessor, Standardize, fit_preprocessor
from distnn.data.csv import read_csv
from distnn.data.preprocessing import count_classes, one_hot
from distnn.errors import DataError


def test_standardize_by_hand() -> None:
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    fitted = Standardize.fit(x)
    assert fitted.mean.tolist() == [2.0, 5.0] and fitted.deviation.tolist() == [1.0, 1.0]
    result = fitted.transform(x)
    assert result.dtype == np.float32 and result.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_minmax_by_hand() -> None:
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert MinMax.fit(x).transform(np.array([[2.0, 6.0]])).tolist() == [[0.5, 1.0]]


def test_two_passes_survive_a_large_offset() -> None:
    x = 1e9 + np.arange(10.0)[:, None]
    assert Standardize.fit(x).deviation[0] == pytest.approx(np.std(np.arange(10.0)), rel=1e-12)
    assert Standardize.fit(x).transform(x)[:, 0] == pytest.approx((np.arange(10) - 4.5) / np.std(range(10)))


def test_small_integers_and_images(rng_array: np.ndarray) -> None:
    fitted = Standardize.fit(rng_array)
    flat = rng_array.reshape(len(rng_array), -1).astype(np.float64)
    assert fitted.mean.shape == (8, 8)
    np.testing.assert_allclose(fitted.mean.ravel(), flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation.ravel(), flat.std(axis=0), rtol=1e-12)


@pytest.fixture
def rng_array() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 17, (500, 8, 8), dtype=np.uint8)


def test_many_blocks_equal_one(monkeypatch: pytest.MonkeyPatch, rng_array: np.ndarray) -> None:
    whole = MinMax.fit(rng_array), Standardize.fit(rng_array)
    monkeypatch.setattr("distnn.data.preprocessing._CHUNK_VALUES", 640)
    for one, many in zip(whole, (MinMax.fit(rng_array), Standardize.fit(rng_array)), strict=True):
        np.testing.assert_allclose(one.transform(rng_array), many.transform(rng_array), rtol=1e-6, atol=1e-6)


def test_transform_refuses_other_shapes() -> None:
    with pytest.raises(DataError, match=r"samples of shape \(3,\): normalisation was fitted on \(2,\)"):
        Standardize.fit(np.zeros((2, 2))).transform(np.zeros((2, 3)))


@pytest.mark.parametrize("normalize", ["standard", "minmax", None])
def test_config_round_trip_gives_the_same_bytes(normalize: str | None) -> None:
    x = np.random.default_rng(1).normal(size=(50, 7)) * 1e3
    fitted = fit_preprocessor(ArrayData((x,)), normalize=normalize)
    again = Preprocessor.from_config(json.loads(json.dumps(fitted.to_config())))
    assert fitted.transform_inputs((x,))[0].tobytes() == again.transform_inputs((x,))[0].tobytes()
    assert again.to_config() == fitted.to_config()


def test_one_hot_columns_are_not_normalised(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,c,y\n1,u,p\n3,v,q\n5,u,p\n")
    data, columns = read_csv(path, target="y")
    fitted = fit_preprocessor(data, columns=columns, normalize="standard", one_hot_classes=2)
    ready = fitted.transform(data)
    assert ready.x[0][:, 1:].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert ready.x[0][1, 0] == 0.0
    assert ready.y[0].tolist() == [[1, 0], [0, 1], [1, 0]]
    again = Preprocessor.from_config(json.loads(json.dumps(fitted.to_config())))
    assert again.class_names == ("p", "q")
    new = again.read_csv(path, needs_target=True)
    assert again.transform(new).digest() == ready.digest()


def test_without_normalisation_only_float64_changes() -> None:
    data = ArrayData((np.zeros((2, 2)), np.zeros(2, np.uint8)), (np.zeros(2, np.int32), np.zeros(2)))
    ready = fit_preprocessor(data).transform(data)
    assert [a.dtype for a in (*ready.x, *ready.y)] == ["float32", "uint8", "int32", "float32"]


def test_unknown_normalisation() -> None:
    with pytest.raises(DataError, match="'standart': expected one of .*Did you mean 'standard'"):
        fit_preprocessor(ArrayData((np.zeros((2, 2)),)), normalize="standart")
    with pytest.raises(DataError, match="one input. Received: 2 inputs"):
        fit_preprocessor(ArrayData((np.zeros(2), np.zeros(2))), normalize="standard")


def test_read_csv_needs_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not trained on a table"):
        Preprocessor().read_csv(tmp_path / "x.csv", needs_target=False)


def test_one_hot() -> None:
    assert one_hot(np.array([1, 0]), 2).tolist() == [[0, 1], [1, 0]]
    assert one_hot(np.array([[1.0], [0.0]]), 3).shape == (2, 3)
    assert one_hot(np.eye(3), 3).tolist() == np.eye(3).tolist()
    assert count_classes(np.array([0, 4, 2], np.uint8)) == 5
    with pytest.raises(DataError, match="label 2 at row 1: expected 0 to 1, for 2 classes"):
        one_hot(np.array([0, 2]), 2)
    with pytest.raises(DataError, match="label -1 at row 0: expected 0 to 1, for 2 classes \\(no, yes\\)"):
        one_hot(np.array([-1, 0]), 2, ("no", "yes"))
    with pytest.raises(DataError, match="value 0.5 at row 1: class indices must be whole"):
        one_hot(np.array([0, 0.5]), 2)
    with pytest.raises(DataError, match="expected one class index"):
        one_hot(np.zeros((2, 4)), 2)
