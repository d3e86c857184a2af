"""Sources of data as a spec names them: builtin sets, .npz, .npy pairs, .csv, and `python:module:function`.

Loading happens once, in the process that drives a run; arrays are what is shipped from there. Errors name the
file, what was found in it, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distnn.data.arrays import ArrayData, as_array_data
from distnn.data.csv import TableColumns, read_csv
from distnn.data.python_loader import call_loader, split_name
from distnn.errors import DataError
from distnn.naming import did_you_mean

BUILTIN = ("digits",)
SUFFIXES = (".npz", ".npy", ".csv")


@dataclass(frozen=True)
class LoadedData:
    """What a source held.

    Args:
        train: the data, or its training part where the source brings a test part of its own.
        test: the source's own test part, or None.
        columns: what the columns of a table are, or None.
    """

    train: ArrayData
    test: ArrayData | None = None
    columns: TableColumns | None = None


@dataclass(frozen=True)
class SourceOptions:
    """What a source needs beyond its name.

    Args:
        labels: for .npy: the file with the targets, relative to the spec.
        target: for .csv: the column to predict.
        categorical: for .csv: columns to take as names though they look like numbers.
        drop: for .csv: columns to leave out.
        delimiter: for .csv.
        loader: for `python:`: keyword arguments of the function.
    """

    labels: str | None = None
    target: str | None = None
    categorical: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    delimiter: str = ","
    loader: Mapping[str, Any] = field(default_factory=dict)


def load_source(source: str, *, base_dir: Path, options: SourceOptions | None = None) -> LoadedData:
    """Load the data a spec names.

    Args:
        source: `builtin:NAME`, a path of a .npz, .npy or .csv file, or `python:MODULE:FUNCTION`.
        base_dir: paths and modules are looked for here (the folder of the spec).
        options: for the kinds of source that need them.

    Returns:
        Checked arrays; float64 is kept, so a `Preprocessor` must follow.
    """
    options = options or SourceOptions()
    _check_options(source, options)
    if source.startswith("builtin:"):
        return _load_builtin(source.removeprefix("builtin:"))
    if source.startswith("python:"):
        return _from_loader(source, call_loader(source, base_dir, options.loader))
    path = _resolve(source, base_dir)
    if path.suffix == ".npz":
        return _load_npz(path)
    if path.suffix == ".npy":
        return _load_npy_pair(path, options, base_dir)
    data, columns = read_csv(
        path,
        target=options.target,
        categorical=options.categorical,
        drop=options.drop,
        delimiter=options.delimiter,
    )
    return LoadedData(data, columns=columns)


def source_files(source: str, *, base_dir: Path, options: SourceOptions | None = None) -> tuple[Path, ...]:
    """The files a source consists of, unread; for a python source the module's own file, not imported."""
    if source.startswith("builtin:"):
        return ()
    if source.startswith("python:"):
        module, _ = split_name(source)
        parts = module.split(".")
        candidates = [base_dir.joinpath(*parts).with_suffix(".py"), base_dir.joinpath(*parts, "__init__.py")]
        return tuple(path for path in candidates if path.is_file())
    paths = [_resolve(source, base_dir)]
    if options is not None and options.labels is not None:
        paths.append(_resolve(options.labels, base_dir))
    return tuple(paths)


def _check_options(source: str, options: SourceOptions) -> None:
    is_csv, is_npy = source.endswith(".csv"), source.endswith(".npy")
    if options.labels is not None and not is_npy:
        raise DataError(f"`labels` names the targets of a .npy source. Received: source = {source!r}")
    for_csv = options.target is not None or options.categorical or options.drop or options.delimiter != ","
    if for_csv and not is_csv:
        raise DataError(
            "`target`, `categorical`, `drop` and `delimiter` are for .csv sources. "
            f"Received: source = {source!r}"
        )
    if options.loader and not source.startswith("python:"):
        raise DataError(f"`options` are for 'python:MODULE:FUNCTION' sources. Received: source = {source!r}")


