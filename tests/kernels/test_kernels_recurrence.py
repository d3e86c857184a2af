"""Recurrences: on tiles against a loop a student could read, any rows together; sequences' kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels import recurrence, sequences, stepping
from distnn.kernels import recurrent_plans as plans
from distnn.kernels import recurrent_steps as steps
from distnn.kernels.instructions import HAS_TILES
from distnn.kernels.products import product_settings
from distnn.kernels.tiles import PANEL
from distnn.ops.recurrence import Recurrence, RecurrenceGradient
from distnn.tensor import Spec

Array = np.ndarray[Any, np.dtype[Any]]
KINDS = [steps.SIMPLE, steps.LSTM, steps.GRU]
ONE_CALL = (recurrence.run_forward, recurrence.run_backward)
"""What recurrences are on tiles; elsewhere `forward_step` and `backward_step`, with products between."""
needs_tiles = pytest.mark.skipif(not HAS_TILES, reason="tiles need AVX2, FMA and the compiler")


def arguments(kind: int, samples: int, time: int, inputs: int, units: int) -> list[Array]:
    """x, kernel, recurrent kernel, states, bias, mask of a recurrence."""
    rng = np.random.default_rng([kind, samples, time, inputs, units])
    columns = plans.CellKind(kind).columns * units
    shapes: list[tuple[int, ...]] = [(samples, time, inputs), (inputs, columns), (units, columns)]
    shapes += [(samples, units)] * (2 if kind == steps.LSTM else 1)
    shapes.append((2, columns) if kind == steps.GRU else (columns,))
    found = [(0.4 * rng.normal(size=shape)).astype(np.float32) for shape in shapes]
    return [*found, rng.random((samples, time)) < 0.7]


def run(op: Any, inputs: list[Array]) -> list[Array]:
    """All outputs of an op on arrays."""
    specs = op.output_specs(*(Spec(array.shape, array.dtype.name) for array in inputs))
    # Not zeros: what an op does not write must not be read.
    outputs = [np.full(spec.concrete(1), 7, spec.dtype) for spec in specs]
    op.bind(tuple(inputs), tuple(outputs), np.zeros(8, np.int64))()
    return outputs


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def naive(kind: int, given: list[Array]) -> tuple[Array, Array]:
    """Outputs of all steps and the last state, one sample and step at a time, in float64."""
    x, kernel, recurrent, h0, *rest, bias, mask = [array.astype(np.float64) for array in given]
    units = recurrent.shape[0]
    outputs = np.zeros((*x.shape[:2], units))
    last = np.zeros((len(x), units))
    for b in range(len(x)):
        h, shown = h0[b], np.zeros(units)
        c = rest[0][b] if rest else h
        for t in range(x.shape[1]):
            if mask[b, t]:
                if kind == steps.GRU:
                    z, r, a = np.split(x[b, t] @ kernel + bias[0], 3)
                    inner = np.split(h @ recurrent + bias[1], 3)
                    z, r = sigmoid(z + inner[0]), sigmoid(r + inner[1])
                    h = z * h + (1 - z) * np.tanh(a + r * inner[2])
                elif kind == steps.LSTM:
                    i, f, a, o = np.split(x[b, t] @ kernel + bias + h @ recurrent, 4)
                    c = sigmoid(f) * c + sigmoid(i) * np.tanh(a)
                    h = sigmoid(o) * np.tanh(c)
                else:
                    h = np.tanh(x[b, t] @ kernel + bias + h @ recurrent)
                shown = h
            outputs[b, t] = shown
        last[b] = h
    return outputs, last


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("samples", "units"), [(3, 4), (9, 5), (17, 33), (1, 16)])
def test_recurrences_are_their_formulas(kind: int, samples: int, units: int) -> None:
    given = arguments(kind, samples, 5, 3, units)
    y, last, *_ = run(Recurrence(kind, return_sequences=True, has_mask=True), given)
    outputs, state = naive(kind, given)
    np.testing.assert_allclose(y, outputs, atol=3e-6)
    np.testing.assert_allclose(last, state, atol=3e-6)


@needs_tiles
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_agree_with_products_between_the_steps(kind: int) -> None:
    given = arguments(kind, 10, 6, 7, 19)
    op = Recurrence(kind, return_sequences=True, has_mask=True)
    found = run(op, given)
    back = RecurrenceGradient(kind, 0, True, True, False)
    dy, dh = found[0][::-1].copy(), found[1][::-1].copy()

    def backward(outputs: list[Array]) -> list[Array]:
        return run(back, [given[2], *outputs[4:8], dy, dh])

    d = backward(found)
    with product_settings("blas"):
        expected = run(op, given)
        d_expected = backward(expected)
    np.testing.assert_allclose(found[0], expected[0], atol=5e-6)
    gates = plans.CellKind(kind).gates * 19
    np.testing.assert_allclose(d[0][..., :gates], d_expected[0][..., :gates], rtol=1e-4, atol=5e-5)
    np.testing.assert_allclose(d[1], d_expected[1], rtol=1e-4, atol=5e-5)


@needs_tiles
@pytest.mark.parametrize("kind", KINDS)
def test_bits_depend_neither_on_the_rows_nor_on_threads(kind: int) -> None:
    given = arguments(kind, 37, 4, 5, 24)
    op = Recurrence(kind, return_sequences=True, has_mask=True)
    back = RecurrenceGradient(kind, 0, True, False, False)

    def both(inputs: list[Array]) -> tuple[Array, Array, Array]:
        outputs = run(op, inputs)
        d, dh, *_ = run(back, [inputs[2], *outputs[4:8], outputs[0]])
        return outputs[0], d[..., : plans.CellKind(kind).gates * 24], dh

    y, d, dh = both(given)
    with product_settings(threads=3):
        threaded = both(given)
    for one, other in zip((y, d, dh), threaded, strict=True):
        assert one.tobytes() == other.tobytes()
    is_sample = [len(array) == 37 for array in given]
    for first, last in ((0, 1), (3, 5), (8, 17), (36, 37)):
        part = [a[first:last].copy() if own else a for a, own in zip(given, is_sample, strict=True)]
        y_part, d_part, dh_part = both(part)
        assert y_part.tobytes() == y[first:last].tobytes()
        assert np.ascontiguousarray(d_part).tobytes() == np.ascontiguousarray(d[:, first:last]).tobytes()
        assert dh_part.tobytes() == dh[first:last].tobytes()


def test_steps_that_do_not_count_show_what_was_before() -> None:
    mask = np.array([[False, True, False, True], [True, False, False, False]])
    status = np.zeros((4, 2), np.uint8)
    both, shown = sequences.VALID | sequences.SHOWN, sequences.SHOWN
    sequences.step_status(mask, 0, 0, status)
    np.testing.assert_array_equal(status.T, [[0, both, shown, both], [both, shown, shown, shown]])
    sequences.step_status(mask, 1, 0, status)
    np.testing.assert_array_equal(status.T, [[both, shown, both, shown], [0, 0, 0, both]])
    sequences.step_status(mask, 0, 1, status)
    np.testing.assert_array_equal(status.T, [[0, both, 0, both], [both, 0, 0, 0]])
    sequences.step_status(np.zeros((2, 0), np.bool_), 0, 0, status)
    assert (status == both).all()


def test_rows_are_added_in_the_order_of_their_indices() -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 4, 50).astype(np.int32)
    dy = rng.normal(size=(50, 3)).astype(np.float32)
    found, expected = np.full((5, 3), 9, np.float32), np.zeros((5, 3), np.float32)
    sequences.add_rows(index, dy, found)
    for row, values in zip(index, dy, strict=True):
        expected[row] += values
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("is_reversed", [0, 1])
def test_time_goes_first_and_back(is_reversed: int) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    first, back = np.empty((4, 2, 3), np.float32), np.empty_like(x)
    sequences.to_time_major(x, is_reversed, first)
    np.testing.assert_array_equal(first, (x[:, ::-1] if is_reversed else x).transpose(1, 0, 2))
    sequences.from_time_major(first, is_reversed, back)
    np.testing.assert_array_equal(back, x)


def test_a_shard_takes_and_places_its_rows() -> None:
    control = np.zeros(8, np.int64)
    control[5], control[6] = 100, 102
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    rows, placed = np.empty((2, 2), np.float32), np.full((5, 2), 9, np.float32)
    sequences.take_shard_rows(x, control, rows)
    np.testing.assert_array_equal(rows, x[2:4])
    sequences.place_shard_rows(rows, control, placed)
    np.testing.assert_array_equal(placed, [[0, 0], [0, 0], [4, 5], [6, 7], [0, 0]])


def test_single_steps_are_copied_put_and_cleared() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    one, steps = np.empty((2, 3), np.float32), x.copy()
    sequences.copy_step(x, 2, one)
    np.testing.assert_array_equal(one, x[:, 2])
    sequences.put_step(one, 0, steps)
    sequences.clear_step(3, steps)
    np.testing.assert_array_equal(steps[:, 0], one)
    assert not steps[:, 3].any()


def test_rows_outside_the_table_are_not_read() -> None:
    table, out = np.arange(6, dtype=np.float32).reshape(3, 2), np.empty((2, 2), np.float32)
    sequences.take_rows(table, np.array([2, 0], np.int32), out)
    np.testing.assert_array_equal(out, table[[2, 0]])
    for outside in (-1, 3):
        with pytest.raises(RuntimeError, match="outside the table"):
            sequences.take_rows(table, np.array([0, outside], np.int32), out)


def test_the_recurrent_sum_of_a_candidate_stands_apart() -> None:
    """Two gates with one sum for both products, one with two: H = 2."""
    rng = np.random.default_rng(0)
    gates, d = (rng.normal(size=(2, 3, 8)).astype(np.float32) for _ in range(2))
    sums, taken = rng.normal(size=(3, 6)).astype(np.float32), np.empty((3, 6), np.float32)
    expected = gates.copy()
    expected[1, :, :4] += sums[:, :4]
    expected[1, :, 6:] += sums[:, 4:]
    steps.add_recurrent_sums(sums, 1, 4, 2, gates)
    np.testing.assert_array_equal(gates, expected)
    steps.take_recurrent_gradient(d, 1, 4, 2, taken)
    np.testing.assert_array_equal(taken, d[1][:, [0, 1, 2, 3, 6, 7]])


@pytest.mark.parametrize("size", [0, 8, 12])
def test_biases_of_sums_and_their_gradients(size: int) -> None:
    """No bias, one of all sums, or two (of input and recurrent product) of which one part stands apart."""
    rng = np.random.default_rng(0)
    bias, whole = rng.normal(size=size).astype(np.float32), np.empty(8, np.float32)
    steps.whole_bias(bias, 4, 2, whole)
    parts: dict[int, Any] = {0: np.zeros(8), 8: bias}
    if size == 12:
        parts[12] = np.concatenate([bias[:4] + bias[6:10], bias[4:6], bias[10:]])
    np.testing.assert_array_equal(whole, parts[size])
    sums, gates = rng.normal(size=(5, 6)).astype(np.float32), np.empty((5, 10), np.float32)
    steps.add_input_sums(sums, whole, gates)
    np.testing.assert_array_equal(gates[:, :6], sums + whole[:6])
    np.testing.assert_array_equal(gates[:, 6:8], np.broadcast_to(whole[6:], (5, 2)))
    if size:
        d, found = rng.normal(size=(5, 10)).astype(np.float32), np.empty(size, np.float32)
        steps.bias_gradient(d, 4, 2, np.empty(8, np.float32), found)
        total = d[:, :8].sum(axis=0)
        wanted = total if size == 8 else np.concatenate([total[:6], total[:4], total[6:]])
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_small_change() -> None:
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.empty((2, 3), np.float32)
    steps.copy_state(x, y)
    steps.add_state_gradient(x, y)
    np.testing.assert_array_equal(y, 2 * x)
    steps.clear_values(y.reshape(-1))
    assert not y.any()
    counts, word = np.array([4.0, 0.0]), np.empty(1, np.float32)
    stepping.set_quotient(word, 2.0, counts, 0)
    assert word[0] == 0.5
    stepping.set_quotient(word, 2.0, counts, 1)
    assert word[0] == 0.0
    stepping.clear_sums(counts)
    assert not counts.any()


@needs_tiles
@pytest.mark.parametrize(("inner", "columns"), [(3, 5), (16, PANEL), (37, 2 * PANEL + 7)])
def test_panels_hold_a_matrix_or_its_transpose(inner: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(inner, columns + 4)).astype(np.float32)
    width = -(-columns // PANEL) * PANEL
    expected = np.zeros((inner, width), np.float32)
    expected[:, :columns] = w[:, 2 : 2 + columns]
    as_panels = expected.reshape(inner, -1, PANEL).transpose(1, 0, 2)
    panels = np.full(inner * width, 9, np.float32)
    recurrence.pack_panels(w, 2, columns, panels)
    np.testing.assert_array_equal(panels.reshape(-1, inner, PANEL), as_panels)
    turned = np.ascontiguousarray(w[:, 2 : 2 + columns].T)
    panels[:] = 9
    recurrence.pack_transposed(turned, 0, inner, panels)
    np.testing.assert_array_equal(panels.reshape(-1, inner, PANEL), as_panels)
    a, c = rng.normal(size=(11, inner)).astype(np.float32), rng.normal(size=(11, columns)).astype(np.float32)
    wanted = c + a.astype(np.float64) @ expected[:, :columns]
    addresses = [int(array.ctypes.data) for array in (a, panels, c)]
    recurrence.add_panels_product(
        addresses[0], 4 * inner, 11, inner, addresses[1], addresses[2], 4 * columns, columns
    )
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)
