"""`ArrayData`: the arrays of a training, checked once, with the samples along axis 0.

What callers hand in (arrays, lists, frames) becomes contiguous arrays of few dtypes; what cannot be trained
on is refused here, with row and column. It is no iterator and no cache: order and shards are index
arithmetic elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn.errors import DataError

Array = npt.NDArray[Any]

STORED_DTYPES = ("uint8", "int16", "int32", "float32")
"""What `as_array_data` leaves in memory; whoever gathers a batch casts to the dtype of the model's input."""

_CHUNK_BYTES = 1 << 24
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class ArrayData:
    """Inputs, targets and weights of the same number of samples.

    Args:
        x: one array for each input of the model.
        y: one array for each target; empty if there are none.
        sample_weight: float32, one value a sample or for each of its steps, or None.
        cuts: where each of its batches ends, for data that came in batches; else empty.
    """

    x: tuple[Array, ...]
    y: tuple[Array, ...] = ()
    sample_weight: Array | None = None
    cuts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_cardinality(self.x, self.y, self.sample_weight)

    @property
    def num_samples(self) -> int:
        return int(self.x[0].shape[0])

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for _, array in self._parts())

    def digest(self) -> str:
        """SHA-256 (hex) over roles, dtypes, shapes, bytes and cuts; the same on every machine."""
        state = hashlib.sha256(b"distnn-data-1\n")
        if self.cuts:
            state.update(f"cuts {self.cuts}\n".encode())
        for role, array in self._parts():
            little = array.dtype.newbyteorder("<")
            state.update(f"{role} {little.str} {array.shape}\n".encode())
            for start, stop in _row_chunks(array):
                chunk = np.ascontiguousarray(array[start:stop], dtype=little)
                state.update(chunk.reshape(-1).view(np.uint8).data)
        return state.hexdigest()

    def slice(self, start: int, stop: int) -> ArrayData:
        """Samples `start` to `stop` (not included), as views."""
        return self._select(slice(start, stop))

    def take(self, indices: npt.NDArray[np.integer[Any]]) -> ArrayData:
        """The samples of `indices`, in that order, copied."""
        return self._select(indices)

    def weighted(self, sample_weight: Array) -> ArrayData:
        """The same with other weights."""
        return replace(self, sample_weight=sample_weight)

    def with_weights(self, shape: tuple[int, ...] | None) -> ArrayData:
        """The same with weights of 1, `shape` for each sample, if it has none; `shape` None: as it is."""
        if shape is None or self.sample_weight is not None:
            return self
        return self.weighted(np.ones((self.num_samples, *shape), np.float32))

    def _select(self, key: Any) -> ArrayData:
        weight = None if self.sample_weight is None else self.sample_weight[key]
        return ArrayData(tuple(a[key] for a in self.x), tuple(a[key] for a in self.y), weight)

    def _parts(self) -> Iterator[tuple[str, Array]]:
        for role, arrays in (("x", self.x), ("y", self.y)):
            for i, array in enumerate(arrays):
                yield f"{role}[{i}]", array
        if self.sample_weight is not None:
            yield "sample_weight", self.sample_weight


def ends_of(batches: Sequence[ArrayData]) -> tuple[int, ...]:
    """Where each of the batches ends, one after another."""
    return tuple(int(end) for end in np.cumsum([batch.num_samples for batch in batches]))


def joined(batches: Sequence[ArrayData]) -> ArrayData:
    """Batches with arrays of the same shapes, one after another, and where each of them ends."""
    ends = ends_of(batches)
    if len(batches) == 1:
        return replace(batches[0], cuts=ends)
    x = tuple(np.concatenate(arrays) for arrays in zip(*(batch.x for batch in batches), strict=True))
    y = tuple(np.concatenate(arrays) for arrays in zip(*(batch.y for batch in batches), strict=True))
    weights = [batch.sample_weight for batch in batches if batch.sample_weight is not None]
    return ArrayData(x, y, np.concatenate(weights) if weights else None, ends)


def as_array_data(
    x: Any, y: Any = None, sample_weight: Any = None, *, keep_float64: bool = False
) -> ArrayData:
    """Check and convert what a caller gave as data.

    Args:
        x: an array, nested lists of numbers or a frame (anything with `to_numpy` or `__array__`);
            a list or tuple of arrays for several inputs.
        y: targets, given in the same ways; None if there are none.
        sample_weight: one number a sample, or for each of its steps `(samples, steps)`, or None.
        keep_float64: leave float64 arrays as they are (for preprocessing, which ends in float32).

    Raises:
        DataError: for empty data, text, objects, values that are not finite, and unequal lengths.
    """
    xs = _as_arrays(x, "x", keep_float64)
    if not xs:
        raise DataError("x is empty: expected at least one array with samples along axis 0")
    ys = () if y is None else _as_arrays(y, "y", keep_float64)
    weight = None if sample_weight is None else _as_sample_weight(sample_weight)
    _check_cardinality(xs, ys, weight)
    if xs[0].shape[0] == 0:
        raise DataError(f"x holds no samples: its shape is {xs[0].shape}")
    return ArrayData(xs, ys, weight)


def _as_arrays(value: Any, name: str, keep_float64: bool) -> tuple[Array, ...]:
    if isinstance(value, Mapping):
        raise DataError(
            f"{name} is a dict (keys {sorted(map(str, value))}): pass a list of arrays "
            f"in the order of the model's {'inputs' if name == 'x' else 'outputs'}"
        )
    if isinstance(value, (list, tuple)) and value and all(_is_array_like(item) for item in value):
        return tuple(_as_array(item, f"{name}[{i}]", keep_float64) for i, item in enumerate(value))
    return (_as_array(value, name, keep_float64),)