def _resolve(source: str, base_dir: Path) -> Path:
    path = (base_dir / Path(source).expanduser()).absolute()
    if path.suffix not in SUFFIXES:
        raise DataError(
            f"data source {source!r} is not known: expected 'builtin:NAME' ({', '.join(BUILTIN)}), "
            f"a file ending in {', '.join(SUFFIXES)}, or 'python:MODULE:FUNCTION'"
        )
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a {path.suffix} file")
    if not path.exists():
        beside = sorted(p.name for p in path.parent.glob(f"*{path.suffix}")) if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file.{did_you_mean(path.name, beside)}")
    return path


def _load_builtin(name: str) -> LoadedData:
    if name not in BUILTIN:
        raise DataError(
            f"there is no builtin data set '{name}': expected one of {', '.join(BUILTIN)}."
            f"{did_you_mean(name, BUILTIN)}"
        )
    from distnn.datasets import digits

    x, y = digits.load_all()
    return LoadedData(as_array_data(x.reshape(len(x), -1), y))


def _load_npz(path: Path) -> LoadedData:
    with _np_load(path) as arrays:
        if isinstance(arrays, np.ndarray):
            raise DataError(f"{path}: is not a .npz archive (it holds a single array, as a .npy file does)")
        keys = set(arrays)
        if {"x", "y"} <= keys:
            return LoadedData(_arrays_of(path, arrays, "x", "y", "sample_weight"))
        if {"x_train", "y_train"} <= keys:
            test = None
            if {"x_test", "y_test"} <= keys:
                test = _arrays_of(path, arrays, "x_test", "y_test", None)
            return LoadedData(_arrays_of(path, arrays, "x_train", "y_train", "sample_weight"), test)
    raise DataError(
        f"{path}: holds the arrays {sorted(keys)}: expected x and y (and perhaps sample_weight), "
        "or x_train and y_train (and perhaps x_test and y_test)"
    )


def _arrays_of(path: Path, arrays: Any, x: str, y: str, weight: str | None) -> ArrayData:
    members: list[Any] = []
    for key in (x, y, weight):
        if key is None or key not in arrays:
            members.append(None)
            continue
        try:
            members.append(arrays[key])
        except Exception as error:
            raise DataError(f"{path}: array '{key}' cannot be read: {_reason(error)}") from error
    return _checked(str(path), *members)


def _load_npy_pair(path: Path, options: SourceOptions, base_dir: Path) -> LoadedData:
    if options.labels is None:
        raise DataError(f"{path}: a .npy source needs a second file with the targets: set `labels`")
    labels = _resolve(options.labels, base_dir)
    pair: list[Any] = []
    for file in (path, labels):
        with _np_load(file) as value:
            if not isinstance(value, np.ndarray):
                raise DataError(f"{file}: is a .npz archive, expected a .npy file with one array")
            pair.append(value)
    return LoadedData(_checked(f"{path} and {labels.name}", pair[0], pair[1], None))


@contextmanager
def _np_load(path: Path) -> Iterator[Any]:
    """What `np.load` makes of the file; the file is open meanwhile, as archives are read on demand."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        try:
            loaded: Any = np.load(file, allow_pickle=False)
        except Exception as error:
            raise DataError(f"{path}: cannot be read as {path.suffix}: {_reason(error)}") from error
        yield loaded


def _reason(error: Exception) -> str:
    text = str(error)
    if "allow_pickle" in text:
        return "it holds Python objects (pickle), which are never read; save plain number arrays"
    return text or type(error).__name__


def _checked(place: str, x: Any, y: Any, weight: Any) -> ArrayData:
    try:
        return as_array_data(x, y, weight, keep_float64=True)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _from_loader(source: str, result: Any) -> LoadedData:
    if isinstance(result, ArrayData):
        return LoadedData(result)
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise DataError(
            f"{source}: the loader returned {_described(result)}: expected (x, y), (x, y, sample_weight) "
            "or ((x_train, y_train), (x_test, y_test))"
        )
    if len(result) == 2 and all(isinstance(part, tuple) and len(part) == 2 for part in result):
        (x_train, y_train), (x_test, y_test) = result
        return LoadedData(
            _checked(f"{source} (training part)", x_train, y_train, None),
            _checked(f"{source} (test part)", x_test, y_test, None),
        )
    weight = result[2] if len(result) == 3 else None
    return LoadedData(_checked(source, result[0], result[1], weight))


def _described(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
