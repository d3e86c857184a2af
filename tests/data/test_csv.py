from __future__ import annotations

import csv
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distnn.data.csv import TableColumns, read_csv, read_csv_as
from distnn.errors import DataError


def write(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_numeric_and_categorical_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "age,colour,label\n1.5,red,b\n2,blue,a\n3,red,b\n")
    data, columns = read_csv(path, target="label")
    assert columns.feature_names == ("age", "colour=blue", "colour=red")
    assert columns.numeric_mask == (True, False, False)
    assert columns.class_names == ("a", "b")
    assert data.x[0].dtype == np.float64
    assert data.x[0].tolist() == [[1.5, 0, 1], [2, 1, 0], [3, 0, 1]]
    assert data.y[0].dtype == np.int32 and data.y[0].tolist() == [1, 0, 1]


def test_numeric_targets(tmp_path: Path) -> None:
    whole, columns = read_csv(write(tmp_path, "a,y\n1,2\n2,0\n"), target="y")
    assert whole.y[0].dtype == np.int32 and columns.class_names is None
    broken, _ = read_csv(write(tmp_path, "a,y\n1,2.5\n2,0\n"), target="y")
    assert broken.y[0].tolist() == [2.5, 0.0]


def test_named_categorical_sorts_numbers_as_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "zip,y\n10,1\n2,0\n10,0\n")
    data, columns = read_csv(path, target="y", categorical=["zip", "y"])
    assert columns.features[0].categories == ("2", "10")
    assert data.x[0].tolist() == [[0, 1], [1, 0], [0, 1]]
    assert columns.class_names == ("0", "1")


def test_reads_quotes_bom_crlf_blank_lines_and_other_delimiters(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeffa;"the ""b"""\r\n\r\n 1 ; 2\r\n"3";4\r\n')
    data, columns = read_csv(path, delimiter=";")
    assert columns.feature_names == ("a", 'the "b"')
    assert data.x[0].tolist() == [[1, 2], [3, 4]] and data.y == ()


def test_drop_leaves_columns_out(tmp_path: Path) -> None:
    data, columns = read_csv(write(tmp_path, "id,a\nx1,1\n,2\n"), drop=["id"])
    assert columns.feature_names == ("a",) and data.x[0].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty, expected a header line"),
        ("a,b\n", "has a header but no rows"),
        ("1,2\n3,4\n", "line 1 holds only numbers (1, 2)"),
        ("a,b\n1\n", "line 2 has 1 values, the header has 2 columns"),
        ("a,b\n1,2\n\n1,2,3\n", "line 4 has 3 values, the header has 2 columns"),
        ("a,b,a\n1,2,3\n", "column name 'a' occurs twice in the header (columns 1 and 3)"),
        ("a,,c\n1,2,3\n", "column 2 of the header has no name"),
        ("a,b\n1,\n", "line 2, column 'b': missing value (empty)"),
        ("a,b\n1,2\n1,NaN\n", "line 3, column 'b': missing value ('NaN')"),
        ("a,b\n1,x\n1,?\n", "line 3, column 'b': missing value ('?')"),
        ("a,b\n1,2\nx,2\n", "line 3, column 'a': 'x' is not a number"),
        ('a,b\n1,2\n"1,5",2\n', "decimal commas are not read"),
        ("a,b\n1,2\n1_000,2\n", "line 3, column 'a': '1_000' is not a number"),
        ("a,b\n1,2\ninf,2\n", "line 3, column 'a': 'inf' is not a finite number"),
        ("a;b\n1;2\n", "only one column was found with delimiter ','; the header has ';'"),
        (b"a,b\n1,2\n1,\xff\n", "not UTF-8 text"),
        (b"\x00\x01\x02\xfe\xff" * 50, "not readable as CSV"),
        ('a,b\n1,"2\n', "not readable as CSV"),
        ("a,b\n1," + "9" * 200_000 + "\n", "field larger than field limit"),
    ],
)
def test_refusals_name_file_line_and_column(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_csv(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_a_record_over_two_lines_is_named_by_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 4, column 'b': missing"):
        read_csv(write(tmp_path, 'a,b\n"x\ny",1\nz,\n'))


def test_unknown_columns_get_a_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, "age,label\n1,2\n")
    with pytest.raises(
        DataError, match="no column 'labl'. Did you mean 'label'\\? The header has: age, label"
    ):
        read_csv(path, target="labl")
    with pytest.raises(DataError, match="no column 'x'"):
        read_csv(path, drop=["x"])
    with pytest.raises(DataError, match="no columns are left as features"):
        read_csv(path, target="label", drop=["age"])


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_csv(tmp_path)


def test_reads_another_file_by_names(tmp_path: Path) -> None:
    _, columns = read_csv(write(tmp_path, "a,c,y\n1,red,no\n2,blue,yes\n"), target="y")
    columns = TableColumns.from_config(columns.to_config())
    other = write(tmp_path, "id,c,a\n7,red,5\n", "new.csv")
    data = read_csv_as(other, columns, needs_target=False)
    assert data.x[0].tolist() == [[5, 0, 1]] and data.y == ()
    with pytest.raises(DataError, match="columns missing: y"):
        read_csv_as(other, columns, needs_target=True)
    labelled = write(tmp_path, "y,c,a\nyes,red,5\n", "labelled.csv")
    assert read_csv_as(labelled, columns, needs_target=False).y[0].tolist() == [1]
    with pytest.raises(DataError, match="line 2, column 'c': 'rad' is not one of the categories .*'red'"):
        read_csv_as(write(tmp_path, "a,c\n1,rad\n", "bad.csv"), columns, needs_target=False)


name = st.text(string.ascii_letters + "_ ü,;\"'", min_size=1, max_size=6).map(str.strip).filter(bool)
category = st.text(string.ascii_letters + " ,\"'", min_size=1, max_size=4).map(lambda s: "k" + s.strip())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.data())
def test_what_is_written_is_read(tmp_path: Path, data: st.DataObject) -> None:
    names = data.draw(st.lists(name, min_size=2, max_size=5, unique=True))
    kinds = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    row = st.tuples(*(finite if numeric else category for numeric in kinds))
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    path = tmp_path / "h.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    read, columns = read_csv(path)
    at = 0
    for i, column in enumerate(columns.features):
        part = read.x[0][:, at : at + column.width]
        at += column.width
        if kinds[i]:
            assert part[:, 0].tolist() == [r[i] for r in rows]
        else:
            assert [column.categories[int(k)] for k in part.argmax(axis=1)] == [r[i] for r in rows]
            assert part.sum() == len(rows)
    assert np.array_equal(read_csv_as(path, columns, needs_target=False).x[0], read.x[0])
