"""Recurrent layers and what stands around sequences: unrolled twins, states, messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from trainings import Array, train, weight_bytes

from distnn import layers
from distnn.callbacks import Callback
from distnn.errors import DataError
from distnn.layers import GRU, LSTM, RNN, Dense, Embedding, Input, Layer, LSTMCell, SimpleRNN
from distnn.layers.recurrent_cells import Cell
from distnn.models import Model, Sequential, load_model
from distnn.training import Stopped

RNG = np.random.default_rng(8)
X = RNG.normal(size=(6, 5, 3)).astype(np.float32)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"return_sequences": True, "go_backwards": True},
    {"return_sequences": True, "return_state": True},
    {"use_bias": False, "zero_output_for_mask": True, "return_sequences": True},
]


def forced(layer: Layer, function: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the function gives while the layer's cell has no recurrence of its own."""
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "recurrence", lambda self, **options: None)
        for name in ("SimpleRNNCell", "LSTMCell", "GRUCell"):
            patch.setattr(layers.get_class(name), "recurrence", lambda self, **options: None)
        return function()


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_one_op_computes_what_its_steps_do(
    kind: Any, options: dict[str, Any], masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = kind(4, **options)
    start = [RNG.normal(size=(6, 4)).astype(np.float32) for _ in layer.state_size]
    mask = RNG.random((6, 5)) < 0.6 if masked else None

    def call() -> Any:
        return layer(X, initial_state=start, mask=mask)

    for one, other in zip(call(), forced(layer, call, monkeypatch), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_padded_samples_end_where_they_would_without_padding(kind: Any) -> None:
    model = Sequential([Input((7,)), Embedding(9, 4, mask_zero=True), kind(5), Dense(2)])
    model.ensure_initialized(1)
    short = RNG.integers(1, 9, size=(3, 4)).astype(np.int32)
    padded = np.zeros((3, 7), np.int32)
    padded[:, 2:6] = short
    again = Sequential([Input((4,)), Embedding(9, 4), kind(5), Dense(2)])
    again.ensure_initialized(2)
    again.set_weights(model.get_weights())
    assert model.predict(padded).tobytes() == again.predict(short).tobytes()


def test_the_forget_gate_begins_open() -> None:
    layer = LSTM(3, bias_initializer="random_normal")
    layer(X)
    bias = layer.cell.bias.numpy()
    np.testing.assert_array_equal(bias[3:6], 1)
    assert len(set(bias.tolist())) == 10
    recurrent = layer.cell.recurrent_kernel.numpy()
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(3), atol=1e-5)


def test_dropout_is_the_same_at_every_step() -> None:
    layer = SimpleRNN(
        3, activation="linear", dropout=0.5, recurrent_initializer="zeros", return_sequences=True
    )
    layer(X)
    steps = layer(np.ones((40, 6, 3), np.float32), training=True)
    for t in range(1, 6):
        np.testing.assert_array_equal(steps[:, t], steps[:, 0])
    assert len(np.unique(steps[:, 0, 0])) > 3


# Cells, wrappers


class Sum(Layer):
    """Adds up its inputs."""

    state_size = 3

    def call(self, inputs: Any, states: Any) -> Any:
        total = states[0] + inputs
        return total, [total]


def test_cells_of_ones_own_are_unrolled() -> None:
    np.testing.assert_allclose(RNN(Sum(), return_sequences=True)(X), X.cumsum(axis=1), atol=1e-6)
    np.testing.assert_allclose(
        RNN(Sum(), go_backwards=True, return_sequences=True)(X), X[:, ::-1].cumsum(axis=1), atol=1e-6
    )


def test_cells_are_steps_of_their_layers() -> None:
    layer, cell = LSTM(4, return_sequences=True), LSTMCell(4)
    steps = layer(X)
    states = [np.zeros((6, 4), np.float32)] * 2
    cell(X[:, 0], states)
    cell.set_weights(layer.get_weights())
    for t in range(5):
        output, states = cell(X[:, t], states)
        np.testing.assert_allclose(output, steps[:, t], atol=1e-6)


def test_stacked_cells_are_layers_on_top_of_each_other() -> None:
    stacked = RNN([layers.GRUCell(4), layers.SimpleRNNCell(3)])
    first, second = GRU(4, return_sequences=True), SimpleRNN(3)
    second(first(X))
    stacked(X)
    stacked.set_weights([*first.get_weights(), *second.get_weights()])
    np.testing.assert_allclose(stacked(X), second(first(X)), atol=1e-6)


@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul", None])
def test_both_directions_are_merged(mode: str | None) -> None:
    both = layers.Bidirectional(LSTM(4, return_sequences=True), merge_mode=mode)
    found = both(X)
    forward = both.forward_layer(X)
    backward = both.backward_layer(X)[:, ::-1]
    expected = {
        "concat": np.concatenate([forward, backward], axis=-1),
        "sum": forward + backward,
        "ave": (forward + backward) / 2,
        "mul": forward * backward,
    }
    if mode is None:
        np.testing.assert_array_equal(found[0], forward)
        np.testing.assert_array_equal(found[1], backward)
    else:
        np.testing.assert_allclose(found, expected[mode], atol=1e-7)
    names = [variable.path for variable in both.variables]
    assert names[0].startswith("forward_lstm/lstm_cell/") and names[-1].startswith("backward_lstm/lstm_cell/")


def test_states_of_both_directions_follow_the_output() -> None:
    both = layers.Bidirectional(LSTM(4, return_state=True))
    assert [array.shape for array in both(X)] == [(6, 8), (6, 4), (6, 4), (6, 4), (6, 4)]
    states = both(X)[1:]
    assert not np.array_equal(both(X, initial_state=states)[0], both(X)[0])


def test_each_step_is_a_sample_of_the_layer_inside() -> None:
    dense = Dense(2)
    spread = layers.TimeDistributed(dense)(X)
    np.testing.assert_array_equal(spread, dense(X.reshape(30, 3)).reshape(6, 5, 2))
    nested = Sequential([Input((4, 5, 3)), layers.TimeDistributed(LSTM(2)), LSTM(3)])
    assert nested.predict(np.zeros((2, 4, 5, 3), np.float32)).shape == (2, 3)


def encoder_decoder() -> Model:
    source, target = Input((5,), name="source"), Input((4,), name="target")
    embed = Embedding(9, 4, mask_zero=True)
    _, *states = layers.LSTM(6, return_state=True)(embed(source))
    decoded = layers.LSTM(6, return_sequences=True)(embed(target), initial_state=states)
    model = Model([source, target], Dense(9, "softmax")(decoded))
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def test_states_go_from_an_encoder_to_a_decoder(tmp_path: Path) -> None:
    source = RNG.integers(0, 9, size=(20, 5))
    target = RNG.integers(0, 9, size=(20, 4))
    model = encoder_decoder()
    model.fit([source, target], target, verbose=0, seed=1, shards=2, batch_size=7)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.predict([source, target]).tobytes() == model.predict([source, target]).tobytes()


def wrappers() -> list[Layer]:
    return [
        layers.Bidirectional(GRU(3, return_sequences=True), merge_mode="sum", name="both"),
        RNN([LSTMCell(3), layers.GRUCell(2)], return_sequences=True),
        layers.TimeDistributed(Dense(2, "relu")),
        Embedding(4, 3, mask_zero=True, embeddings_regularizer="l2"),
        LSTMCell(3, dropout=0.2),
    ]


@pytest.mark.parametrize("place", range(5))
def test_configurations_are_kept(place: int) -> None:
    config = json.loads(json.dumps(layers.serialize(wrappers()[place])))
    assert json.loads(json.dumps(layers.serialize(layers.deserialize(config)))) == config


# States from batch to batch


def stateful(samples: int = 10, **options: Any) -> Sequential:
    model = Sequential(
        [
            Input(batch_shape=(samples, 4, 3)),
            LSTM(5, stateful=True, return_sequences=True),
            layers.Bidirectional(GRU(3, return_sequences=True, stateful=True)),
            Dense(1),
        ]
    )
    model.compile("sgd", "mse", **options)
    return model


SERIES = RNG.normal(size=(30, 4, 3)).astype(np.float32)
AFTER = RNG.normal(size=(30, 4, 1)).astype(np.float32)
IN_TURN: dict[str, Any] = {"batch_size": 10, "epochs": 2, "shuffle": False, "shards": 3}


@pytest.mark.parametrize(("backend", "workers"), [("local", 2), ("threads", 2), ("threads", 3)])
def test_states_are_the_same_bytes_whoever_keeps_them(backend: str, workers: int) -> None:
    expected = train(stateful, SERIES, AFTER, **IN_TURN)
    found = train(stateful, SERIES, AFTER, **IN_TURN, backend=backend, workers=workers)
    assert (found.weights, found.history) == (expected.weights, expected.history)
    eager = train(lambda: stateful(run_eagerly=True), SERIES, AFTER, **IN_TURN)
    assert eager.weights == expected.weights


def test_a_stopped_training_goes_on_from_its_states() -> None:
    whole = train(stateful, SERIES, AFTER, **IN_TURN)
    first = MemoryRecorder(stop_at=2)
    with pytest.raises(Stopped):
        train(stateful, SERIES, AFTER, **IN_TURN, recorder=first)
    rest = train(stateful, SERIES, AFTER, **IN_TURN, recorder=MemoryRecorder(snapshot=first.saved[-1]))
    assert rest.weights == whole.weights


def test_a_sequence_in_pieces_is_the_sequence() -> None:
    pieces = Sequential([Input((4, 3), batch_size=2), LSTM(5, stateful=True, return_sequences=True)])
    whole = Sequential([Input((12, 3)), LSTM(5, return_sequences=True)])
    x = RNG.normal(size=(2, 12, 3)).astype(np.float32)
    expected = whole.predict(x)
    pieces.ensure_initialized(1)
    values = {variable.path: variable.numpy() for variable in whole.variables}
    for variable in pieces.trainable_variables:
        variable.assign(values[variable.path])
    found = [pieces.predict(x[:, i : i + 4]) for i in (0, 4, 8)]
    assert np.concatenate(found, axis=1).tobytes() == expected.tobytes()
    in_batches = np.concatenate([x[:, :4], x[:, 4:8], x[:, 8:]])
    pieces.reset_states()
    assert pieces.predict(in_batches, batch_size=2).tobytes() == np.concatenate(found).tobytes()


def test_states_begin_anew_where_a_callback_says_so() -> None:
    class Reset(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.reset_states()

    class Watch(Callback):
        seen: Any = None

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seen = self.model.layers[0].states[0].numpy()

    watch = Watch()
    with stateful() as model, stateful() as other:
        model.fit(SERIES, AFTER, **IN_TURN, verbose=0, seed=1, callbacks=[Reset(), watch])
        other.fit(SERIES, AFTER, **IN_TURN, verbose=0, seed=1)
        assert np.abs(watch.seen).max() > 0
        assert weight_bytes(model) != weight_bytes(other)


def test_evaluation_leaves_the_states() -> None:
    with stateful() as model:
        model.fit(SERIES, AFTER, **IN_TURN, verbose=0, seed=1)
        before = weight_bytes(model)
        first = model.evaluate(SERIES, AFTER, batch_size=10, verbose=0)
        assert weight_bytes(model) == before
        assert model.evaluate(SERIES, AFTER, batch_size=10, verbose=0) == first
        model.reset_states()
        assert model.evaluate(SERIES, AFTER, batch_size=10, verbose=0) != first


@pytest.mark.parametrize(("samples", "batch"), [(30, 15), (25, 10), (5, 10)])
def test_batches_that_do_not_fit_the_states_are_refused(samples: int, batch: int) -> None:
    with pytest.raises(DataError, match="Expected batch size: 10"):
        stateful().fit(SERIES[:samples], AFTER[:samples], batch_size=batch, verbose=0)
    with pytest.raises(DataError, match="Expected batch size: 10"):
        stateful().predict(SERIES[:samples], batch_size=batch)


# Messages


def called(layer: Layer, *shape: int, **options: Any) -> Any:
    return layer(np.zeros(shape, np.float32), **options)


MESSAGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: LSTM(0), "invalid value for argument `units`, expected a positive integer, got 0"),
    (lambda: LSTM(3, unit=4), "Unrecognized keyword arguments passed to LSTM: {'unit': 4}"),
    (lambda: GRU(3, kernel_constraint="max"), "Could not interpret constraint identifier: max"),
    (lambda: RNN(3), "Argument `cell` should have a `call` method. Received: cell=3"),
    (lambda: RNN(Dense(3)), "should have a `state_size` attribute"),
    (lambda: called(LSTM(3), 2, 4), "expected ndim=3, found ndim=2"),
    (
        lambda: called(LSTM(3), 2, 4, 3, initial_state=[np.zeros((2, 3), np.float32)]),
        r"Layer 'lstm' expects 2 state\(s\), but it received 1 initial state\(s\)",
    ),
    (
        lambda: called(GRU(3), 2, 4, 3, initial_state=[np.zeros((2, 4), np.float32)]),
        "the initial state must have shape",
    ),
    (
        lambda: Sequential([Input((4, 3)), LSTM(3, stateful=True)]),
        "When using `stateful=True` in a RNN, the batch size must be static",
    ),
    (lambda: layers.Bidirectional(LSTM(3), merge_mode="add"), "Invalid merge mode. Received: add"),
    (lambda: layers.Bidirectional(3), "Please initialize `Bidirectional` layer with a `Layer` instance"),
    (
        lambda: layers.Bidirectional(LSTM(3), backward_layer=LSTM(3)),
        "should have different `go_backwards` value",
    ),
    (
        lambda: layers.Bidirectional(LSTM(3), backward_layer=LSTM(3, go_backwards=True, stateful=True)),
        'the same value for attribute "stateful", got "False" for forward layer and "True"',
    ),
    (lambda: layers.TimeDistributed(3), "Please initialize `TimeDistributed` layer with a `Layer`"),
    (lambda: called(layers.TimeDistributed(Dense(3)), 2, 4), "with at least 3 dimensions"),
    (lambda: layers.RepeatVector(0), "`n` must be positive. Received: n=0"),
    (lambda: called(layers.RepeatVector(2), 2, 3, 4), "expected ndim=2, found ndim=3"),
    (lambda: Embedding(0, 3), "`input_dim` must be a positive integer. Received: input_dim=0"),
    (
        lambda: called(Embedding(4, 3), 2, 3) + Embedding(4, 3)(np.full((2, 3), 4)),
        "between 0 and 3.*Received: 4",
    ),
    (lambda: Input((3,), batch_size=0), "`batch_size` must be a positive integer"),
    (lambda: Input((3,), batch_shape=(2, 3)), "cannot pass `shape` or `batch_size` at the same time"),
]


@pytest.mark.parametrize("call, message", MESSAGES, ids=[message[:50] for _, message in MESSAGES])
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_tokens_outside_the_vocabulary_are_named_in_training() -> None:
    tokens: Array = RNG.integers(0, 9, size=(20, 5))
    tokens[13, 2] = 12
    model = Sequential([Input((5,)), Embedding(9, 4), SimpleRNN(3), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="an index must be between 0 and 8.*Received: 12"):
        model.fit(tokens, np.zeros((20, 1)), verbose=0)
