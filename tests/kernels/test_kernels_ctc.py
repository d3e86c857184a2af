"""CTC against all alignments written out, and decoding against searches that forget nothing."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import pytest

from distnn.kernels import ctc as kernels

Array = np.ndarray[Any, np.dtype[Any]]


def log_softmax(x: Array) -> Array:
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def said(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    """What an alignment says: repeats once, no blanks."""
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def all_probabilities(logp_TK: Array, blank: int) -> dict[tuple[int, ...], float]:
    """Of every series of labels, summed over every alignment."""
    found: dict[tuple[int, ...], float] = {}
    steps, classes = logp_TK.shape
    for path in itertools.product(range(classes), repeat=steps):
        p = float(np.exp(sum(logp_TK[t, k] for t, k in enumerate(path))))
        found[said(path, blank)] = found.get(said(path, blank), 0.0) + p
    return found


def shares(logp_TK: Array, label: tuple[int, ...], blank: int) -> Array:
    """Of the alignments that say `label`: how probable it is that they say k at step t."""
    steps, classes = logp_TK.shape
    found, total = np.zeros((steps, classes)), 0.0
    for path in itertools.product(range(classes), repeat=steps):
        if said(path, blank) == label:
            p = float(np.exp(sum(logp_TK[t, k] for t, k in enumerate(path))))
            total += p
            for t, k in enumerate(path):
                found[t, k] += p
    return found / total


def problem(
    dtype: Any, samples: int = 6, steps: int = 5, classes: int = 3, seed: int = 0
) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    logp = log_softmax(3 * rng.normal(size=(samples, steps, classes))).astype(dtype)
    label = rng.integers(1, classes, size=(samples, 3)).astype(np.int32)
    label[0] = [1, 1, 2]
    return logp, label, np.array([3, 2, 1, 0, 2, 3], np.int32), np.array([5, 5, 4, 3, 2, 5], np.int32)


def forward(logp: Array, label: Array, labels: Array, steps: Array, blank: int = 0) -> tuple[Array, Array]:
    loss = np.full(len(logp), np.nan, logp.dtype)
    alpha = np.full((*logp.shape[:2], 2 * label.shape[1] + 1), np.nan, logp.dtype)
    kernels.ctc_forward(logp, label, labels, steps, blank, loss, alpha)
    return loss, alpha


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 2e-6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_is_that_of_all_alignments(dtype: Any, rtol: float, seed: int) -> None:
    logp, label, labels, steps = problem(dtype, seed=seed)
    loss, _ = forward(logp, label, labels, steps)
    for b in range(len(loss)):
        every = all_probabilities(logp[b, : steps[b]].astype(np.float64), 0)
        np.testing.assert_allclose(loss[b], -np.log(every[tuple(label[b, : labels[b]])]), rtol=rtol)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_gradient_is_the_share_of_the_alignments(dtype: Any, atol: float) -> None:
    logp, label, labels, steps = problem(dtype)
    loss, alpha = forward(logp, label, labels, steps)
    dloss = np.arange(1, 7).astype(dtype)
    beta, dlogp = np.full((2, alpha.shape[2]), np.nan, dtype), np.full_like(logp, np.nan)
    kernels.ctc_backward(label, labels, steps, 0, logp, alpha, loss, dloss, beta, dlogp)
    for b in range(len(loss)):
        wanted = np.zeros(logp.shape[1:])
        counted = logp[b, : steps[b]].astype(np.float64)
        wanted[: steps[b]] = -dloss[b] * shares(counted, tuple(label[b, : labels[b]]), 0)
        np.testing.assert_allclose(dlogp[b], wanted, atol=atol * float(dloss[b]))


def test_another_class_may_be_the_blank() -> None:
    logp, label, labels, steps = problem(np.float64)
    turned = logp[..., [1, 2, 0]]
    loss, _ = forward(turned, label - 1, labels, steps, blank=2)
    np.testing.assert_allclose(loss, forward(logp, label, labels, steps)[0], rtol=1e-13)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="long loops")
def test_long_series_keep_their_digits() -> None:
    """A thousand steps in float32, against float64."""
    rng = np.random.default_rng(1)
    logp = log_softmax(4 * rng.normal(size=(1, 1000, 6)))
    label = rng.integers(1, 6, size=(1, 120)).astype(np.int32)
    lengths = np.array([120], np.int32), np.array([1000], np.int32)
    results = []
    for dtype in (np.float64, np.float32):
        rounded = logp.astype(np.float32).astype(dtype)
        loss, alpha = forward(rounded, label, *lengths)
        beta, dlogp = np.zeros((2, alpha.shape[2]), dtype), np.zeros_like(rounded)
        one = np.ones(1, dtype)
        kernels.ctc_backward(label, *lengths, 0, rounded, alpha, loss, one, beta, dlogp)
        np.testing.assert_allclose(dlogp.sum(axis=2), -1.0, rtol=1e-5)
        results.append((loss, dlogp))
    (loss, dlogp), (single, dsingle) = results
    np.testing.assert_allclose(single, loss, rtol=1e-6)
    np.testing.assert_allclose(dsingle, dlogp, atol=2e-4)


def test_what_cannot_be_said_is_infinite_and_has_no_gradient() -> None:
    logp, label, labels, steps = problem(np.float32)
    label[0], labels[0], steps[0] = [1, 1, 2], 3, 3  # needs a blank between the equal ones
    steps[1] = 0
    labels[2], steps[2] = 0, 0
    loss, alpha = forward(logp, label, labels, steps)
    assert np.isinf(loss[:2]).all() and loss[2] == 0 and np.isfinite(loss[3:]).all()
    beta, dlogp = np.zeros((2, 7), np.float32), np.full_like(logp, np.nan)
    kernels.ctc_backward(label, labels, steps, 0, logp, alpha, loss, np.ones(6, np.float32), beta, dlogp)
    assert not dlogp[:3].any() and np.abs(dlogp[3:]).max() > 0


@pytest.mark.parametrize(
    "spoil",
    [{"label": 3}, {"label": -1}, {"labels": 4}, {"labels": -1}, {"steps": 6}, {"steps": -1}],
    ids=str,
)
def test_classes_and_lengths_that_cannot_be_give_nan(spoil: dict[str, int]) -> None:
    logp, label, labels, steps = problem(np.float32)
    if "label" in spoil:
        label[1, 0] = spoil["label"]
    labels[1] = spoil.get("labels", labels[1])
    steps[1] = spoil.get("steps", steps[1])
    loss, alpha = forward(logp, label, labels, steps)
    np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False, False, False])
    beta, dlogp = np.zeros((2, 7), np.float32), np.zeros_like(logp)
    kernels.ctc_backward(label, labels, steps, 0, logp, alpha, loss, np.ones(6, np.float32), beta, dlogp)
    np.testing.assert_array_equal(np.isnan(dlogp).any(axis=(1, 2)), np.isnan(loss))


@pytest.mark.parametrize("merges", [True, False])
def test_greedy_takes_the_largest_of_each_step(merges: bool) -> None:
    best = np.array([[1, 1, 0, 1, 2], [0, 0, 2, 2, 2], [1, 2, 1, 0, 0]])
    x = np.eye(3, dtype=np.float32)[best]
    path, score = np.zeros((3, 5), np.int32), np.zeros(3, np.float32)
    steps = np.array([5, 4, 0], np.int32)
    kernels.ctc_greedy(x, steps, merges, 0, path, score)
    wanted = [[1, 1, 2], [2], []] if merges else [[1, 1, 1, 2], [2, 2], []]
    assert [[k for k in row.tolist() if k >= 0] for row in path] == wanted
    assert all((np.diff((row < 0).astype(int)) >= 0).all() for row in path), "-1 stands behind the labels"
    np.testing.assert_array_equal(score, [-5, -4, 0])


def searched(logp: Array, steps: Array, width: int, paths: int, blank: int) -> tuple[Array, Array]:
    samples, time, _ = logp.shape
    path, score = np.zeros((samples, paths, time), np.int32), np.zeros((samples, paths), logp.dtype)
    tree = np.zeros((5, 1 + time * width), np.int64)
    room = [np.zeros((2, width), np.int64), np.zeros((4, width), logp.dtype), np.zeros(width, logp.dtype)]
    kernels.ctc_beam_search(logp, steps, blank, tree, *room, np.zeros((2, width), np.int64), path, score)
    return path, score


@pytest.mark.parametrize("blank", [0, 2])
def test_a_wide_search_finds_the_likeliest_of_all(blank: int) -> None:
    logp, _, _, steps = problem(np.float64, seed=4)
    paths, scores = searched(logp, steps, 400, 6, blank)
    for b in range(len(logp)):
        every = all_probabilities(logp[b, : steps[b]], blank)
        wanted = sorted(every.items(), key=lambda item: -item[1])[:6]
        found = [tuple(k for k in row.tolist() if k >= 0) for row in paths[b]]
        count = len(wanted)  # few steps say few series
        assert found[:count] == [labels for labels, _ in wanted]
        np.testing.assert_allclose(scores[b, :count], [np.log(p) for _, p in wanted], rtol=1e-10)


def narrow_search(logp_TK: Array, width: int, blank: int) -> list[tuple[tuple[int, ...], float]]:
    """The search with series as tuples in a dictionary."""
    beams = {(): (-np.inf, 0.0)}
    for row in logp_TK:
        later: dict[tuple[int, ...], list[float]] = {}

        def add(series: tuple[int, ...], place: int, value: float, to: dict[Any, Any] = later) -> None:
            ends = to.setdefault(series, [-np.inf, -np.inf])
            ends[place] = np.logaddexp(ends[place], value)

        for series, (in_label, in_blank) in beams.items():
            add(series, 1, np.logaddexp(in_label, in_blank) + row[blank])
            for k, value in enumerate(row):
                if k != blank:
                    repeats = bool(series) and series[-1] == k
                    if repeats:
                        add(series, 0, in_label + value)
                    add((*series, k), 0, (in_blank if repeats else np.logaddexp(in_label, in_blank)) + value)
        best = sorted(later.items(), key=lambda item: -np.logaddexp(*item[1]))[:width]
        beams = {series: (ends[0], ends[1]) for series, ends in best}
    return [(series, float(np.logaddexp(*ends))) for series, ends in beams.items()]


@pytest.mark.parametrize("width", [1, 2, 11])
def test_a_narrow_search_is_the_plain_one(width: int) -> None:
    rng = np.random.default_rng(width)
    logp = log_softmax(2 * rng.normal(size=(4, 9, 4)))
    steps = np.array([9, 9, 7, 1], np.int32)
    paths, scores = searched(logp, steps, width, width, 0)
    for b in range(4):
        wanted = narrow_search(logp[b, : steps[b]], width, 0)
        found = [tuple(k for k in row.tolist() if k >= 0) for row in paths[b]]
        assert found[: len(wanted)] == [series for series, _ in wanted]
        np.testing.assert_allclose(scores[b, : len(wanted)], [p for _, p in wanted], rtol=1e-10)
        assert np.isinf(scores[b, len(wanted) :]).all()
