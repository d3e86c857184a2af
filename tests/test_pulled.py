"""Generators and `PyDataset`s in `fit`, `evaluate` and `predict`: which batches, when, the same bytes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from pulled_batches import EVEN, UNEVEN, Batches, X, Y, coupled, endless, fitted, make
from trainings import train, weight_bytes

import distnn.feeding
from distnn.callbacks import Callback, LambdaCallback
from distnn.errors import DataError
from distnn.layers import LSTM, Dense, Embedding, Input, Lambda, concatenate
from distnn.losses import SparseCategoricalCrossentropy
from distnn.models import Model, Sequential
from distnn.training import Stopped
from distnn.utils import PyDataset, Sequence

# The same bytes


def test_batches_that_are_pulled_train_as_arrays_do() -> None:
    expected = train(make, X, Y, batch_size=16, shuffle=False, epochs=3, shards=2)
    assert fitted(Batches(), shards=2) == expected
    assert fitted(endless(), shards=2, steps_per_epoch=4) == expected


@pytest.mark.parametrize("cuts", [EVEN, UNEVEN], ids=str)
@pytest.mark.parametrize("model", [make, coupled])
def test_the_same_bytes_on_any_number_of_workers(cuts: tuple[int, ...], model: Callable[[], Model]) -> None:
    expected = fitted(Batches(cuts), model, shards=3)
    for workers in (1, 2, 3, 7):
        place: dict[str, Any] = {"backend": "threads", "workers": workers, "shards": 3}
        assert fitted(Batches(cuts, workers=workers), model, **place) == expected
        assert fitted(endless(cuts), model, steps_per_epoch=4, **place) == expected
    assert fitted(Batches(cuts), model, shards=2).weights != expected.weights


def test_how_batches_are_grouped_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fitted(Batches(UNEVEN))
    each = LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no .get_state.")
        assert fitted(Batches(UNEVEN), callbacks=[each]) == expected
    monkeypatch.setattr(distnn.feeding, "WINDOW_BATCHES", 1)
    assert fitted(Batches(UNEVEN)) == expected
    monkeypatch.setattr(distnn.feeding, "WINDOW_BATCHES", 3)
    monkeypatch.setattr(distnn.training, "SEGMENT_SECONDS", 1e9)
    assert fitted(Batches(UNEVEN)) == expected


class Bindings(Callback):
    """Looks at the end of each epoch how often data have been bound."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        engine: Any = self.model.engines["local"]
        self.seen.append(engine._now.runners[0].bindings)

    def get_state(self) -> dict[str, Any]:
        return {}