def _is_array_like(value: Any) -> bool:
    """Whether an element of a list is an array of its own, rather than a row of numbers or a number."""
    has_array = hasattr(value, "to_numpy") or hasattr(value, "__array__")
    return has_array and len(getattr(value, "shape", ())) > 0


def _as_array(value: Any, name: str, keep_float64: bool) -> Array:
    array = _to_numpy(value, name)
    if array.ndim == 0:
        raise DataError(f"{name} is a single value ({value!r}): expected samples along axis 0")
    return _stored(array, name, keep_float64)


def _to_numpy(value: Any, name: str) -> Array:
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise DataError(f"{name} is a sparse matrix ({type(value).__name__}): pass {name}.toarray()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise DataError(f"{name} has masked values: fill them, or drop their rows, before training")
    try:
        array = np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    except ValueError as error:
        raise DataError(
            f"{name} is not a rectangular array: its rows have different lengths ({error})"
        ) from error
    if array.ndim == 0 and array.dtype.kind == "O":
        raise DataError(
            f"{name} is a {type(value).__name__}: expected an array, nested lists of numbers or a frame, "
            "with the samples along axis 0"
        )
    if array.dtype.kind not in "buif":
        raise DataError(_refused_dtype(array, name))
    return array


def _refused_dtype(array: Array, name: str) -> str:
    allowed = "allowed are numbers (integers, floats, booleans)"
    if array.dtype.kind == "O":
        for index, item in np.ndenumerate(array):
            if not isinstance(item, (int, float, np.number, np.bool_)):
                shown = repr(item)
                shown = shown if len(shown) <= 40 else shown[:37] + "..."
                return f"{name} holds Python objects (first: {shown} at {_place(index)}): {allowed}"
        return f"{name} has dtype object though it holds numbers: convert it, as with .astype('float32')"
    if array.dtype.kind in "US":
        first = np.ravel(array)[0] if array.size else ""
        return f"{name} holds text (dtype {array.dtype}, first: {str(first)!r}): {allowed}"
    if array.dtype.names is not None:
        return f"{name} is a structured array with fields {list(array.dtype.names)}: {allowed}"
    return f"{name} has dtype {array.dtype}: {allowed}"


def _stored(array: Array, name: str, keep_float64: bool) -> Array:
    """The array in one of the stored dtypes (or float64 if kept), checked to be finite."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f":
        target = np.float64 if keep_float64 and size >= 8 else np.float32
        with np.errstate(over="ignore", invalid="ignore"):
            result = np.ascontiguousarray(array, dtype=target)
        _check_finite(result, array, name)
        return result
    if kind == "b" or array.dtype == np.uint8:
        return np.ascontiguousarray(array, dtype=np.uint8)
    if kind == "i" and size <= 2:
        return np.ascontiguousarray(array, dtype=np.int16)
    if array.size and (array.max() > _INT32.max or array.min() < _INT32.min):
        return np.ascontiguousarray(array, dtype=np.float32)
    return np.ascontiguousarray(array, dtype=np.int32)


def _check_finite(result: Array, given: Array, name: str) -> None:
    if result.nbytes <= _CHUNK_BYTES and np.isfinite(result).all():
        return
    first: tuple[int, ...] | None = None
    count = 0
    for start, stop in _row_chunks(result):
        bad = ~np.isfinite(result[start:stop])
        in_chunk = int(np.count_nonzero(bad))
        if in_chunk and first is None:
            index = np.unravel_index(int(np.argmax(bad)), bad.shape)
            first = (start + int(index[0]), *(int(i) for i in index[1:]))
        count += in_chunk
    if first is None:
        return
    value = given[first]
    what = "not finite" if not np.isfinite(value) else f"too large for {result.dtype}"
    raise DataError(
        f"{name} has a value that is {what} ({value}) at {_place(first)} ({count} such "
        f"value{'s' if count > 1 else ''} in all): replace {'them' if count > 1 else 'it'}, "
        "or drop the rows, before training"
    )


def _place(index: tuple[int, ...]) -> str:
    if len(index) == 1:
        return f"row {index[0]}"
    if len(index) == 2:
        return f"row {index[0]}, column {index[1]}"
    return f"row {index[0]}, position {tuple(int(i) for i in index[1:])}"


def _row_chunks(array: Array) -> Iterator[tuple[int, int]]:
    rows = array.shape[0]
    row_bytes = max(1, array.nbytes // max(1, rows))
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, rows, step):
        yield start, min(rows, start + step)


def _as_sample_weight(value: Any) -> Array:
    array = _as_array(value, "sample_weight", keep_float64=False)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return np.ascontiguousarray(array, dtype=np.float32)


def _check_cardinality(x: tuple[Array, ...], y: tuple[Array, ...], weight: Array | None) -> None:
    groups = [("x", x), ("y", y), ("sample_weight", () if weight is None else (weight,))]
    if len({array.shape[0] for _, arrays in groups for array in arrays}) <= 1:
        return
    sizes = " ".join(
        f"'{label}' sizes: {', '.join(str(array.shape[0]) for array in arrays)}"
        for label, arrays in groups
        if arrays
    )
    raise DataError(
        "Data cardinality is ambiguous. Make sure all arrays contain the same number of samples. " + sizes
    )
