"""Connectionist temporal classification: `ctc_loss` and `ctc_decode`.

Letters: B samples, T steps, K classes, L labels, S places of an alignment (`distnn.kernels.ctc`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import ctc as kernels
from distnn.ops.arguments import operand, shape_of
from distnn.ops.comparison import cast
from distnn.ops.op import Bound, Op
from distnn.ops.shapes import reshape, transpose
from distnn.ops.softmax import log_softmax
from distnn.tensor import Array, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


class CtcLoss(Op):
    """(loss (B,), alpha) from log-probabilities (B, T, K), labels (B, L), label lengths and steps (B,).

    Args:
        blank: the class that stands for no label.
    """

    def __init__(self, blank: int) -> None:
        self.blank = int(blank)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        logp, label, labels, steps = inputs
        if logp.rank != 3 or label.rank != 2 or labels.rank != 1 or steps.rank != 1:
            raise ValueError(
                "CTC takes predictions (batch, steps, classes), labels (batch, labels) and a length for each "
                f"of both (batch,). Received: shapes {', '.join(str(keras_shape(s.shape)) for s in inputs)}"
            )
        if len({spec.shape[0] for spec in inputs}) != 1:
            raise ValueError(
                "predictions, labels and lengths must be of the same samples. Received: shapes "
                f"{', '.join(str(keras_shape(spec.shape)) for spec in inputs)}"
            )
        batch, time, classes = logp.shape
        _check_blank(self.blank, classes)
        places = 2 * _known(label.shape[1], "labels") + 1
        return Spec((batch,), logp.dtype), Spec((batch, _known(time, "steps"), places), logp.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        logp, label, labels, steps = inputs
        return partial(kernels.ctc_forward, logp, label, labels, steps, self.blank, outputs[0], outputs[1])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        logp, label, labels, steps = inputs
        loss, alpha = outputs
        dlogp, _ = CtcGradient(self.blank)(label, labels, steps, logp, alpha, loss, doutputs[0])
        return dlogp, None, None, None

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 80 * outputs[1].size(samples)


class CtcGradient(Op):
    """(dlogp, scratch) from (labels, lengths, steps, log-probabilities, alpha, loss, dloss)."""

    def __init__(self, blank: int) -> None:
        self.blank = int(blank)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        logp, alpha = inputs[3], inputs[4]
        return logp, Spec((2, alpha.shape[2]), logp.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        dlogp, beta = outputs
        label, labels, steps, logp, alpha, loss, dloss = inputs
        given = (label, labels, steps, self.blank, logp, alpha, loss, dloss)
        return partial(kernels.ctc_backward, *given, beta, dlogp)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 100 * inputs[4].size(samples)


class CtcGreedyDecode(Op):
    """(paths (B, T), scores (B,)) from (logits, steps)."""

    def __init__(self, merges: bool, blank: int) -> None:
        self.merges, self.blank = bool(merges), int(blank)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        batch, time, classes = _decoded_shape(inputs)
        _check_blank(self.blank, classes)
        return Spec((batch, time), "int32"), Spec((batch,), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, steps = inputs
        return partial(kernels.ctc_greedy, x, steps, self.merges, self.blank, outputs[0], outputs[1])


class CtcBeamSearch(Op):
    """(paths (B, P, T), scores (B, P)) from (log-probabilities, steps).

    Args:
        width: how many series are kept at each step.
        paths: P, how many are given.
        blank: the class that stands for no label.
    """

    def __init__(self, width: int, paths: int, blank: int) -> None:
        self.width, self.paths, self.blank = int(width), int(paths), int(blank)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        batch, time, classes = _decoded_shape(inputs)
        _check_blank(self.blank, classes)
        return Spec((batch, self.paths, time), "int32"), Spec((batch, self.paths), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        (logp, steps), width = inputs, self.width
        tree = np.zeros((5, 1 + logp.shape[1] * width), np.int64)
        ends, scores = np.zeros((4, width), logp.dtype), np.zeros(width, logp.dtype)
        nodes, choice = np.zeros((2, width), np.int64), np.zeros((2, width), np.int64)
        given = (logp, steps, self.blank, tree, nodes, ends, scores, choice)
        return partial(kernels.ctc_beam_search, *given, outputs[0], outputs[1])


def _known(dim: Any, what: str) -> int:
    if not isinstance(dim, int):
        raise ValueError(f"CTC needs a known number of {what}. Received: {dim}")
    return dim


def _check_blank(blank: int, classes: Any) -> None:
    if not 0 <= blank < _known(classes, "classes"):
        raise ValueError(f"`mask_index` must be one of the {classes} classes. Received: mask_index={blank}")


def _decoded_shape(inputs: tuple[Spec, ...]) -> tuple[Any, ...]:
    x, steps = inputs
    if x.rank != 3 or steps.rank != 1 or steps.shape[0] != x.shape[0]:
        raise ValueError(
            "decoding takes predictions (batch, steps, classes) and lengths (batch,). Received: shapes "
            f"{keras_shape(x.shape)} and {keras_shape(steps.shape)}"
        )
    return x.shape


def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Any:
    """-log of the probability of the labels, summed over all their alignments; one value per sample.

    Graves et al. 2006. Infinity where the labels do not fit into the steps.

    Args:
        target: class numbers, (batch, labels).
        output: logits, (batch, steps, classes).
        target_length: how many labels count, (batch,).
        output_length: how many steps count, (batch,).
        mask_index: the class that stands for no label.
    """
    lengths = (cast(operand(length), "int32") for length in (target_length, output_length))
    return CtcLoss(mask_index)(log_softmax(_floats(output)), cast(operand(target), "int32"), *lengths)[0]


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> Any:
    """The labels that a CTC model says: `(paths, scores)`.

    Args:
        inputs: logits, (batch, steps, classes).
        sequence_lengths: how many steps count, (batch,).
        strategy: "greedy": the largest class of each step; "beam_search": the likeliest series of labels.
        beam_width: how many series the search keeps.
        top_paths: how many series it gives, the likeliest first.
        merge_repeated: greedy: the same class at several steps in a row is one label.
        mask_index: the class that stands for no label.

    Returns:
        Class numbers with -1 behind the last, (paths, batch, steps), one path for "greedy"; and, greedy,
        minus the sum of the largest logits, (batch, 1), or else log-probabilities, (batch, paths).
    """
    x, steps = _floats(inputs), cast(operand(sequence_lengths), "int32")
    if strategy == "greedy":
        paths, scores = CtcGreedyDecode(merge_repeated, mask_index)(x, steps)
        batch, time = shape_of(paths)
        return reshape(paths, (1, batch, time)), reshape(scores, (batch, 1))
    if strategy != "beam_search":
        raise ValueError(f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'.")
    for name, value in (("beam_width", beam_width), ("top_paths", top_paths)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    paths, scores = CtcBeamSearch(beam_width, top_paths, mask_index)(log_softmax(x), steps)
    return transpose(paths, (1, 0, 2)), scores


def _floats(x: Any) -> Any:
    value = operand(x)
    return value if str(value.dtype).startswith("float") else cast(value, "float32")
