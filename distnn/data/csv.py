"""Tables from CSV files: which column is what, found once and remembered, and the numbers in them.

`read_csv` settles the columns (`TableColumns`) from a training file in one streaming pass; `read_csv_as`
reads another file (for evaluation or prediction) under the same columns. Values are float64; normalisation
and the cast to float32 come later. Every refusal names the file, the line and the column.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from distnn.data.arrays import ArrayData
from distnn.errors import DataError
from distnn.naming import did_you_mean

MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})
"""Spellings of a missing value, in lower case."""

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True)
class Column:
    """One column: its name, and its sorted categories if it is categorical."""

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers a sample gets from it: one, or one for each category."""
        return 1 if self.kind == "numeric" else len(self.categories)

    def to_config(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "categories": list(self.categories)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Column:
        return cls(config["name"], config["kind"], tuple(config["categories"]))


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table: features in the order of the training file, and the target, if any."""

    features: tuple[Column, ...]
    target: Column | None
    delimiter: str = ","

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The name of each number of a sample; `colour=red` for a category."""
        names: list[str] = []
        for column in self.features:
            if column.kind == "numeric":
                names.append(column.name)
            else:
                names.extend(f"{column.name}={category}" for category in column.categories)
        return tuple(names)

    @property
    def numeric_mask(self) -> tuple[bool, ...]:
        """Which numbers of a sample come from numeric columns (the others are zeros and ones)."""
        return tuple(column.kind == "numeric" for column in self.features for _ in range(column.width))

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes of a categorical target."""
        if self.target is None or self.target.kind == "numeric":
            return None
        return self.target.categories

    def to_config(self) -> dict[str, Any]:
        """A JSON-able description."""
        return {
            "features": [column.to_config() for column in self.features],
            "target": None if self.target is None else self.target.to_config(),
            "delimiter": self.delimiter,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TableColumns:
        target = config["target"]
        return cls(
            tuple(Column.from_config(c) for c in config["features"]),
            None if target is None else Column.from_config(target),
            config["delimiter"],
        )


@dataclass
class _Building:
    """A column while its file is read: numbers, or codes of categories in order of appearance."""

    name: str
    index: int
    kind: Kind | None
    numbers: array[float] = field(default_factory=lambda: array("d"))
    codes: array[int] = field(default_factory=lambda: array("l"))
    known: dict[str, int] = field(default_factory=dict)
    fixed: bool = False

    def add(self, text: str, place: _Place) -> None:
        if text.lower() in MISSING:
            shown = f"({text!r})" if text else "(empty)"
            raise DataError(
                f"{place.of(self.name)}: missing value {shown}: fill it in, or drop the row or column"
            )
        if self.kind is None:
            self.kind = "categorical" if _number(text) is None else "numeric"
        if self.kind == "numeric":
            self.numbers.append(self._numeric(text, place))
        elif self.fixed and text not in self.known:
            raise DataError(
                f"{place.of(self.name)}: {text!r} is not one of the categories of the training data "
                f"({_some(list(self.known))}).{did_you_mean(text, self.known)}"
            )
        else:
            self.codes.append(self.known.setdefault(text, len(self.known)))

    def _numeric(self, text: str, place: _Place) -> float:
        value = _number(text)
        if value is None:
            hint = "; decimal commas are not read" if "," in text else ""
            raise DataError(
                f"{place.of(self.name)}: {text!r} is not a number{hint} (the column is numeric; "
                "name it in `categorical` if its values are names)"
            )
        if value in (float("inf"), float("-inf")):
            raise DataError(f"{place.of(self.name)}: {text!r} is not a finite number")
        return value

    def column(self) -> Column:
        if self.kind != "categorical":
            return Column(self.name, "numeric")
        return Column(self.name, "categorical", tuple(sorted(self.known, key=_category_key(self.known))))

    def class_indices(self, categories: Sequence[str]) -> npt.NDArray[np.int32]:
        """For each row, the place of its category in `categories`."""
        position = {name: i for i, name in enumerate(categories)}
        table = np.array([position[name] for name in self.known], dtype=np.int32)
        return table[np.frombuffer(self.codes, dtype=np.dtype("l"))]

    def values(self) -> npt.NDArray[np.float64]:
        return np.frombuffer(self.numbers, dtype=np.float64)


@dataclass
class _Place:
    """Where the reader is."""

    path: Path
    line: int = 1

    def of(self, column: str) -> str:
        return f"{self.path}: line {self.line}, column '{column}'"


def read_csv(
    path: Path,
    *,
    target: str | None = None,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    delimiter: str = ",",
) -> tuple[ArrayData, TableColumns]:
    """Read a training table and settle what its columns are.

    A column is numeric if the first value is a number and not named in `categorical`; else its values are
    names, one-hot encoded in sorted order.

    Args:
        path: a UTF-8 text file with a header line.
        target: the column to predict; None if there is none.
        categorical: columns whose values are names although they look like numbers.
        drop: columns to leave out.
        delimiter: one character.

    Returns:
        The data (x float64, y class indices int32 or float64) and the columns.
    """
    place = _Place(path)
    with _open(path) as file:
        rows = _rows(file, place, delimiter)
        header = _header(rows, place, delimiter)
        for name in (*([] if target is None else [target]), *categorical, *drop):
            _check_column(name, header, path)
        kinds: dict[str, Kind] = dict.fromkeys(categorical, "categorical")
        building = [_Building(name, i, kinds.get(name)) for i, name in enumerate(header) if name not in drop]
        _read_rows(rows, building, len(header), place)
    features = [column for column in building if column.name != target]
    targets = [column for column in building if column.name == target]
    if not features:
        raise DataError(f"{path}: no columns are left as features (columns: {', '.join(header)})")
    settled = tuple(column.column() for column in features)
    columns = TableColumns(settled, targets[0].column() if targets else None, delimiter)
    return _assemble(features, targets, columns), columns


def read_csv_as(path: Path, columns: TableColumns, *, needs_target: bool) -> ArrayData:
    """Read another table under the columns of the training table.

    Columns are found by name, in any order; columns unknown to training are ignored.

    Args:
        path: a UTF-8 text file with a header line.
        columns: as `read_csv` returned them.
        needs_target: whether a missing target column is an error; it is read where it is there.
    """
    place = _Place(path)
    wanted = [*columns.features, *([] if columns.target is None else [columns.target])]
    with _open(path) as file:
        rows = _rows(file, place, columns.delimiter)
        header = _header(rows, place, columns.delimiter)
        missing = [c.name for c in wanted if c.name not in header]
        if columns.target is not None and not needs_target and columns.target.name in missing:
            missing.remove(columns.target.name)
        if missing:
            raise DataError(f"{path}: columns missing: {_some(missing)}. The header has: {_some(header)}")
        building = [
            _Building(
                c.name,
                header.index(c.name),
                c.kind,
                known={name: i for i, name in enumerate(c.categories)},
                fixed=True,
            )
            for c in wanted
            if c.name in header
        ]
        _read_rows(rows, building, len(header), place)
    count = len(columns.features)
    return _assemble(building[:count], building[count:], columns)


def _open(path: Path) -> Any:
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a CSV file")
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _rows(file: Any, place: _Place, delimiter: str) -> Iterator[list[str]]:
    """Rows that are not blank, values stripped; keeps `place` at the line."""
    if len(delimiter) != 1:
        raise DataError(f"the delimiter must be one character. Received: {delimiter!r}")
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise DataError(
                f"{place.path}: line {reader.line_num + 1}: not readable as CSV ({reason})"
            ) from error
        place.line = reader.line_num
        if row:
            yield [value.strip() for value in row]


def _header(rows: Iterator[list[str]], place: _Place, delimiter: str) -> list[str]:
    header = next(rows, None)
    if header is None:
        raise DataError(f"{place.path}: the file is empty, expected a header line with column names")
    if all(_number(name) is not None for name in header):
        raise DataError(
            f"{place.path}: line {place.line} holds only numbers ({_some(header)}), "
            "expected a header line with column names"
        )
    if "" in header:
        raise DataError(
            f"{place.path}: line {place.line}: column {header.index('') + 1} of the header has no name"
        )
    seen: dict[str, int] = {}
    for i, name in enumerate(header):
        if name in seen:
            raise DataError(
                f"{place.path}: line {place.line}: column name '{name}' occurs twice in the header "
                f"(columns {seen[name] + 1} and {i + 1})"
            )
        seen[name] = i
    if len(header) == 1:
        other = next((c for c in ",;\t|" if c != delimiter and c in header[0]), None)
        if other is not None:
            raise DataError(
                f"{place.path}: only one column was found with delimiter {delimiter!r}; "
                f"the header has {other!r}: set the delimiter to it"
            )
    return header


def _check_column(name: str, header: list[str], path: Path) -> None:
    if name not in header:
        raise DataError(
            f"{path}: there is no column '{name}'.{did_you_mean(name, header)} "
            f"The header has: {_some(header)}"
        )


def _read_rows(rows: Iterator[list[str]], building: list[_Building], num_fields: int, place: _Place) -> None:
    num_rows = 0
    for row in rows:
        if len(row) != num_fields:
            raise DataError(
                f"{place.path}: line {place.line} has {len(row)} values, the header has {num_fields} columns"
            )
        num_rows += 1
        for column in building:
            column.add(row[column.index], place)
    if not num_rows:
        raise DataError(f"{place.path}: the file has a header but no rows")


def _assemble(features: list[_Building], targets: list[_Building], columns: TableColumns) -> ArrayData:
    kinds = [column.kind for column in features]
    num_rows = len(features[0].numbers if kinds[0] == "numeric" else features[0].codes)
    x = np.zeros((num_rows, sum(c.width for c in columns.features)), dtype=np.float64)
    at = 0
    for building, column in zip(features, columns.features, strict=True):
        if column.kind == "numeric":
            x[:, at] = building.values()
        else:
            x[np.arange(num_rows), at + building.class_indices(column.categories)] = 1.0
        at += column.width
    if not targets or columns.target is None:
        return ArrayData((x,))
    if columns.target.kind == "categorical":
        return ArrayData((x,), (targets[0].class_indices(columns.target.categories),))
    return ArrayData((x,), (_numeric_target(targets[0].values()),))


def _numeric_target(values: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Class numbers as int32 where every value is a whole number that fits; else float64."""
    if np.all(values == np.floor(values)) and np.all(np.abs(values) < 2**31):
        return values.astype(np.int32)
    return values.copy()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if "_" in text or value != value else value


def _category_key(names: dict[str, int]) -> Any:
    """Sort names as numbers if all are numbers (`2` before `10`), else as text."""
    if all(_number(name) is not None for name in names):
        return lambda name: (_number(name), name)
    return lambda name: name


def _some(names: Sequence[str], limit: int = 12) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names)} in all)"
