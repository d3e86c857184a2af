"""A recurrence over all time steps as one op: simple, LSTM and GRU cells.

Forward and backward walk over time inside; the weights' gradients are products over all steps at once.
Letters: B samples, T steps, I inputs, H units, G gates, P columns of a row of gates (`distnn.kernels.
recurrent_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import recurrent_plans as plans
from distnn.kernels import recurrent_steps as steps
from distnn.kernels import sequences
from distnn.kernels.recurrent_plans import CellKind
from distnn.ops.op import Bound, Op
from distnn.tensor import Array, Dim, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]

Y, LAST_H, LAST_C, X, GATES, HS, CS, STATUS = range(8)
"""The recurrence's outputs that others use."""


def _row_columns(cell: CellKind, units: int) -> int:
    """P: rows of gates whose distance is no power of two, which would share sets of the cache."""
    gates = cell.gates * units
    return gates + 16 if gates % 256 == 0 else gates


class Recurrence(Op):
    """(y, last h, last c, ...) from (x, kernel, recurrent kernel, h, [c], [bias], [mask]).

    y: (B, T, H), or (B, H) of the last step. c is there for an LSTM only, and empty otherwise.

    Args:
        kind: `SIMPLE`, `LSTM` or `GRU` of `distnn.kernels.recurrent_steps`.
        activation: of a simple cell.
        return_sequences: y of all steps.
        go_backwards: from the last step to the first; y is in that order.
        zero_output_for_mask: y of masked steps is 0, not what it was.
        has_bias: a bias is given.
        has_mask: a mask (B, T) is given; True: the step counts.
    """

    def __init__(
        self,
        kind: int,
        activation: int = 0,
        return_sequences: bool = False,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        has_bias: bool = True,
        has_mask: bool = False,
    ) -> None:
        self.kind, self.activation = int(kind), int(activation)
        self.return_sequences, self.go_backwards = bool(return_sequences), bool(go_backwards)
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self.has_bias, self.has_mask = bool(has_bias), bool(has_mask)

    @property
    def name(self) -> str:
        return ("simple_recurrence", "lstm_recurrence", "gru_recurrence")[self.kind]

    @property
    def cell(self) -> CellKind:
        return CellKind(self.kind, self.activation)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        x, kernel, recurrent, h = inputs[:4]
        if len(x.shape) != 3 or not all(isinstance(dim, int) for dim in x.shape[1:]):
            raise ValueError(
                f"a recurrence takes (batch, steps, features), the last two known. "
                f"Received: {keras_shape(x.shape)}"
            )
        batch, time, features = x.shape
        units = recurrent.shape[0]
        assert isinstance(time, int) and isinstance(units, int) and isinstance(features, int)
        columns = self.cell.columns * units
        if kernel.shape != (features, columns) or recurrent.shape != (units, columns):
            raise ValueError(
                f"a recurrence of {units} units on {features} features takes kernels of shapes "
                f"{(features, columns)} and {(units, columns)}. Received: {keras_shape(kernel.shape)}, "
                f"{keras_shape(recurrent.shape)}"
            )
        for state in inputs[3 : 5 if self.cell.has_carry() else 4]:
            if state.shape != (batch, units):
                raise ValueError(
                    f"the initial state must have shape {keras_shape((batch, units))}. "
                    f"Received: {keras_shape(state.shape)}"
                )
        return self._specs(batch, time, features, units)

    def _specs(self, batch: Dim, time: int, features: int, units: int) -> tuple[Spec, ...]:
        carry = units if self.cell.has_carry() else 0
        x_floats, h_floats = plans.forward_panel_floats(self.cell, features, units)
        return (
            Spec((batch, time, units) if self.return_sequences else (batch, units)),
            Spec((batch, units)),
            Spec((batch, carry)),
            Spec((time, batch, features)),
            Spec((time, batch, _row_columns(self.cell, units))),
            Spec((time + 1, batch, units)),
            Spec((time + 1, batch, carry)),
            Spec((time, batch), "uint8"),
            Spec((x_floats,)),
            Spec((h_floats,)),
            Spec((batch, self.cell.columns * units)),
            Spec((self.cell.gates * units,)),
        )

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, kernel, recurrent, h = inputs[:4]
        rest = list(inputs[4:])
        c = rest.pop(0) if self.cell.has_carry() else np.zeros((len(x), 0), x.dtype)
        bias = rest.pop(0).reshape(-1) if self.has_bias else np.zeros(0, x.dtype)
        mask = rest.pop(0) if self.has_mask else np.zeros((len(x), 0), np.bool_)
        y, last_h, last_c, x_tm, gates, hs, cs, status, *scratch, whole_bias = outputs
        units = recurrent.shape[0]
        sequence = plans.Sequence(x_tm, gates, hs, cs, status)
        y_BTH = y.reshape(len(x), -1, units) if len(x) else y.reshape(0, 1, units)
        is_reversed = int(self.go_backwards)
        room = (scratch[0], scratch[1], scratch[2])
        calls: list[Bound] = [
            partial(sequences.to_time_major, x, is_reversed, x_tm),
            partial(sequences.step_status, mask, is_reversed, int(self.zero_output_for_mask), status),
            partial(steps.copy_state, h, hs[0]),
            partial(steps.copy_state, c, cs[0]),
            partial(steps.whole_bias, bias, self.cell.kept * units, units, whole_bias),
            *plans.bind_forward(self.cell, sequence, kernel, recurrent, whole_bias, y_BTH, room),
            partial(steps.copy_state, hs[-1], last_h),
            partial(steps.copy_state, cs[-1], last_c),
        ]
        return plans.as_call(calls)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        x, kernel, recurrent, h = inputs[:4]
        carry = self.cell.has_carry()
        op = RecurrenceGradient(self.kind, self.activation, *(doutputs[i] is not None for i in range(3)))
        given = [d for d in doutputs[:3] if d is not None]
        needed = (outputs[i] for i in (GATES, HS, CS, STATUS))
        d, dh, dc, *_ = op(recurrent, *needed, *given)
        dx = InputGradient(self.cell.columns, self.go_backwards)(d, kernel)[0]
        units = recurrent.spec.shape[0]
        assert isinstance(units, int)
        dkernel = KernelGradient([(0, 0)], self.cell.columns * units)(outputs[X], d)
        parts = [(first * units, gate * units) for first, gate in self.cell.recurrent_parts()]
        drecurrent = KernelGradient(parts, self.cell.columns * units)(outputs[HS], d)
        found: list[Tensor | None] = [dx, dkernel, drecurrent, dh]
        if carry:
            found.append(dc)
        if self.has_bias:
            bias = inputs[5 if carry else 4]
            found.append(BiasGradient(self.kind, bias.spec.shape)(d)[0])
        return (*found, *((None,) if self.has_mask else ()))

    def flops(self, inputs: Many[Spec], outputs: Many[Spec], samples: int) -> int:
        return 2 * outputs[X].size(samples) * self._columns(inputs) + 2 * outputs[HS].size(
            samples
        ) * self._columns(inputs)

    def _columns(self, inputs: Many[Spec]) -> int:
        return inputs[1].concrete(1)[1]


