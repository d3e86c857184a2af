"""Keras's callbacks: what they do, what they say, and that a resumed training does and says the same."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from trainings import classification, weight_bytes

from distnn import callbacks as kit
from distnn.callbacks import Callback, CallbackList
from distnn.layers import Dense, Dropout, Input
from distnn.models import Sequential, load_model
from distnn.optimizers import SGD
from distnn.optimizers.schedules import ExponentialDecay
from distnn.training import Stopped

X, Y = classification(53)
STEPS = 4
EPOCHS = 6


class Numbers(Callback):
    """Puts given numbers in the logs, so that what follows from them is known."""

    def __init__(self, **numbers: list[float]) -> None:
        self.numbers = numbers

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs.update({name: values[epoch] for name, values in self.numbers.items()})

    def get_state(self) -> dict[str, Any]:
        return {"kept": True}


def make(learning_rate: Any = 0.1) -> Sequential:
    model = Sequential([Input((6,)), Dense(7, "relu"), Dropout(0.2), Dense(3, "softmax")])
    model.compile(SGD(learning_rate, momentum=0.9), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def fit(model: Sequential, callbacks: list[Callback], **options: Any) -> tuple[Any, str]:
    """The History, and what was said."""
    said = io.StringIO()
    given: dict[str, Any] = {"batch_size": 16, "shards": 3, "epochs": EPOCHS, "seed": 5, "verbose": 0}
    history = model.fit(X, Y, callbacks=callbacks, progress_stream=said, **{**given, **options})
    return history, said.getvalue()


VALUES = [0.5, 0.4, 0.45, 0.44, 0.43, 0.3]


# Each alone


def test_early_stopping_waits_stops_says_so_and_restores() -> None:
    kept: dict[int, bytes] = {}
    keep = kit.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.update({epoch: weight_bytes(model)}))
    stop = kit.EarlyStopping("val_loss", patience=2, verbose=1, restore_best_weights=True)
    with make() as model:
        history, said = fit(model, [Numbers(val_loss=VALUES), keep, stop])
        assert history.epoch == [0, 1, 2, 3]
        assert weight_bytes(model) == kept[1] != kept[3]
    assert said == ("Epoch 4: early stopping\nRestoring model weights from the end of the best epoch: 2.\n")


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({}, 3),
        ({"patience": 3}, 5),
        ({"patience": 4}, 6),
        ({"mode": "max"}, 2),
        ({"min_delta": 0.2}, 2),
        ({"min_delta": -0.05, "patience": 3}, 5),
        ({"baseline": 0.42, "patience": 2}, 4),
        ({"baseline": 0.35, "patience": 3}, 3),
        ({"start_from_epoch": 3}, 6),
    ],
    ids=str,
)
def test_early_stopping_settings(settings: dict[str, Any], epochs: int) -> None:
    with make() as model:
        history, said = fit(model, [Numbers(val_loss=VALUES), kit.EarlyStopping("val_loss", **settings)])
    assert len(history.epoch) == epochs and said == ""


def test_auto_knows_which_way_a_metric_goes() -> None:
    rising = [0.1, 0.2, 0.3, 0.2, 0.2, 0.2]
    with make() as model:
        stop = kit.EarlyStopping("val_accuracy", patience=1)
        assert len(fit(model, [Numbers(val_accuracy=rising), stop])[0].epoch) == 4
        with pytest.raises(ValueError, match="monitor=speed, but distnn isn't able to.*Pass `mode='max'`"):
            fit(model, [Numbers(speed=rising), kit.EarlyStopping("speed")])
        stop = kit.EarlyStopping("speed", mode="max", patience=1)
        assert len(fit(model, [Numbers(speed=rising), stop])[0].epoch) == 4


def test_reduce_lr_on_plateau() -> None:
    values = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    reduce = kit.ReduceLROnPlateau("loss", factor=0.5, patience=1, cooldown=2, min_lr=0.03, verbose=1)
    with make() as model:
        history, said = fit(model, [Numbers(loss=values), reduce])
    assert history.history["learning_rate"] == [0.1, 0.1, 0.05, 0.05, 0.03, 0.03]
    assert said == (
        "\nEpoch 2: ReduceLROnPlateau reducing learning rate to 0.05.\n"
        "\nEpoch 4: ReduceLROnPlateau reducing learning rate to 0.03.\n"
    )


def test_a_change_below_min_delta_is_none() -> None:
    reduce = kit.ReduceLROnPlateau("loss", patience=2, min_delta=0.01)
    with make() as model:
        history, _ = fit(model, [Numbers(loss=[1.0, 0.995, 0.992, 0.5, 0.4, 0.3]), reduce])
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


@pytest.mark.parametrize("schedule", [lambda epoch, rate: rate * 0.5, lambda epoch: 0.1 * 0.5 ** (epoch + 1)])
def test_learning_rate_scheduler_takes_both_forms(schedule: Callable[..., float]) -> None:
    with make() as model:
        history, said = fit(model, [kit.LearningRateScheduler(schedule, verbose=1)], epochs=3)
    assert history.history["learning_rate"] == [0.05, 0.025, 0.0125]
    assert said.splitlines()[-1] == "Epoch 3: LearningRateScheduler setting learning rate to 0.0125."


def test_learning_rate_scheduler_refuses_what_is_no_float() -> None:
    with make() as model, pytest.raises(ValueError, match="should be a float. Got: 1"):
        fit(model, [kit.LearningRateScheduler(lambda epoch: 1)])


def test_a_schedule_of_the_optimizer_cannot_be_changed() -> None:
    with make(ExponentialDecay(0.1, 10, 0.5)) as model:
        history, _ = fit(model, [kit.ReduceLROnPlateau("loss", patience=99)])
        assert history.history["learning_rate"][0] == pytest.approx(0.1 * 0.5 ** (STEPS / 10))
        with pytest.raises(TypeError, match="its learning rate is not settable"):
            fit(model, [kit.LearningRateScheduler(lambda epoch: 0.1)])


def test_model_checkpoint_keeps_the_best_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.safetensors"
    keep = kit.ModelCheckpoint(path, verbose=1, save_best_only=True)
    with make() as model:
        _, said = fit(model, [Numbers(val_loss=VALUES), keep], epochs=3)
        names = ["01-0.50.safetensors", "02-0.40.safetensors"]
        assert sorted(entry.name for entry in (tmp_path / "new").iterdir()) == names
        assert load_model(tmp_path / "new" / names[0]).count_params() == model.count_params()
    first, second = (str(tmp_path / "new" / name) for name in names)
    assert said == (
        f"\nEpoch 1: val_loss improved from None to 0.50000, saving model to {first}\n"
        f"\nEpoch 1: finished saving model to {first}\n"
        f"\nEpoch 2: val_loss improved from 0.50000 to 0.40000, saving model to {second}\n"
        f"\nEpoch 2: finished saving model to {second}\n"
        "\nEpoch 3: val_loss did not improve from 0.40000\n"
    )


def test_model_checkpoint_saves_weights_every_so_many_batches(tmp_path: Path) -> None:
    path = tmp_path / "{epoch}-{batch}.weights.safetensors"
    with make() as model:
        fit(model, [kit.ModelCheckpoint(path, save_weights_only=True, save_freq=3)], epochs=2)
        found = sorted(entry.name for entry in tmp_path.iterdir())
        assert found == ["1-3.weights.safetensors", "2-2.weights.safetensors"]
        after = weight_bytes(model)
        model.load_weights(tmp_path / found[0])
        assert weight_bytes(model) != after


def test_csv_logger(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    with make() as model:
        history, _ = fit(model, [kit.CSVLogger(path, separator=";")], epochs=2, validation_data=(X, Y))
        rows = list(csv.reader(path.read_text().splitlines(), delimiter=";"))
        assert rows[0] == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
        assert [float(row[2]) for row in rows[1:]] == history.history["loss"]
        fit(model, [kit.CSVLogger(path, separator=";", append=True)], epochs=1)
        again = list(csv.reader(path.read_text().splitlines(), delimiter=";"))
        assert len(again) == 4 and again[3][3:] == ["NA", "NA"]
        fit(model, [kit.CSVLogger(path)], epochs=1)
        assert len(path.read_text().splitlines()) == 2


def test_terminate_on_nan() -> None:
    with make(learning_rate=1e30) as model:
        history, said = fit(model, [kit.TerminateOnNaN()])
        assert said.startswith("Batch ") and said.endswith(": Invalid loss, terminating training\n")
        assert len(history.epoch) == 1 and not math.isfinite(history.history["loss"][0])
        with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch 0. Loss value: "):
            fit(model, [kit.TerminateOnNaN(raise_error=True)])


def test_remote_monitor() -> None:
    received: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    root = f"http://127.0.0.1:{server.server_port}"
    try:
        kit.RemoteMonitor(root, send_as_json=True).on_epoch_end(3, {"loss": 0.5})
        kit.RemoteMonitor(root, path="/x").on_epoch_end(4, {"loss": 0.5})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    path, kind, body = received[0]
    assert (path, kind, json.loads(body)) == (
        "/publish/epoch/end/",
        "application/json",
        {"epoch": 3, "loss": 0.5},
    )
    assert received[1][0] == "/x" and received[1][2].startswith(b"data=%7B%22epoch%22")
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server at http://127"):
        kit.RemoteMonitor(root).on_epoch_end(0, {})


def events(folder: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar in a folder's event files."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with make() as model:
        board = kit.TensorBoard(tmp_path, histogram_freq=1, update_freq=3)
        history, _ = fit(model, [board], epochs=2, validation_data=(X, Y))
    train, validation = events(tmp_path / "train"), events(tmp_path / "validation")
    losses = [value for tag, step, value in train if tag == "epoch_loss"]
    np.testing.assert_allclose(losses, history.history["loss"], rtol=1e-6)
    losses = [value for tag, step, value in validation if tag == "epoch_loss"]
    np.testing.assert_allclose(losses, history.history["val_loss"], rtol=1e-6)
    assert {tag for tag, *_ in train} >= {"epoch_accuracy", "epoch_learning_rate", "dense/kernel/histogram"}
    assert [step for tag, step, _ in train if tag == "batch_loss"] == [3, 6]
    assert [step for tag, step, _ in validation if tag == "evaluation_loss_vs_iterations"] == [4, 8]


def test_tensorboard_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install distnn\[tensorboard\]"):
        kit.TensorBoard("logs")


# What is refused, and what is only warned of


@pytest.mark.parametrize(
    ("make_callback", "message"),
    [
        (lambda: kit.BackupAndRestore(""), "Empty `backup_dir` argument passed"),
        (lambda: kit.BackupAndRestore("kept", "batch"), "`save_freq`. Received: save_freq=batch"),
        (lambda: kit.ModelCheckpoint("m.pt"), "must end in `.safetensors`.*Received: filepath=m.pt"),
        (lambda: kit.ModelCheckpoint("m.weights.safetensors"), "must end in `.safetensors`"),
        (
            lambda: kit.ModelCheckpoint("m.safetensors", save_weights_only=True),
            "must end in `.weights.safetensors`",
        ),
        (
            lambda: kit.ModelCheckpoint("m.safetensors", save_freq="batch"),
            "Unrecognized save_freq: batch. Expected save_freq are 'epoch' or integer values",
        ),
        (lambda: kit.ReduceLROnPlateau(factor=1.0), "does not support a factor >= 1.0. Received factor=1.0"),
        (lambda: kit.RemoteMonitor("localhost:9000"), "must begin with http"),
        (lambda: kit.TensorBoard(profile_batch=2), "`profile_batch` is not supported"),
        (lambda: kit.TensorBoard(update_freq="step"), "`update_freq` must be"),
    ],
)
def test_refusals(make_callback: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_callback()


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (
            lambda path: kit.EarlyStopping(),
            "Early stopping conditioned on metric `val_loss` which is not available. "
            "Available metrics are: accuracy,loss",
        ),
        (
            lambda path: kit.ReduceLROnPlateau(),
            "Learning rate reduction is conditioned on metric `val_loss` which is not available. Available "
            "metrics are: accuracy,loss,learning_rate.",
        ),
        (
            lambda path: kit.ModelCheckpoint(path / "m.safetensors", save_best_only=True),
            "Can save best model only with val_loss available.",
        ),
    ],
)
def test_a_missing_monitor_is_a_warning(
    tmp_path: Path, callback: Callable[[Path], Callback], message: str
) -> None:
    with make() as model, pytest.warns(UserWarning) as caught:
        fit(model, [callback(tmp_path)], epochs=1)
    words = set(str(caught[0].message).replace(".", "").replace(",", " ").split())
    assert words == set(message.replace(".", "").replace(",", " ").split())


def test_an_unknown_mode_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="EarlyStopping mode 'least' is unknown, fallback to auto mode."):
        assert kit.EarlyStopping(mode="least").mode == "auto"


def test_a_file_name_with_an_unknown_word_is_named(tmp_path: Path) -> None:
    with make() as model, pytest.raises(KeyError, match="Failed to format this callback filepath"):
        fit(model, [kit.ModelCheckpoint(tmp_path / "{val_los}.safetensors")], epochs=1)


def test_only_those_who_look_at_batches_want_them(tmp_path: Path) -> None:
    quiet = [kit.EarlyStopping(), kit.ReduceLROnPlateau(), kit.CSVLogger("x"), kit.RemoteMonitor()]
    quiet += [kit.LearningRateScheduler(lambda e: 0.1), kit.ModelCheckpoint("m.safetensors")]
    quiet += [kit.TerminateOnNaN()]
    assert not CallbackList(quiet).wants_batches
    assert CallbackList(kit.ModelCheckpoint("m.safetensors", save_freq=7)).wants_batches


# Resumed

NOISE = [1.0, 0.5, 0.7, 0.6, 0.65, 0.2]

CASES: dict[str, Callable[[Path], list[Callback]]] = {
    "early_stopping": lambda path: [kit.EarlyStopping("val_loss", patience=2, restore_best_weights=True)],
    "early_stopping_waits": lambda path: [kit.EarlyStopping("val_loss", patience=3)],
    "plateau": lambda path: [kit.ReduceLROnPlateau("val_loss", patience=1, cooldown=1, factor=0.5)],
    "scheduler": lambda path: [kit.LearningRateScheduler(lambda epoch, rate: rate * 0.7)],
    "csv": lambda path: [kit.CSVLogger(path / "log.csv")],
    "best": lambda path: [
        kit.ModelCheckpoint(path / "{epoch}.safetensors", save_best_only=True),
    ],
    "every three batches": lambda path: [
        kit.ModelCheckpoint(path / "{epoch}-{batch}.safetensors", save_freq=3),
    ],
    "nan": lambda path: [kit.TerminateOnNaN()],
    "all": lambda path: [
        kit.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        kit.ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
        kit.CSVLogger(path / "log.csv"),
        kit.ModelCheckpoint(path / "best.safetensors", save_best_only=True),
        kit.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
    ],
}  # fmt: skip


def outcome(
    folder: Path, case: str, recorder: MemoryRecorder, **options: Any
) -> tuple[bytes, Mapping[str, Any], dict[str, bytes]] | None:
    folder.mkdir(exist_ok=True)
    with make() as model:
        try:
            history, _ = fit(
                model, [Numbers(val_loss=NOISE), *CASES[case](folder)], recorder=recorder, **options
            )
        except Stopped:
            return None
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return weight_bytes(model), history.history, files


@pytest.mark.parametrize("place", [{}, {"backend": "threads", "workers": 2}], ids=["local", "threads"])
@pytest.mark.parametrize("case", CASES)
def test_resumed_at_any_checkpoint_it_ends_as_the_unbroken_one(
    tmp_path: Path, case: str, place: dict[str, Any]
) -> None:
    stops = (2, 4, 7, 8, 9, 12, 15, 18)
    unbroken = outcome(tmp_path / "unbroken", case, MemoryRecorder(save_at=()))
    assert unbroken is not None
    for stop in stops:
        first = MemoryRecorder(stop_at=stop)
        folder = tmp_path / str(stop)
        if (found := outcome(folder, case, first, **place)) is None:
            again = MemoryRecorder(snapshot=first.saved[-1], fingerprints=dict(first.fingerprints))
            found = outcome(folder, case, again, **place)
        assert found == unbroken


def test_after_a_crash_rows_beyond_the_checkpoint_are_cut(tmp_path: Path) -> None:
    """As a killed process leaves it: the file is ahead of the checkpoint."""
    recorder = MemoryRecorder(save_at=(8, 10))
    expected = outcome(tmp_path / "csv", "csv", recorder)
    for snapshot in recorder.saved:
        kept = {step: value for step, value in recorder.fingerprints.items() if step < snapshot.step}
        again = MemoryRecorder(snapshot=snapshot, fingerprints=kept)
        assert outcome(tmp_path / "csv", "csv", again) == expected
    (tmp_path / "csv" / "log.csv").unlink()
    again = MemoryRecorder(snapshot=recorder.saved[0], fingerprints={})
    with pytest.warns(UserWarning, match="log.csv is shorter than this training left it"):
        outcome(tmp_path / "csv", "csv", again)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(300)
def test_over_ray_they_do_the_same(tmp_path: Path) -> None:
    unbroken = outcome(tmp_path / "local", "all", MemoryRecorder())
    first = MemoryRecorder(stop_at=7)
    place: dict[str, Any] = {"backend": "ray", "workers": 2}
    assert outcome(tmp_path / "ray", "all", first, **place) is None
    again = MemoryRecorder(snapshot=first.saved[-1], fingerprints=dict(first.fingerprints))
    assert outcome(tmp_path / "ray", "all", again, **place) == unbroken


class Forgetful(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        pass


def test_a_kept_run_with_a_callback_without_state_is_warned_of() -> None:
    recorder = MemoryRecorder()
    with make() as model:
        with pytest.warns(UserWarning, match="Forgetful: no `get_state`"):
            fit(model, [Forgetful()], epochs=1, recorder=recorder)
        assert "callbacks-without-state" in recorder.events
        fit(model, [Forgetful()], epochs=1)
