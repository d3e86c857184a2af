"""`ops.ctc_loss`, `ops.ctc_decode` and the CTC loss, called and in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from trainings import Array, train

from distnn import losses, ops
from distnn.layers import GRU, Bidirectional, Dense, Input, Lambda
from distnn.models import Sequential
from distnn.optimizers import Adam

RNG = np.random.default_rng(6)
STEPS, CLASSES = 9, 4


def series(samples: int, seed: int = 0) -> tuple[Array, Array]:
    """Noisy pulses, each of a class, of lengths that are not told; and the classes in their order."""
    rng = np.random.default_rng(seed)
    x = 0.1 * rng.normal(size=(samples, STEPS, CLASSES - 1))
    y = np.zeros((samples, 3), np.int32)
    for b in range(samples):
        at = 0
        for place in range(rng.integers(1, 4)):
            k, length = rng.integers(1, CLASSES), rng.integers(1, 3)
            x[b, at : at + length, k - 1] += 1
            y[b, place] = k
            at += length + 1
    return x.astype(np.float32), y


def model() -> Sequential:
    made = Sequential(
        [Input((STEPS, CLASSES - 1)), Bidirectional(GRU(8, return_sequences=True)), Dense(CLASSES)]
    )
    made.compile(Adam(0.02), losses.CTC())
    return made


def test_lengths_that_are_given_count() -> None:
    logits, label = RNG.normal(size=(2, 6, 4)).astype(np.float32), np.array([[1, 2, 3], [2, 2, 1]])
    loss = ops.ctc_loss(label, logits, [2, 3], [6, 5])
    np.testing.assert_allclose(loss[0], losses.ctc([[1, 2, 0]], logits[:1])[0], rtol=1e-6)
    np.testing.assert_allclose(loss[1], losses.ctc([[2, 2, 1]], logits[1:, :5])[0], rtol=1e-6)
    other = ops.ctc_loss((label + 3) % 4, logits[..., [1, 2, 3, 0]], [2, 3], [6, 5], mask_index=3)
    np.testing.assert_allclose(other, loss, rtol=1e-6)


def test_the_class_reduces_and_weighs() -> None:
    x, y = RNG.normal(size=(5, 6, 4)).astype(np.float32), RNG.integers(1, 4, size=(5, 2))
    each = losses.ctc(y, x)
    assert each.shape == (5,)
    np.testing.assert_allclose(losses.CTC()(y, x), each.mean(), rtol=1e-6)
    weights = np.arange(5.0)
    np.testing.assert_allclose(losses.CTC("sum")(y, x, weights), (each * weights).sum(), rtol=1e-6)
    assert (losses.CTC().name, type(losses.get("CTC"))) == ("ctc", losses.CTC)
    assert losses.get(losses.serialize(losses.CTC())).get_config() == losses.CTC().get_config()


def test_it_learns_and_is_decoded() -> None:
    x, y = series(240)
    with model() as trained:
        history = trained.fit(x, y, batch_size=20, epochs=25, shards=2, seed=1, verbose=0).history["loss"]
        assert history[-1] < 0.15 * history[0]
        fresh, wanted = series(60, seed=9)
        logits = trained.predict(fresh)
        for strategy in ("greedy", "beam_search"):
            paths, scores = ops.ctc_decode(logits, [STEPS] * 60, strategy, beam_width=8)
            assert paths.shape == (1, 60, STEPS) and scores.shape == (60, 1) and paths.dtype == np.int32
            right = (np.where(paths[0] < 0, 0, paths[0])[:, :3] == wanted).all(axis=1) & (paths[0, :, 3] < 0)
            assert right.mean() > 0.9


@pytest.mark.parametrize(
    "place", [{"backend": "threads", "workers": 3}, {"backend": "local", "workers": 2}], ids=str
)
def test_bytes_are_the_same_anywhere(place: dict[str, Any]) -> None:
    options: dict[str, Any] = {"batch_size": 12, "epochs": 2, "shards": 5}
    assert train(model, *series(40), **options, **place) == train(model, *series(40), **options)


def test_decoding_stands_in_models() -> None:
    logits = RNG.normal(size=(7, 6, 4)).astype(np.float32)

    def decoded(x: Any) -> Any:
        lengths = ops.full_like(ops.cast(ops.sum(x, axis=(1, 2)), "int32"), 6)
        paths, _ = ops.ctc_decode(x, lengths, "beam_search", beam_width=5, top_paths=2)
        return ops.cast(ops.transpose(paths, (1, 0, 2)), "float32")

    found = Sequential([Input((6, 4)), Lambda(decoded)]).predict(logits, batch_size=3)
    paths, _ = ops.ctc_decode(logits, [6] * 7, "beam_search", beam_width=5, top_paths=2)
    np.testing.assert_array_equal(found, paths.transpose(1, 0, 2))


X = np.zeros((2, 6, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.ctc([1, 2], X), r"Targets `y_true` are expected.*Received: y_true.shape=\(2,\)"),
        (
            lambda: losses.ctc([[1], [2]], X[0]),
            r"Logits `y_pred` are expected.*Received: y_pred.shape=\(6, 4\)",
        ),
        (lambda: ops.ctc_loss([[1]], X, [1], [6]), "must be of the same samples"),
        (lambda: ops.ctc_loss([[1], [2]], X, 1, [6]), "a length for each of both"),
        (
            lambda: ops.ctc_loss([[1], [2]], X, [1, 1], [6, 6], mask_index=4),
            "`mask_index` must be one of the 4",
        ),
        (lambda: ops.ctc_decode(X, [6, 6], "best"), "Invalid strategy best. Supported values are 'greedy'"),
        (lambda: ops.ctc_decode(X, [6]), "decoding takes predictions"),
        (lambda: ops.ctc_decode(X, [6, 6], "beam_search", beam_width=0), "`beam_width` must be a positive"),
        (lambda: ops.ctc_decode(X, [6, 6], "beam_search", top_paths=0), "`top_paths` must be a positive"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
