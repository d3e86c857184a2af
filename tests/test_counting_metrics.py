"""Metrics from counters against plain NumPy, and that shards, batches and workers add up exactly."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from trainings import Array

from distnn import metrics
from distnn.layers import Dense, Input
from distnn.metrics import CountingMetric, Metric
from distnn.models import Sequential
from distnn.tensor import Batch, Spec

RNG = np.random.default_rng(7)
ROWS, COLUMNS = 60, 4
BITS = (RNG.random((ROWS, COLUMNS)) > 0.6).astype(np.float32)
CHANCES = np.round(np.clip(0.5 * BITS + 0.7 * RNG.random((ROWS, COLUMNS)) - 0.1, 0, 1), 2).astype(np.float32)
LABELS = RNG.integers(0, COLUMNS, ROWS)
GUESSES = np.where(RNG.random(ROWS) < 0.6, LABELS, RNG.integers(0, COLUMNS, ROWS))
ONE_HOT = np.eye(COLUMNS, dtype=np.float32)[LABELS]
SCORES = (ONE_HOT + 1.5 * RNG.random((ROWS, COLUMNS))).astype(np.float32)
NUMBERS = RNG.normal(size=(ROWS, COLUMNS)).astype(np.float32)
NEAR = (NUMBERS + 0.4 * RNG.normal(size=NUMBERS.shape)).astype(np.float32)
WEIGHTS = RNG.integers(0, 5, ROWS).astype(np.float32)


def counts(y: Array, p: Array, w: Array, threshold: float) -> tuple[float, float, float, float]:
    """tp, fp, tn, fn."""
    w = np.broadcast_to(w[:, None], y.shape).astype(float)
    yes, true = p > np.float32(threshold), y > 0
    return tuple(float(w[m].sum()) for m in (yes & true, yes & ~true, ~yes & ~true, ~yes & true))  # type: ignore[return-value]


def share(x: float, y: float) -> float:
    return x / y if y else 0.0


def count(part: int, threshold: float = 0.5) -> Callable[..., float]:
    return lambda y, p, w: counts(y, p, w, threshold)[part]


def precision(y: Array, p: Array, w: Array, threshold: float = 0.5) -> float:
    tp, fp, _, _ = counts(y, p, w, threshold)
    return share(tp, tp + fp)


def recall(y: Array, p: Array, w: Array, threshold: float = 0.5) -> float:
    tp, _, _, fn = counts(y, p, w, threshold)
    return share(tp, tp + fn)


def top_k(y: Array, p: Array, w: Array) -> float:
    order = np.argsort(-p, axis=-1, kind="stable")[:, :2]
    kept = np.zeros_like(p)
    np.put_along_axis(kept, order, 1.0, -1)
    return precision(y, kept, w)


EVEN = [-1e-7, *((i + 1) / 199 for i in range(198)), 1 + 1e-7]


def curve(y: Array, p: Array, w: Array, thresholds: list[float] = EVEN) -> Array:
    """Rows of tp, fp, tn, fn."""
    return np.array([counts(y, p, w, t) for t in thresholds]).T


def roc(y: Array, p: Array, w: Array, thresholds: list[float] = EVEN, height: Any = np.mean) -> float:
    tp, fp, tn, fn = curve(y, p, w, thresholds)
    x, y_ = fp / (fp + tn), tp / (tp + fn)
    return float(sum((x[i] - x[i + 1]) * height([y_[i], y_[i + 1]]) for i in range(len(x) - 1)))


def roc_by_label(y: Array, p: Array, w: Array) -> float:
    return float(np.mean([roc(y[:, i : i + 1], p[:, i : i + 1], w) for i in range(COLUMNS)]))


def pr_from_below(y: Array, p: Array, w: Array) -> float:
    tp, fp, _, fn = curve(y, p, w)
    x, y_ = tp / (tp + fn), np.array([share(a, a + b) for a, b in zip(tp, fp, strict=True)])
    return float(sum((x[i] - x[i + 1]) * min(y_[i], y_[i + 1]) for i in range(len(x) - 1)))


def pr(y: Array, p: Array, w: Array) -> float:
    """By many small steps along lines of true positives against all positives."""
    tp, fp, _, fn = curve(y, p, w)
    total = 0.0
    for i in range(len(tp) - 1):
        dtp, all_0, all_1 = tp[i] - tp[i + 1], tp[i] + fp[i], tp[i + 1] + fp[i + 1]
        if not all_0 > all_1:
            continue
        if all_1 == 0:
            total += dtp / (all_0 - all_1) * dtp / (tp[i + 1] + fn[i + 1])
            continue
        steps = np.linspace(all_1, all_0, 20001)
        positives = tp[i + 1] + dtp * (steps - all_1) / (all_0 - all_1)
        slope = dtp / (all_0 - all_1)
        total += np.trapezoid(slope * positives / steps, steps) / (tp[i + 1] + fn[i + 1])
    return total


def best(
    dependent: int, given: tuple[int, int], other: tuple[int, int], least: float
) -> Callable[..., float]:
    """Largest parts[dependent] share over thresholds where the given share is large enough."""
    thresholds = [0.0, *((i + 1) / 199 for i in range(198)), 1.0]

    def value(y: Array, p: Array, w: Array) -> float:
        found = [0.0]
        for parts in curve(y, p, w, thresholds).T:
            if share(parts[given[0]], parts[given[0]] + parts[given[1]]) >= least:
                found.append(share(parts[other[0]], parts[other[0]] + parts[other[1]]))
        return max(found)

    return value


def f_score(average: str, beta: float = 1.0, threshold: float | None = None) -> Callable[..., float]:
    def value(y: Array, p: Array, w: Array) -> float:
        if threshold is None:
            chosen = (p >= p.max(-1, keepdims=True)).astype(np.float32)
        else:
            chosen = (p > threshold).astype(np.float32)
        columns = (
            [(y, chosen)]
            if average == "micro"
            else [(y[:, i : i + 1], chosen[:, i : i + 1]) for i in range(COLUMNS)]
        )
        scores, sizes = [], []
        for a, b in columns:
            tp, fp, _, fn = counts(a, b, w, 0.5)
            q, r = tp / (tp + fp + 1e-7), tp / (tp + fn + 1e-7)
            scores.append((1 + beta**2) * q * r / (beta**2 * q + r + 1e-7))
            sizes.append(tp + fn)
        return float(np.average(scores, weights=sizes) if average == "weighted" else np.mean(scores))

    return value  # fmt: skip


def r2(aggregation: str) -> Callable[..., float]:
    def value(y: Array, p: Array, w: Array) -> float:
        y, p, w = y.astype(float), p.astype(float), w.astype(float)
        mean = np.average(y, axis=0, weights=w)
        variance = (w[:, None] * (y - mean) ** 2).sum(0)
        scores = 1 - (w[:, None] * (y - p) ** 2).sum(0) / variance
        return float(np.average(scores, weights=variance if "weighted" in aggregation else None))

    return value


def iou(ids: tuple[int, ...], ignored: int | None = None, from_scores: bool = False) -> Callable[..., float]:
    def value(y: Array, p: Array, w: Array) -> float:
        y, p = (y.argmax(-1), p.argmax(-1)) if from_scores else (y, p)
        keep = y != ignored if ignored is not None else np.ones(len(y), bool)
        y, p, w = y[keep], p[keep], w[keep].astype(float)
        found = []
        for c in ids:
            either = w[(y == c) | (p == c)].sum()
            if either > 0:
                found.append(w[(y == c) & (p == c)].sum() / either)
        return float(np.mean(found))

    return value


def binary_iou(y: Array, p: Array, w: Array) -> float:
    w = np.broadcast_to(w[:, None], y.shape).reshape(-1)
    return iou((0, 1))(y.reshape(-1).astype(int), (p.reshape(-1) >= 0.5).astype(int), w)


Case = tuple[Callable[[], Metric], Callable[..., float], Array, Array]

CASES: list[Case] = [
    (metrics.TruePositives, count(0), BITS, CHANCES),
    (lambda: metrics.FalsePositives(0.3), count(1, 0.3), BITS, CHANCES),
    (metrics.TrueNegatives, count(2), BITS, CHANCES),
    (lambda: metrics.FalseNegatives(thresholds=[0.7]), count(3, 0.7), BITS, CHANCES),
    (metrics.Precision, precision, BITS, CHANCES),
    (
        lambda: metrics.Precision(0.25, class_id=2),
        lambda y, p, w: precision(y[:, 2:3], p[:, 2:3], w, 0.25),
        BITS,
        CHANCES,
    ),
    (lambda: metrics.Precision(top_k=2), top_k, BITS, SCORES),
    (metrics.Recall, recall, BITS, CHANCES),
    (metrics.AUC, roc, BITS, CHANCES),
    (lambda: metrics.AUC(from_logits=True), lambda y, p, w: roc(y, 1 / (1 + np.exp(-p)), w), BITS, NUMBERS),
    (lambda: metrics.AUC(summation_method="majoring"), partial(roc, height=max), BITS, CHANCES),
    (
        lambda: metrics.AUC(thresholds=[0.7, 0.2, 0.4]),
        lambda y, p, w: roc(y, p, w, [-1e-7, 0.2, 0.4, 0.7, 1 + 1e-7]),
        BITS,
        CHANCES,
    ),
    (lambda: metrics.AUC(multi_label=True), roc_by_label, BITS, CHANCES),
    (lambda: metrics.AUC(curve="PR"), pr, BITS, CHANCES),
    (lambda: metrics.AUC(curve="PR", summation_method="minoring"), pr_from_below, BITS, CHANCES),
    (lambda: metrics.SensitivityAtSpecificity(0.8), best(0, (2, 1), (0, 3), 0.8), BITS, CHANCES),
    (lambda: metrics.SpecificityAtSensitivity(0.8), best(0, (0, 3), (2, 1), 0.8), BITS, CHANCES),
    (lambda: metrics.PrecisionAtRecall(0.7), best(0, (0, 3), (0, 1), 0.7), BITS, CHANCES),
    (lambda: metrics.RecallAtPrecision(0.7), best(0, (0, 1), (0, 3), 0.7), BITS, CHANCES),
    (lambda: metrics.F1Score("macro"), f_score("macro"), ONE_HOT, SCORES),
    (lambda: metrics.F1Score("micro", threshold=0.5), f_score("micro", threshold=0.5), BITS, CHANCES),
    (lambda: metrics.FBetaScore("weighted", beta=2.0), f_score("weighted", 2.0), ONE_HOT, SCORES),
    (metrics.R2Score, r2("uniform"), NUMBERS, NEAR),
    (lambda: metrics.R2Score("variance_weighted_average"), r2("weighted"), NUMBERS, NEAR),
    (lambda: metrics.IoU(COLUMNS, [0, 2]), iou((0, 2)), LABELS, GUESSES),
    (lambda: metrics.MeanIoU(COLUMNS), iou((0, 1, 2, 3)), LABELS, GUESSES),
    (lambda: metrics.MeanIoU(COLUMNS, ignore_class=1), iou((0, 1, 2, 3), ignored=1), LABELS, GUESSES),
    (metrics.BinaryIoU, binary_iou, BITS, CHANCES),
    (lambda: metrics.OneHotIoU(COLUMNS, [1]), iou((1,), from_scores=True), ONE_HOT, SCORES),
    (lambda: metrics.OneHotMeanIoU(COLUMNS), iou((0, 1, 2, 3), from_scores=True), ONE_HOT, SCORES),
]  # fmt: skip
IDS = [f"{type(case[0]()).__name__}-{i}" for i, case in enumerate(CASES)]
every = pytest.mark.parametrize("make, formula, y_true, y_pred", CASES, ids=IDS)


def test_every_counting_metric_has_a_case() -> None:
    public = {v for v in vars(metrics).values() if inspect.isclass(v) and issubclass(v, CountingMetric)}
    assert public - {CountingMetric} == {type(case[0]()) for case in CASES}


@every
def test_is_its_definition(make: Any, formula: Any, y_true: Array, y_pred: Array) -> None:
    metric, ones = make(), np.ones(ROWS)
    assert metric.result() == 0.0
    np.testing.assert_allclose(metric(y_true, y_pred), formula(y_true, y_pred, ones), rtol=1e-5, atol=1e-7)
    metric.reset_state()
    weighted = metric(y_true, y_pred, sample_weight=WEIGHTS)
    np.testing.assert_allclose(weighted, formula(y_true, y_pred, WEIGHTS), rtol=1e-5, atol=1e-7)


@every
def test_batches_add_up(make: Any, formula: Any, y_true: Array, y_pred: Array) -> None:
    whole, parts = make(), make()
    for start, stop in ((0, 3), (3, 4), (4, ROWS)):
        parts.update_state(y_true[start:stop], y_pred[start:stop])
    np.testing.assert_allclose(parts.result(), whole(y_true, y_pred), rtol=1e-12)


@every
def test_config_is_kept(make: Any, formula: Any, y_true: Array, y_pred: Array) -> None:
    metric = make()
    again = metrics.get(json.loads(json.dumps(metrics.serialize(metric))))
    assert type(again) is type(metric) and again.get_config() == metric.get_config()
    assert again(y_true, y_pred) == metric(y_true, y_pred)


# In a model


def passing(columns: int) -> Sequential:
    """A model that gives back what it is given."""
    model = Sequential([Input((columns,)), Dense(columns, use_bias=False, kernel_initializer="identity")])
    model.ensure_initialized(0)
    return model


@every
@pytest.mark.parametrize("shards", [1, 3, 7])
def test_any_shards_give_the_metric_of_all_samples(
    make: Any, formula: Any, y_true: Array, y_pred: Array, shards: int
) -> None:
    if y_pred.ndim == 1:
        pytest.skip("class numbers are not what a layer gives")
    weighted = make()
    weighted.name = "weighted"
    with passing(COLUMNS) as model:
        model.compile("sgd", "mse", [make()], weighted_metrics=[weighted])
        logs = model.evaluate(y_pred, y_true, 25, 0, return_dict=True, shards=shards, sample_weight=WEIGHTS)
    name = make().name
    assert logs[name] == make()(y_true, y_pred)
    assert logs["weighted"] == make()(y_true, y_pred, sample_weight=WEIGHTS)


def test_counts_of_a_training_do_not_depend_on_shards_or_backend() -> None:
    found = []
    for place in ({}, {"shards": 3}, {"shards": 3, "backend": "threads", "workers": 2}):
        with passing(COLUMNS) as model:
            given = ["AUC", metrics.Precision(0.3), "recall", metrics.F1Score("macro"), "TruePositives"]
            model.compile("sgd", "mse", given)
            model.optimizer.learning_rate = 0.0
            history = model.fit(CHANCES, BITS, batch_size=25, epochs=2, verbose=0, seed=1, **place)
            logs = {name: values for name, values in history.history.items() if name != "loss"}
            found.append(logs)
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {"AUC", "precision", "recall", "f1_score", "TruePositives"}
    assert found[0]["precision"] == [metrics.Precision(0.3)(BITS, CHANCES)] * 2


def test_integer_targets_are_taken() -> None:
    with passing(1) as model:
        model.compile("sgd", "mse", ["AUC", "precision", metrics.BinaryIoU(name="iou")])
        logs = model.evaluate(CHANCES[:, :1], BITS[:, 0].astype(int), 25, 0, return_dict=True)
    assert logs["AUC"] == metrics.AUC()(BITS[:, 0], CHANCES[:, :1])
    assert logs["iou"] == metrics.BinaryIoU()(BITS[:, :1], CHANCES[:, :1])


# Several numbers, settings, messages


def test_several_thresholds_give_several_numbers_in_their_order() -> None:
    found = metrics.Recall([0.7, 0.2])(BITS, CHANCES)
    assert list(found) == [metrics.Recall(t)(BITS, CHANCES) for t in (0.7, 0.2)]
    assert metrics.F1Score()(ONE_HOT, SCORES).shape == (COLUMNS,)
    assert metrics.R2Score(None)(NUMBERS, NEAR).shape == (COLUMNS,)


def test_adjusted_r2() -> None:
    plain = metrics.R2Score()(NUMBERS, NEAR)
    adjusted = metrics.R2Score(num_regressors=3)(NUMBERS, NEAR)
    n = NUMBERS.size
    assert adjusted == pytest.approx(1 - (1 - plain) * (n - 1) / (n - 4))
    with pytest.warns(UserWarning, match="no more samples than"):
        assert metrics.R2Score(num_regressors=n)(NUMBERS, NEAR) == plain


def test_label_weights() -> None:
    single = [metrics.AUC()(BITS[:, i], CHANCES[:, i]) for i in range(COLUMNS)]
    metric = metrics.AUC(multi_label=True, label_weights=[1.0, 2.0, 0.0, 1.0])
    assert metric(BITS, CHANCES) == pytest.approx(np.average(single, weights=[1, 2, 0, 1]))


def test_nan_is_below_every_threshold() -> None:
    assert metrics.TruePositives()([1.0, 1.0], [np.nan, 0.9]) == 1.0


@pytest.mark.parametrize("name", ["AUC", "auc", "Precision", "precision", "TruePositives", "binary_io_u"])
def test_names_of_classes_and_in_lower_case(name: str) -> None:
    found = metrics.resolve(name, Spec((Batch(), 1)), Spec((Batch(), 1)))
    assert isinstance(found, CountingMetric) and found.name == name


COLUMN = Spec((Batch(), 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.Precision(1.5), r"Threshold values must be in \[0, 1\]. Received: \[1.5\]"),
        (lambda: metrics.AUC(num_thresholds=1), "`num_thresholds` must be an integer > 1"),
        (lambda: metrics.AUC(curve="RC"), 'Invalid `curve` argument value "RC"'),
        (lambda: metrics.AUC(num_labels=3), "needed only when `multi_label` is True"),
        (lambda: metrics.PrecisionAtRecall(2), r"`recall` must be in the range \[0, 1\]. Received: recall=2"),
        (lambda: metrics.F1Score("mean"), "Invalid `average` argument value"),
        (lambda: metrics.FBetaScore(beta=0.0), "Invalid `beta` argument value"),
        (lambda: metrics.F1Score(threshold=2.0), "Invalid `threshold` argument value"),
        (lambda: metrics.R2Score("mean"), "`class_aggregation`"),
        (lambda: metrics.IoU(2, [2]), "Target class id 2 is out of range"),
        (lambda: metrics.resolve(metrics.F1Score(), COLUMN, COLUMN), "gives several numbers"),
        (lambda: metrics.resolve(metrics.Recall([0.1, 0.2]), COLUMN, COLUMN), "gives several numbers"),
        (lambda: metrics.F1Score("macro")(LABELS, GUESSES), "expects 2D inputs"),
        (lambda: metrics.AUC(multi_label=True)(LABELS, GUESSES), "must have rank 2"),
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_eager_models_count_the_same() -> None:
    found = []
    for eager in (False, True):
        with passing(COLUMNS) as model:
            given = [metrics.AUC(), metrics.F1Score("macro"), metrics.R2Score(), metrics.Precision(top_k=1)]
            model.compile("sgd", "mse", given, run_eagerly=eager)
            found.append(model.evaluate(CHANCES, BITS, 25, 0, shards=2))
    assert found[0] == found[1]
