"""Hooks for each batch of an evaluation, a validation and a prediction; BackupAndRestore."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import Array, classification, weight_bytes

from distnn.callbacks import BackupAndRestore, Callback
from distnn.layers import LSTM, Dense, Input
from distnn.models import Sequential
from distnn.utils import PyDataset

X, Y = classification()
PLACES: list[dict[str, Any]] = [
    {},
    {"backend": "threads", "workers": 2, "shards": 3},
    pytest.param({"backend": "ray", "workers": 2, "shards": 3}, marks=pytest.mark.ray),  # type: ignore[list-item]
]


@pytest.fixture(autouse=True)
def _one_ray(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("ray_cluster")


def make() -> Sequential:
    model = Sequential([Input(X.shape[1:]), Dense(8, "relu", kernel_regularizer="l2"), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    model.ensure_initialized(1)
    return model


class Noted(Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int]] = []
        self.logs: list[Any] = []

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.told.append(("test begin", batch))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.told.append(("test end", batch))
        self.logs.append(logs)

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.told.append(("predict begin", batch))

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.told.append(("predict end", batch))
        self.logs.append(logs["outputs"])


def turns(what: str, count: int) -> list[tuple[str, int]]:
    return [(f"{what} {when}", batch) for batch in range(count) for when in ("begin", "end")]


class Batches(PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        return X[index * 20 : index * 20 + 20], Y[index * 20 : index * 20 + 20]


@pytest.mark.parametrize("place", PLACES)
def test_evaluation_calls_them_and_comes_to_the_same(place: dict[str, Any]) -> None:
    with make() as model:
        noted, count = Noted(), -(-len(X) // 25)
        plain = model.evaluate(X, Y, batch_size=25, return_dict=True, verbose=0, **place)
        hooked = model.evaluate(X, Y, batch_size=25, return_dict=True, verbose=0, callbacks=[noted], **place)
        assert hooked == plain == noted.logs[-1]
        assert noted.told == turns("test", count)
        first = model.evaluate(X[:25], Y[:25], batch_size=25, return_dict=True, verbose=0, **place)
        assert noted.logs[0] == first
        assert model.evaluate(X, Y, batch_size=25, return_dict=True, verbose=0, **place) == plain


@pytest.mark.parametrize("place", PLACES)
def test_prediction_calls_them_and_comes_to_the_same(place: dict[str, Any]) -> None:
    with make() as model:
        noted = Noted()
        plain = model.predict(X, batch_size=25, **place)
        hooked = model.predict(X, batch_size=25, callbacks=[noted], **place)
        assert hooked.tobytes() == plain.tobytes() == np.concatenate(noted.logs).tobytes()
        assert noted.told == turns("predict", len(noted.logs))
        assert model.predict(X, batch_size=25, **place).tobytes() == plain.tobytes()


@pytest.mark.parametrize("place", PLACES)
def test_validation_calls_them_and_the_history_is_the_same(place: dict[str, Any]) -> None:
    def trained(callbacks: list[Callback]) -> tuple[bytes, dict[str, Any]]:
        with make() as model:
            data = (X[:50], Y[:50])
            history = model.fit(
                X, Y, batch_size=40, epochs=3, seed=2, verbose=0, validation_data=data,
                validation_batch_size=20, callbacks=callbacks, **place,
            )  # fmt: skip
            return weight_bytes(model), history.history

    noted = Noted()
    assert trained([noted]) == trained([])
    assert noted.told == turns("test", 3) * 3


def test_batches_that_are_pulled_are_counted_on() -> None:
    with make() as model:
        noted = Noted()
        plain = model.evaluate(Batches(), return_dict=True, verbose=0)
        assert model.evaluate(Batches(), return_dict=True, verbose=0, callbacks=[noted]) == plain
        outputs = model.predict(Batches(), callbacks=[noted])
        assert outputs.tobytes() == model.predict(Batches()).tobytes()
        assert noted.told == [*turns("test", 3), *turns("predict", 3)]


IN_TURN: dict[str, Any] = {"batch_size": 4, "verbose": 0}
SERIES = np.random.default_rng(3).normal(size=(16, 5, 2)).astype(np.float32)
AFTER = SERIES.mean((1, 2))[:, np.newaxis]


def make_stateful() -> Sequential:
    layers = [LSTM(3, stateful=True, return_sequences=True), LSTM(2, stateful=True), Dense(1)]
    model = Sequential([Input(batch_shape=(4, 5, 2)), *layers])
    model.compile("sgd", "mse")
    model.ensure_initialized(1)
    return model


@pytest.mark.parametrize("place", PLACES)
def test_states_go_on_from_batch_to_batch(place: dict[str, Any]) -> None:
    with make_stateful() as plain, make_stateful() as hooked:
        found: list[list[Any]] = []
        for model, callbacks in ((plain, []), (hooked, [Noted()])):
            how = {**IN_TURN, **place, "callbacks": callbacks}
            history = model.fit(
                SERIES, AFTER, epochs=2, seed=2, shuffle=False, validation_data=(SERIES, AFTER), **how
            )
            evaluated = [model.evaluate(SERIES, AFTER, **how) for _ in range(2)]
            outputs = [model.predict(SERIES, **how).tobytes() for _ in range(2)]
            found.append([history.history, evaluated, outputs, weight_bytes(model)])
            assert outputs[0] != outputs[1], "the states count"
        assert found[0] == found[1]
        noted = how["callbacks"][0]
        assert noted.told == turns("test", 4) * 4 + turns("predict", 4) * 2
        assert np.concatenate(noted.logs[-4:]).tobytes() == outputs[1]


class Breaks(Callback):
    """Ends the training as a crash would."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        raise RuntimeError("crash")


