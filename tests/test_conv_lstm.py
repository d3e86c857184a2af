"""ConvLSTM layers: a twin in loops, states, masks, noise, the same bytes anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from trainings import Array, train

from distnn import layers
from distnn.layers import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, Dense, Flatten, Input
from distnn.models import Sequential

RNG = np.random.default_rng(12)


def convolved(x: Array, w: Array, strides: int, dilation: int, padding: str) -> Array:
    """Window by window; x (sizes..., channels), w (sizes..., channels, filters)."""
    rank = x.ndim - 1
    reach = [dilation * (size - 1) + 1 for size in w.shape[:rank]]
    outs = [
        -(-n // strides) if padding == "same" else (n - r) // strides + 1
        for n, r in zip(x.shape, reach, strict=False)
    ]
    if padding == "same":
        missing = [max(0, (o - 1) * strides + r - n) for o, r, n in zip(outs, reach, x.shape, strict=False)]
        x = np.pad(x, [*((m // 2, m - m // 2) for m in missing), (0, 0)])
    y = np.zeros((*outs, w.shape[-1]))
    for place in product(*map(range, outs)):
        for tap in product(*map(range, w.shape[:rank])):
            y[place] += x[tuple(p * strides + t * dilation for p, t in zip(place, tap, strict=True))] @ w[tap]
    return y


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def twin(layer: Any, x_BT: Array, mask: Array | None = None) -> Array:
    """The outputs of all steps, in float64."""
    cell, found = layer.cell, []
    kernel, recurrent = (w.numpy().astype(np.float64) for w in (cell.kernel, cell.recurrent_kernel))
    bias = 0.0 if cell.bias is None else cell.bias.numpy()
    for b, x_T in enumerate(x_BT):
        h = c = np.zeros(1)
        outputs = []
        for t in reversed(range(len(x_T))) if layer.go_backwards else range(len(x_T)):
            sums = bias + convolved(x_T[t], kernel, cell.strides[0], cell.dilation_rate[0], cell.padding)
            if not outputs:
                h = c = np.zeros((*sums.shape[:-1], cell.filters))
            if mask is not None and not mask[b, t]:
                outputs.append(outputs[-1] if outputs else np.zeros_like(h))
                continue
            i, f, a, o = np.split(sums + convolved(h, recurrent, 1, 1, "same"), 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(a)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        found.append(np.stack(outputs))
    return np.stack(found)


KINDS: list[tuple[Any, tuple[int, ...], dict[str, Any]]] = [
    (ConvLSTM2D, (3, 5, 4, 2), {"kernel_size": 3}),
    (ConvLSTM2D, (3, 5, 4, 2), {"kernel_size": (2, 3), "padding": "same", "strides": 2}),
    (ConvLSTM2D, (2, 5, 6, 1), {"kernel_size": 2, "dilation_rate": 2, "use_bias": False}),
    (ConvLSTM2D, (3, 4, 4, 2), {"kernel_size": 3, "padding": "same", "go_backwards": True}),
    (ConvLSTM1D, (4, 6, 2), {"kernel_size": 3, "strides": 2, "unit_forget_bias": False}),
    (ConvLSTM3D, (2, 3, 3, 4, 1), {"kernel_size": 2, "padding": "same"}),
]


@pytest.mark.parametrize(("kind", "shape", "options"), KINDS, ids=[f"{k.__name__} {o}" for k, _, o in KINDS])
@pytest.mark.parametrize("masked", [False, True])
def test_values_are_those_of_the_loops(
    kind: Any, shape: tuple[int, ...], options: dict[str, Any], masked: bool
) -> None:
    layer = kind(3, **options, return_sequences=True, bias_initializer="random_normal")
    x = RNG.normal(size=(4, *shape)).astype(np.float32)
    mask = RNG.random((4, shape[0])) < 0.6 if masked else None
    found = layer(x, mask=mask)
    np.testing.assert_allclose(found, twin(layer, x, mask), atol=2e-6)
    assert layer.compute_output_shape((None, *shape)) == (None, *found.shape[1:])
    layer.return_sequences = False
    np.testing.assert_array_equal(layer(x, mask=mask), found[:, -1])


def test_states_follow_the_output_and_go_on() -> None:
    whole = ConvLSTM2D(2, 3, padding="same", return_state=True, return_sequences=True)
    x = RNG.normal(size=(3, 6, 4, 4, 1)).astype(np.float32)
    outputs, h, c = whole(x)
    np.testing.assert_array_equal(outputs[:, -1], h)
    _, *states = whole(x[:, :4])
    later, h_again, c_again = whole(x[:, 4:], initial_state=states)
    for found, wanted in ((later, outputs[:, 4:]), (h_again, h), (c_again, c)):
        np.testing.assert_array_equal(found, wanted)


def test_a_film_in_pieces_is_the_film() -> None:
    options: dict[str, Any] = {"kernel_size": 2, "return_sequences": True}
    pieces = Sequential([Input((2, 4, 4, 1), batch_size=3), ConvLSTM2D(2, stateful=True, **options)])
    whole = Sequential([Input((6, 4, 4, 1)), ConvLSTM2D(2, **options)])
    x = RNG.normal(size=(3, 6, 4, 4, 1)).astype(np.float32)
    expected = whole.predict(x)
    pieces.ensure_initialized(1)
    values = {variable.path: variable.numpy() for variable in whole.variables}
    for variable in pieces.trainable_variables:
        variable.assign(values[variable.path])
    found = [pieces.predict(x[:, i : i + 2]) for i in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate(found, axis=1), expected)


def test_dropout_is_the_same_at_every_step() -> None:
    layer = ConvLSTM2D(2, 1, dropout=0.5, recurrent_initializer="zeros", return_sequences=True)
    layer.cell.unit_forget_bias = False
    steps = layer(np.ones((20, 3, 2, 2, 1), np.float32), training=True)
    dropped = (steps == 0).all(axis=-1)
    assert 0.2 < dropped.mean() < 0.8
    np.testing.assert_array_equal(dropped[:, 1], dropped[:, 0])


def test_the_forget_gate_begins_open() -> None:
    layer = ConvLSTM2D(3, 2)
    layer(np.zeros((1, 2, 3, 3, 1), np.float32))
    np.testing.assert_array_equal(layer.cell.bias.numpy(), np.repeat([0, 1, 0, 0], 3))
    assert [v.path for v in layer.variables] == [
        f"conv_lstm_cell/{name}" for name in ("kernel", "recurrent_kernel", "bias")
    ]
    assert (layer.filters, layer.kernel_size, layer.padding) == (3, (2, 2), "valid")


def films(**options: Any) -> Callable[[], Sequential]:
    def make() -> Sequential:
        layer = ConvLSTM2D(3, 3, padding="same", dropout=0.2, recurrent_dropout=0.2, **options)
        model = Sequential([Input((3, 4, 4, 1)), layer, Flatten(), Dense(2, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    return make


@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "activity_regularizer": "l2"}], ids=str)
def test_the_same_bytes_anywhere(options: dict[str, Any]) -> None:
    x, y = RNG.normal(size=(23, 3, 4, 4, 1)), RNG.integers(0, 2, 23)
    fit: dict[str, Any] = {"batch_size": 9, "epochs": 2, "shards": 4}
    expected = train(films(**options), x, y, **fit)
    for place in ({"backend": "threads", "workers": 2}, {"backend": "threads", "workers": 3}):
        assert train(films(**options), x, y, **fit, **place) == expected

    def eager() -> Sequential:
        model = films(**options)()
        model._compiled["run_eagerly"] = True  # type: ignore[index]
        return model

    assert train(eager, x, y, **fit) == expected


def test_both_directions_and_configurations() -> None:
    both = layers.Bidirectional(ConvLSTM2D(2, (2, 1), strides=(1, 2), seed=3, kernel_constraint="max_norm"))
    assert both(np.zeros((2, 3, 4, 4, 1), np.float32)).shape == (2, 3, 2, 4)
    config = json.loads(json.dumps(layers.serialize(both)))
    assert json.loads(json.dumps(layers.serialize(layers.deserialize(config)))) == config
    assert config["config"]["layer"]["config"]["kernel_size"] == [2, 1]


def called(layer: Any, *shape: int) -> Any:
    return layer(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConvLSTM2D(0, 3), "Invalid value for argument `filters`.*Received filters=0"),
        (lambda: ConvLSTM2D(2, (3, 3, 3)), "`kernel_size` argument must be a tuple of 2 integers"),
        (lambda: ConvLSTM2D(2, 3, strides=2, dilation_rate=2), "`strides > 1` is not compatible with"),
        (lambda: ConvLSTM2D(2, 3, data_format="channels_first"), "`data_format` must be 'channels_last'"),
        (lambda: ConvLSTM2D(2, 3, filter=3), "Unrecognized keyword arguments passed to ConvLSTM2D"),
        (lambda: called(ConvLSTM2D(2, 3), 2, 5, 5, 1), "expected ndim=5, found ndim=4"),
        (lambda: called(ConvLSTM2D(2, 3), 2, 3, 2, 5, 1), "the window does not fit into the image"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