class RecurrenceGradient(Op):
    """(d of all sums, dh, dc) from (recurrent kernel, gates, hs, cs, status, those given of dy, dh, dc).

    Args:
        kind, activation: as in the recurrence.
        has_dy, has_dh, has_dc: which gradients of its outputs are given; the others are zero.
    """

    def __init__(self, kind: int, activation: int, has_dy: bool, has_dh: bool, has_dc: bool) -> None:
        self.kind, self.activation = int(kind), int(activation)
        self.has_dy, self.has_dh, self.has_dc = bool(has_dy), bool(has_dh), bool(has_dc)

    @property
    def cell(self) -> CellKind:
        return CellKind(self.kind, self.activation)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        recurrent, gates, hs, cs = inputs[:4]
        units, columns = recurrent.concrete(1)
        batch = hs.shape[1]
        return (
            gates,
            Spec(hs.shape[1:]),
            Spec(cs.shape[1:]),
            Spec((plans.backward_panel_floats(self.cell, units),)),
            Spec((batch, columns)),
            Spec((batch, units)),
        )

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        recurrent, gates, hs, cs, status = inputs[:5]
        given = list(inputs[5:])
        samples, units = hs.shape[1:]
        dy = given.pop(0) if self.has_dy else np.zeros((samples, 0, units), hs.dtype)
        d, dh, dc, *scratch = outputs
        starts: list[Bound] = [
            partial(steps.copy_state, given.pop(0), target)
            if is_given
            else partial(steps.clear_values, target.reshape(-1))
            for is_given, target in ((self.has_dh, dh), (self.has_dc, dc))
        ]
        sequence = plans.Sequence(hs, gates, hs, cs, status)
        dy_BTH = dy.reshape(samples, dy.size // max(1, samples * units), units)
        room = (scratch[0], scratch[1], scratch[2])
        calls = plans.bind_backward(self.cell, sequence, recurrent, dy_BTH, dh, dc, d, room)
        return plans.as_call([*starts, *calls])

    def flops(self, inputs: Many[Spec], outputs: Many[Spec], samples: int) -> int:
        return 2 * inputs[2].size(samples) * inputs[0].concrete(1)[1]


def _start(given: Array | None, target: Array) -> Bound:
    """A call that sets a state's gradient to what is given, or to zero."""
    if given is None:
        return partial(steps.clear_values, target.reshape(-1))
    return partial(steps.copy_state, given, target)


class InputGradient(Op):
    """dx (B, T, I) from (d of all sums, kernel).

    Args:
        gates: columns of the kernel, in H.
        go_backwards: the sums' steps are in reverse.
    """

    def __init__(self, gates: int, go_backwards: bool) -> None:
        self.gates, self.go_backwards = int(gates), bool(go_backwards)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        time, batch, _ = inputs[0].shape
        features = inputs[1].shape[0]
        return Spec((batch, time, features)), Spec((time, batch, features))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        d, kernel = inputs
        dx, dx_tm = outputs
        rows = d.reshape(-1, d.shape[2])[:, : kernel.shape[1]]
        product = plans.bind_product(rows, kernel.T, dx_tm.reshape(-1, dx_tm.shape[2]))
        return plans.as_call([product, partial(sequences.from_time_major, dx_tm, int(self.go_backwards), dx)])

    def flops(self, inputs: Many[Spec], outputs: Many[Spec], samples: int) -> int:
        return 2 * outputs[0].size(samples) * inputs[1].concrete(1)[1]


class KernelGradient(Op):
    """The gradient of a kernel from (what it was multiplied with, step by step; d of all sums).

    Args:
        parts: (first column, first sum) of each run of columns.
        columns: of the kernel.
    """

    def __init__(self, parts: Many[tuple[int, int]], columns: int) -> None:
        self.parts, self.columns = [(int(a), int(b)) for a, b in parts], int(columns)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec((inputs[0].shape[2], self.columns))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, d = inputs
        left = x[: len(d)].reshape(-1, x.shape[2])
        rows = d.reshape(-1, d.shape[2])
        ends = [first for first, _ in self.parts[1:]] + [self.columns]
        calls = []
        for (first, gate), end in zip(self.parts, ends, strict=True):
            part = rows[:, gate : gate + end - first]
            calls.append(plans.bind_product(left, part, outputs[0][:, first:end], transpose_a=True))
        return calls[0] if len(calls) == 1 else plans.as_call(calls)

    def flops(self, inputs: Many[Spec], outputs: Many[Spec], samples: int) -> int:
        return 2 * inputs[0].size(samples) * self.columns


class BiasGradient(Op):
    """The gradient of a bias of `shape` from d of all sums."""

    def __init__(self, kind: int, shape: Many[Any]) -> None:
        self.kind, self.shape = int(kind), tuple(shape)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        bias = Spec(self.shape)
        columns, cell = bias.size(1), CellKind(self.kind)
        rows = 2 if len(self.shape) == 2 else 1
        return bias, Spec((cell.gates * (columns // rows // cell.columns),))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        d = inputs[0]
        dbias, sums = outputs
        cell = CellKind(self.kind)
        units = sums.size // cell.gates
        rows = d.reshape(-1, d.shape[2])
        return partial(steps.bias_gradient, rows, cell.kept * units, units, sums, dbias.reshape(-1))