def test_states_are_those_of_the_training_if_a_hook_of_its_validation_fails() -> None:
    options: dict[str, Any] = {**IN_TURN, "epochs": 1, "seed": 2, "shuffle": False}
    whole, broken = make_stateful(), make_stateful()
    whole.fit(SERIES, AFTER, **options)
    with pytest.raises(RuntimeError, match="crash"):
        broken.fit(SERIES, AFTER, validation_data=(SERIES, AFTER), callbacks=[Breaks()], **options)
    assert weight_bytes(broken) == weight_bytes(whole)


class BreaksLater(Callback):
    """Ends the training as a crash would."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise RuntimeError("crash")

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: Any) -> None:
        pass


@pytest.mark.parametrize("seed", [5, None])
def test_backup_and_restore_goes_on_and_cleans_up(tmp_path: Path, seed: int | None) -> None:
    options: dict[str, Any] = {"batch_size": 20, "epochs": 5, "seed": seed, "verbose": 0}
    kept = tmp_path / "kept"
    with pytest.raises(RuntimeError, match="crash"):
        make().fit(X, Y, callbacks=[BackupAndRestore(kept, 4), BreaksLater()], **options)
    assert list((kept / "checkpoints").iterdir())
    model = make()
    begun: list[int] = []

    class Counts(BreaksLater):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            begun.append(epoch)

        on_epoch_end = Callback.on_epoch_end

    history = model.fit(X, Y, callbacks=[BackupAndRestore(kept, 4), Counts()], **options)
    assert begun[0] > 0 and len(history.history["loss"]) == 5 and not kept.exists()
    if seed is not None:
        whole = make()
        whole.fit(X, Y, **options)
        assert weight_bytes(model) == weight_bytes(whole)


def test_a_backup_is_removed_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    removed = shutil.rmtree

    def killed(path: Path, **options: Any) -> None:
        if options:
            removed(path, **options)
        else:
            (path / "recipe.json").unlink()
            raise RuntimeError("killed")

    with monkeypatch.context() as context:
        context.setattr(shutil, "rmtree", killed)
        with pytest.raises(RuntimeError, match="killed"):
            make().fit(X, Y, epochs=1, verbose=0, callbacks=BackupAndRestore(kept))
    make().fit(X, Y, epochs=1, verbose=0, callbacks=BackupAndRestore(kept))
    assert list(tmp_path.iterdir()) == []


def test_a_backup_behind_a_link_is_removed_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "kept"
    link.symlink_to(tmp_path / "disk")
    for _ in range(2):
        make().fit(X, Y, epochs=1, verbose=0, callbacks=BackupAndRestore(link))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "disk", link] and list(link.iterdir()) == []


def test_a_backup_that_cannot_be_removed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, aside: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.warns(UserWarning, match=r"training is complete, but .*kept cannot be removed \(Permission"):
        make().fit(X, Y, epochs=1, verbose=0, callbacks=BackupAndRestore(tmp_path / "kept"))


def test_backup_may_be_left_and_given_once(tmp_path: Path) -> None:
    kept = BackupAndRestore(tmp_path / "kept", delete_checkpoint=False)
    make().fit(X, Y, epochs=1, verbose=0, seed=1, callbacks=kept)
    assert kept.backup_dir.is_dir()
    with pytest.raises(ValueError, match="give BackupAndRestore or `run_dir`, not both"):
        make().fit(X, Y, verbose=0, callbacks=kept, run_dir=tmp_path / "other")
    with pytest.raises(ValueError, match="one BackupAndRestore is enough. Received: 2"):
        make().fit(X, Y, verbose=0, callbacks=[kept, BackupAndRestore(tmp_path / "b")])