def test_windows_are_bound_once_whatever_the_size_of_the_validation_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tapes stay where batches come anew, also beside data that are read where they lie."""
    monkeypatch.setattr(distnn.feeding, "WINDOW_BATCHES", 1)
    large = np.repeat(X, 100, axis=0), np.repeat(Y, 100)
    bindings = Bindings()
    fitted(Batches((16, 32, 48)), epochs=5, validation_data=large, callbacks=[bindings])
    assert bindings.seen == [bindings.seen[0]] * 5


def test_eager_models_and_masks_and_counts() -> None:
    def masked(run_eagerly: bool = False) -> Callable[[], Sequential]:
        def make() -> Sequential:
            layers = [Embedding(9, 4, mask_zero=True), LSTM(3, return_sequences=True), Dense(3, "softmax")]
            model = Sequential([Input((5,), dtype="int32"), *layers])
            loss = SparseCategoricalCrossentropy(ignore_class=9, reduction="mean_with_sample_weight")
            model.compile("sgd", loss, run_eagerly=run_eagerly)
            return model

        return make

    rng = np.random.default_rng(1)
    tokens, labels = rng.integers(0, 9, (53, 5)), rng.integers(0, 3, (53, 5))
    labels[rng.random((53, 5)) < 0.3] = 9
    weights = rng.random(53)

    def batches(cuts: tuple[int, ...]) -> Iterator[Any]:
        for start, stop in zip((0, *cuts), cuts, strict=False):
            yield tokens[start:stop], labels[start:stop], weights[start:stop]

    options: dict[str, Any] = {"steps_per_epoch": 4, "epochs": 1, "shards": 3}
    arrays: dict[str, Any] = {"sample_weight": weights, "batch_size": 16, "shuffle": False}
    expected = train(masked(), tokens, labels, epochs=1, shards=3, **arrays)
    assert fitted(batches(EVEN), masked(), **options) == expected
    uneven = fitted(batches(UNEVEN), masked(), **options)
    assert fitted(batches(UNEVEN), masked(), backend="threads", workers=2, **options) == uneven
    assert fitted(batches(UNEVEN), masked(run_eagerly=True), **options) == uneven


def test_sample_weights_and_class_weights() -> None:
    weights = np.where(Y == 0, 3.0, 1.0).astype(np.float32)
    expected = train(make, X, Y, sample_weight=weights, batch_size=16, shuffle=False, epochs=3)
    assert fitted(Batches(weights=weights)) == expected
    assert fitted(Batches(), class_weight={0: 3.0}) == expected


def test_validation_with_weights_beside_batches_without() -> None:
    weights = np.where(Y == 0, 3.0, 1.0).astype(np.float32)
    found = fitted(Batches(), validation_data=(X, Y, weights))
    assert found.weights == fitted(Batches()).weights
    assert found == fitted(endless(), steps_per_epoch=4, validation_data=Batches((32, 53), weights))


def test_dtypes_may_change_from_batch_to_batch() -> None:
    whole = np.rint(3 * X)

    def mixed() -> Iterator[Any]:
        yield whole[:20].astype(np.int8), Y[:20].astype(np.uint8)
        yield whole[20:40].astype(np.float64), Y[20:40].astype(float)
        yield whole[40:].tolist(), Y[40:].tolist()

    rows = (slice(20), slice(20, 40), slice(40, 53))
    floats = ((whole[part].astype(np.float32), Y[part]) for part in rows)
    options: dict[str, Any] = {"steps_per_epoch": 3, "epochs": 1}
    assert fitted(mixed(), **options) == fitted(floats, **options)


def _in_turn(x: Any, dtypes: list[Any]) -> Iterator[Any]:
    """Batches of 10 samples, each in another dtype; those that are no float32 hold whole numbers."""
    for i in range(20):
        dtype = np.dtype(dtypes[i % len(dtypes)])
        rows = slice(i % 5 * 10, i % 5 * 10 + 10)
        whole = np.rint(x[rows]).astype(dtype)
        yield (x[rows] if dtype == np.float64 else whole), Y[rows]


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize(
    ("dtypes", "bound_anew"),
    [
        (["float32", "int32", "uint8", "bool"], 0),
        (["float32", "float64", "int32"], 0),
        (["int32", "float32", "uint8"], 0),
        (["uint8", "int32", "float32", "int16"], 0),
        (["uint8", "float64", "int32"], 1),
        (["int32", "float64", "uint8"], 1),
    ],
    ids=str,
)
def test_a_change_of_dtype_binds_nothing_anew(
    monkeypatch: pytest.MonkeyPatch, dtypes: list[Any], bound_anew: int, batches: int
) -> None:
    """float64 batches hold fractions, which only floats keep: one more binding, for all that follows."""
    monkeypatch.setattr(distnn.feeding, "WINDOW_BATCHES", batches)
    x = np.abs(3 * X)
    options: dict[str, Any] = {"steps_per_epoch": 5, "epochs": 4, "shards": 2}
    usual, bindings = Bindings(), Bindings()
    floats = ((given.astype(np.float32), y) for given, y in _in_turn(x, dtypes))
    expected = fitted(floats, callbacks=[usual], **options)
    assert fitted(_in_turn(x, dtypes), callbacks=[bindings], **options) == expected
    assert bindings.seen[-1] - usual.seen[-1] <= bound_anew


def test_a_batch_in_another_dtype_keeps_every_value() -> None:
    """Whatever the first batch was: large whole numbers, fractions and -0.0 reach the layers as given."""
    first = np.zeros((2, 1), np.int32)
    batches = [
        first,
        np.float32([[-0.0], [0.5]]),
        np.int32([[2**24 + 1], [2**31 - 1]]),
        np.uint8([[255], [0]]),
    ]
    for declared, wanted in (("float32", np.float32), ("int32", np.int32)):
        for given in (batches, batches[::-1]):
            model = Sequential([Input((1,), dtype=declared), Lambda(lambda x: x)])
            found = model.predict((batch for batch in given), verbose=0)
            expected = np.concatenate([batch.astype(wanted) for batch in given])
            assert found.tobytes() == expected.tobytes()


def test_inputs_and_targets_by_name_and_in_lists() -> None:
    def two() -> Model:
        a, b = Input((3,), name="a"), Input((3,), name="b")
        hidden = Dense(5, "relu")(concatenate([a, b]))
        model = Model(
            {"a": a, "b": b}, {"c": Dense(3, "softmax", name="c")(hidden), "d": Dense(1, name="d")(hidden)}
        )
        model.compile("sgd", {"c": "sparse_categorical_crossentropy", "d": "mse"})
        return model

    inputs = {"b": X[:, 3:], "a": X[:, :3]}
    targets = {"d": X[:, :1], "c": Y}
    expected = train(two, inputs, targets, batch_size=20, shuffle=False, epochs=1)

    def named() -> Iterator[Any]:
        for rows in (slice(20), slice(20, 40), slice(40, 53)):
            yield {k: v[rows] for k, v in inputs.items()}, {k: v[rows] for k, v in targets.items()}

    def listed() -> Iterator[Any]:
        for rows in (slice(20), slice(20, 40), slice(40, 53)):
            yield [X[rows, :3], X[rows, 3:]], [Y[rows], X[rows, :1]]

    options: dict[str, Any] = {"steps_per_epoch": 3, "epochs": 1}
    assert fitted(named(), two, **options) == fitted(listed(), two, **options) == expected


# Which batches, and when


def test_a_dataset_is_shuffled_by_the_seed_and_each_batch_comes_once() -> None:
    one = Batches(workers=0)
    shuffled = fitted(one, shuffle=True)
    passes = [tuple(one.asked[start : start + 4]) for start in (0, 4, 8)]
    assert {tuple(sorted(order)) for order in passes} == {(0, 1, 2, 3)}
    assert len(set(passes)) > 1
    assert fitted(Batches(), shuffle=True) == shuffled
    assert fitted(Batches(), shuffle=True, seed=6).weights != shuffled.weights != fitted(Batches()).weights


def test_steps_per_epoch_go_on_through_a_dataset_and_round() -> None:
    data = Batches(workers=0)
    assert len(fitted(data, steps_per_epoch=3).fingerprints) == 9
    assert data.asked == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_two_halves_of_a_training_are_the_whole() -> None:
    model = make()
    for part in ({"epochs": 2}, {"epochs": 4, "initial_epoch": 2}):
        model.fit(Batches(), seed=5, verbose=0, shuffle=True, threads=1, **part)  # type: ignore[arg-type]
    assert weight_bytes(model) == fitted(Batches(), epochs=4, shuffle=True).weights


def test_no_batch_of_a_generator_is_pulled_in_vain() -> None:
    pulled = 0

    def counted() -> Iterator[Any]:
        nonlocal pulled
        for batch in endless():
            pulled += 1
            yield batch

    generator = counted()
    model = make()
    for fits in (1, 2):
        model.fit(generator, steps_per_epoch=3, epochs=2, verbose=0)
        assert pulled == 6 * fits
    model.evaluate(generator, steps=2, verbose=0)
    assert pulled == 14


def test_a_generator_without_steps_per_epoch_is_one_epoch() -> None:
    model = make()
    assert len(model.fit((b for b in Batches()), verbose=0).history["loss"]) == 1
    assert model.optimizer.iterations == 4
    with pytest.warns(UserWarning, match="Your input ran out of data; interrupting training"):
        history = model.fit((b for b in Batches()), epochs=3, initial_epoch=1, verbose=0)
    assert history.epoch == [1] and model.optimizer.iterations == 8


@pytest.mark.parametrize("each_batch", [False, True])
def test_an_epoch_of_unknown_length_may_be_any(each_batch: bool) -> None:
    each = [LambdaCallback(on_train_batch_end=lambda batch, logs: None)] if each_batch else []
    options: dict[str, Any] = {"seed": 5, "verbose": 0, "callbacks": each}
    one, other = make(), make()
    expected = one.fit((b for b in Batches()), epochs=1, **options).history
    found = other.fit((b for b in Batches()), epochs=3, initial_epoch=2, **options)
    assert found.history == expected and np.isfinite(found.history["loss"]).all()
    assert found.epoch == [2] and weight_bytes(other) == weight_bytes(one)


def test_an_iterator_that_has_ended_is_asked_no_more() -> None:
    class Again:
        def __init__(self) -> None:
            self.left = iter(Batches())

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            try:
                return next(self.left)
            except StopIteration:
                self.left = iter(Batches())
                raise

    with pytest.warns(UserWarning, match="Your input ran out of data"):
        history = make().fit(Again(), epochs=3, verbose=0)
    assert history.epoch == [0] and np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(("steps", "epochs"), [(3, [0, 1]), (4, [0]), (9, [0])])
def test_a_generator_that_ends_early_ends_the_training(steps: int, epochs: list[int]) -> None:
    with pytest.warns(UserWarning, match="Your input ran out of data") as said:
        model = make()
        history = model.fit(
            (b for b in Batches()), steps_per_epoch=steps, epochs=3, verbose=0, validation_data=(X, Y)
        )
    assert len(said) == 1
    assert history.epoch == epochs and len(history.history["val_loss"]) == len(epochs)
    assert model.optimizer.iterations == 4


def test_hooks_enclose_each_epoch_whatever_runs_ahead() -> None:
    class Hooked(Batches):
        def on_epoch_begin(self) -> None:
            self.asked.append(-1)

        def on_epoch_end(self) -> None:
            self.asked.append(-2)

    data = Hooked(workers=1, max_queue_size=100)
    fitted(data)
    assert data.asked[1:] == [-1, 0, 1, 2, 3, -2] * 3
    data = Hooked(workers=3)
    fitted(data, epochs=2)
    assert [data.asked[place] for place in (1, 6, 7, 12)] == [-1, -2, -1, -2]
    assert sorted(data.asked[2:6]) == sorted(data.asked[8:12]) == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_dataset_makes_each_batch_once(workers: int, shuffle: bool) -> None:
    data = Batches(workers=workers)
    fitted(data, epochs=2, shuffle=shuffle)
    assert sorted(data.asked) == sorted([0, 1, 2, 3] * 2)
    data = Batches(workers=workers)
    make().evaluate(data, verbose=0)
    assert sorted(data.asked) == [0, 1, 2, 3]
    later = Batches(workers=workers)
    fitted(later, epochs=2, initial_epoch=1, shuffle=shuffle)
    assert sorted(later.asked[1:]) == [0, 1, 2, 3], "the first batch of all is not that of this epoch"


def test_a_batch_made_before_the_epoch_began_is_made_anew_if_a_hook_may_have_changed_it() -> None:
    class Turning(Batches):
        turned = 1

        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            return x * self.turned, y

    class Hooked(Turning):
        def on_epoch_begin(self) -> None:
            self.turned = -1

    turned = Turning()
    turned.turned = -1
    data = Hooked(workers=0)
    assert fitted(data, epochs=1) == fitted(turned, epochs=1)
    assert data.asked == [0, 0, 1, 2, 3]


def test_a_dataset_that_shuffles_itself_at_the_end_of_an_epoch() -> None:
    class Shuffling(PyDataset):
        def __init__(self) -> None:
            super().__init__(workers=2)
            self.order = np.arange(53)
            self.rng = np.random.default_rng(1)

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            rows = self.order[16 * index : 16 * index + 16]
            return X[rows], Y[rows]

        def on_epoch_end(self) -> None:
            self.rng.shuffle(self.order)

    assert fitted(Shuffling()) == fitted(Shuffling(), backend="threads", workers=2, shards=1)
    assert fitted(Shuffling()).weights != fitted(Batches()).weights
    recorder = MemoryRecorder(stop_at=6, save_at=(6,))
    with pytest.raises(Stopped):
        fitted(Shuffling(), recorder=recorder)
    again = MemoryRecorder(snapshot=recorder.saved[-1])
    assert fitted(Shuffling(), recorder=again).weights == fitted(Shuffling()).weights


def test_batches_are_made_in_threads_or_in_the_callers() -> None:
    here = threading.current_thread().name
    for workers in (0, 1, 4):
        data = Batches(workers=workers)
        before = threading.active_count()
        fitted(data)
        assert len(data.threads - {here}) <= workers and (not workers or data.threads - {here})
        assert threading.active_count() == before
    with pytest.warns(UserWarning, match="made by threads of this process"):
        fitted(Batches(use_multiprocessing=True))


def test_a_generator_runs_in_the_callers_thread_and_may_ask_the_model() -> None:
    model = make()
    model.ensure_initialized(1)
    names: list[str] = []

    def curious() -> Iterator[Any]:
        for batch in endless():
            names.append(threading.current_thread().name)
            assert model.predict(batch[0]).shape == (len(batch[0]), 3)
            yield batch

    model.fit(curious(), steps_per_epoch=4, epochs=2, verbose=0)
    assert set(names) == {threading.current_thread().name}


def test_what_a_generator_sees_of_the_model_is_the_epochs_beginning() -> None:
    def trained(seed: int, validated: bool = False) -> tuple[bytes, list[bytes]]:
        model, seen = make(), []

        def curious() -> Iterator[Any]:
            for batch in endless():
                seen.append(weight_bytes(model))
                yield batch

        if validated:
            model.fit(X, Y, validation_data=curious(), validation_steps=2, seed=seed, verbose=0, threads=1)
        else:
            model.fit(curious(), steps_per_epoch=4, epochs=2, seed=seed, verbose=0, threads=1)
        return weight_bytes(model), seen

    for validated in (False, True):
        assert trained(1, validated) == trained(1, validated) != trained(2, validated)
    seen = trained(1)[1]
    untrained = make()
    untrained.ensure_initialized(1)
    assert set(seen[:4]) == {weight_bytes(untrained)} and len(set(seen[4:])) == 1 and seen[3] != seen[4]


def test_the_old_name_and_a_constructor_that_forgets() -> None:
    assert Sequence is PyDataset

    class Forgetful(Sequence):
        def __init__(self) -> None:
            pass

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            return Batches()[index]

    with pytest.warns(UserWarning, match="should call `super"):
        assert fitted(Forgetful()) == fitted(Batches())
    assert [len(batch[0]) for batch in Forgetful()] == [16, 16, 16, 5]


def test_an_endless_dataset() -> None:
    class Endless(Batches):
        @property
        def num_batches(self) -> None:
            return None

        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index % 4)

    assert fitted(Endless(), steps_per_epoch=4) == fitted(Batches())
    for call in (
        lambda: make().fit(Endless(), verbose=0),
        lambda: make().evaluate(Endless(), verbose=0),
        lambda: make().fit(X, Y, validation_data=Endless(), verbose=0),
    ):
        with pytest.raises(ValueError, match="PyDataset Endless has no end"):
            call()


# Validation, evaluation, prediction


@pytest.mark.parametrize("cuts", [EVEN, UNEVEN], ids=str)
def test_validation_data_may_be_pulled(cuts: tuple[int, ...]) -> None:
    data = Batches(cuts)
    options: dict[str, Any] = {"batch_size": 16, "epochs": 2, "seed": 5, "verbose": 0}
    model = make()
    found = model.fit(X, Y, validation_data=data, **options).history
    assert found == make().fit(X, Y, validation_data=(b for b in Batches(cuts)), **options).history
    assert found["val_loss"][-1] == model.evaluate(Batches(cuts), verbose=0)[0]
    assert sorted(data.asked) == [0, 1, 2, 3], "they are pulled once, and kept"
    some = make().fit(X, Y, validation_data=endless(cuts), validation_steps=2, **options).history
    plain = make().fit(X, Y, validation_data=(X[: cuts[1]], Y[: cuts[1]]), **options).history
    np.testing.assert_allclose(some["val_loss"], plain["val_loss"], rtol=1e-5)
    assert fitted(Batches(), validation_data=(X, Y), epochs=2).history["val_loss"]


@pytest.mark.parametrize("place", [{}, {"backend": "threads", "workers": 2}])
def test_evaluate_and_predict_take_what_is_pulled(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distnn.feeding, "WINDOW_BATCHES", 2)
    model = make()
    model.ensure_initialized(3)
    options: dict[str, Any] = {"verbose": 0, "shards": 2, **place}
    expected = model.evaluate(X, Y, batch_size=16, **options)
    assert model.evaluate(Batches(), **options) == expected
    assert model.evaluate((b for b in Batches()), **options) == expected
    assert model.evaluate(endless(), steps=3, **options) == model.evaluate(
        X[:48], Y[:48], batch_size=16, **options
    )
    outputs = model.predict(X, batch_size=16, **options)
    for given in (Batches(), (b for b in Batches()), (x for x, _ in Batches()), ((x,) for x, _ in Batches())):
        np.testing.assert_array_equal(model.predict(given, **options), outputs)
    np.testing.assert_array_equal(model.predict(endless(), steps=2, **options), outputs[:32])
    np.testing.assert_array_equal(model.predict(Batches(UNEVEN), verbose=0), model.predict(X, batch_size=53))
    with pytest.warns(UserWarning, match="Your input ran out of data"):
        assert model.evaluate(Batches(), steps=9, **options) == expected
    model.close()


def test_progress_counts_batches_of_which_nobody_knew_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    model = make()
    model.evaluate((b for b in Batches()), verbose=2)
    model.predict((b for b in Batches()), verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["4/4", "4/4"]


def test_states_go_on_from_batch_to_batch() -> None:
    def stateful() -> Sequential:
        model = Sequential([Input(batch_shape=(4, 2, 3)), LSTM(3, stateful=True), Dense(1)])
        model.compile("sgd", "mse")
        model.ensure_initialized(2)
        return model

    x = X[:48].reshape(48, 2, 3)
    pulled = ((x[start : start + 4], x[start : start + 4, 0, :1]) for start in range(0, 48, 4))
    one, other = stateful(), stateful()
    np.testing.assert_array_equal(one.predict(b[0] for b in pulled), other.predict(x, batch_size=4))
    for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(DataError, match="batch 1 of the generator: If an RNN is stateful"):
        one.predict(iter([x[:4], x[4:7]]))
