"""A run that goes on computes recorded steps again, and does not go on if they come out otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distnn import ops
from distnn.callbacks import Callback, LearningRateScheduler
from distnn.checkpoint import load_tensors, save_tensors
from distnn.errors import NonFiniteError, ResumeMismatchError
from distnn.layers import BatchNormalization, Dense, Dropout, Layer
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, fit_model
from distnn.training import Stopped
from jobs import journal
from jobs.recorder import RunRecorder
from jobs.rhythm import Rhythm
from jobs.rundir import RunDir
from jobs.status import State, read_status
from jobs.steplog import read_steps

pytestmark = pytest.mark.filterwarnings("ignore:BatchNormalization takes the statistics of its shard")

X = np.abs(np.random.default_rng(0).normal(size=(60, 4))).astype(np.float32) + 0.1
Y = np.arange(60) % 3
STEPS = 8
"""An epoch's; the last batch has four samples."""


class Scaled(Layer):
    """A layer of the user's; somebody may change its code between two attempts."""

    factor = 1.0

    def call(self, inputs: Any) -> Any:
        return ops.log(inputs) * Scaled.factor


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    yield
    Scaled.factor = 1.0


def build() -> Sequential:
    model = Sequential(
        [Scaled(input_shape=(4,)), Dense(5, activation="tanh"), BatchNormalization(), Dropout(0.2)]
    )
    model.add(Dense(3, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


class StopAt(RunRecorder):
    """Stops at a committed step, as somebody asked it to."""

    at = 1 << 60

    def next_checkpoint_step(self, step: int) -> int | None:
        wanted = [s for s in (super().next_checkpoint_step(step), self.at) if s is not None and s > step]
        return min(wanted, default=None)

    def on_steps(self, first_step: int, fingerprints: Any, logs: Any) -> None:
        super().on_steps(first_step, fingerprints, logs)
        if first_step + len(fingerprints) >= self.at:
            self.request_stop()


def train(
    path: Path, stop_at: int | None = None, *, every: int = 3, accept: bool = False, x: Any = X, **fit: Any
) -> Sequential:
    """Three epochs in a run directory, or those that are left."""
    recorder = StopAt(RunDir(path), Rhythm(every_steps=every, keep=100), accept_changes=accept)
    recorder.at = 1 << 60 if stop_at is None else stop_at
    with build() as model:
        options = {"batch_size": 8, "epochs": 3, "shards": 2, "seed": 3, "verbose": 0, **fit}
        try:
            model.fit(x, Y, recorder=recorder, **options)
        except Stopped:
            assert stop_at is not None
    return model


def checks(path: Path) -> list[tuple[int, bool, str]]:
    """What was told of every check."""
    records = journal.read(RunDir(path).events).records
    return [(r["steps"], r["equal"], r["evidence"]) for r in records if r["kind"] == "resume-checked"]


def files_of(path: Path) -> dict[str, bytes]:
    """All that decides how the run goes on."""
    names = [
        "steps.bin",
        "metrics.jsonl",
        "recipe.json",
        *(f"checkpoints/{p.name}" for p in checkpoints(path)),
    ]
    return {name: (path / name).read_bytes() for name in names}


def checkpoints(path: Path) -> list[Path]:
    return sorted((path / "checkpoints").iterdir())


def crash(path: Path, step: int) -> None:
    """Leave the run as a process that was killed: the steps are ahead of the checkpoint of `step`."""
    for file in checkpoints(path):
        if int(file.stem.removeprefix("step-")) > step:
            file.unlink()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run."""
    path = tmp_path_factory.mktemp("whole") / "run"
    train(path)
    assert checks(path) == []
    return path


def assert_same(path: Path, whole: Path) -> None:
    for name in ("model.safetensors", "steps.bin"):
        assert (path / name).read_bytes() == (whole / name).read_bytes(), name


# Honest runs pass


@pytest.mark.parametrize("place", [{}, {"backend": "threads", "workers": 2}], ids=["local", "threads"])
@pytest.mark.parametrize(
    ("stop", "evidence"),
    [
        (2, (2, "the initial weights")),
        (5, (2, "the checkpoint of step 3")),
        (7, (1, "the checkpoint of step 6")),
        (10, (1, "the checkpoint of step 9")),
        (17, (1, "the checkpoint of step 15")),
    ],
)
def test_after_a_stop_steps_before_it_are_computed_again(
    tmp_path: Path, whole: Path, stop: int, evidence: tuple[int, str], place: dict[str, Any]
) -> None:
    train(tmp_path, stop)
    train(tmp_path, **place)
    assert checks(tmp_path) == [(evidence[0], True, evidence[1])]
    assert_same(tmp_path, whole)


def test_after_a_crash_the_steps_beyond_the_checkpoint_are_computed_again(
    tmp_path: Path, whole: Path
) -> None:
    train(tmp_path, 14)
    crash(tmp_path, 12)
    train(tmp_path)
    assert checks(tmp_path) == [(2, True, "the checkpoint of step 12")]
    assert_same(tmp_path, whole)


def test_after_a_crash_before_the_first_checkpoint(tmp_path: Path, whole: Path) -> None:
    train(tmp_path, 5)
    crash(tmp_path, 0)
    with pytest.warns(UserWarning, match="there is no checkpoint left"):
        train(tmp_path)
    assert checks(tmp_path) == [(2, True, "the initial weights")]
    assert_same(tmp_path, whole)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("exchange", ["shared_memory", "object_store"])
def test_the_workers_compute_them_over_ray(tmp_path: Path, whole: Path, exchange: str) -> None:
    train(tmp_path, 10)
    recorder = RunRecorder(RunDir(tmp_path), Rhythm(every_steps=3))
    with build() as model:
        arguments = FitArguments(
            X, Y, 8, 3, 0, shards=2, seed=3, backend="ray", workers=2, exchange=exchange, recorder=recorder
        )
        fit_model(model, arguments)
    assert checks(tmp_path) == [(1, True, "the checkpoint of step 9")]
    assert_same(tmp_path, whole)


def test_a_finished_run_is_not_computed_again_but_more_epochs_are(tmp_path: Path) -> None:
    train(tmp_path, epochs=2)
    train(tmp_path, epochs=2)
    assert checks(tmp_path) == []
    train(tmp_path, epochs=3)
    assert checks(tmp_path) == [(1, True, "the checkpoint of step 15")]


def test_skipped_steps_come_out_again(tmp_path: Path) -> None:
    x = X.copy()
    x[:4, 0] = -1.0
    for stop in (*range(1, 12), None):
        train(tmp_path, stop, x=x, every=100, on_nonfinite="skip")
    assert all(equal for _, equal, _ in checks(tmp_path)) and len(checks(tmp_path)) == 11


# Callbacks


class Shrinks(Callback):
    """Changes the weights where the loop looks for it."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.set_weights([w * np.float32(0.9) for w in self.model.get_weights()])


@pytest.mark.parametrize("stop", [5, 8, 10, 16, 17])
def test_weights_that_a_callback_changed_are_no_damage(tmp_path: Path, stop: int) -> None:
    train(tmp_path / "whole", callbacks=[Shrinks()])
    train(tmp_path / "run", stop, callbacks=[Shrinks()])
    train(tmp_path / "run", callbacks=[Shrinks()])
    assert all(equal for _, equal, _ in checks(tmp_path / "run"))
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(("stop", "sources"), [(2, []), (5, ["the checkpoint of step 3"]), (9, [6])])
def test_what_callbacks_do_at_beginnings_is_not_guessed(
    tmp_path: Path, stop: int, sources: list[Any]
) -> None:
    """The learning rate of an epoch's first step is the schedule's business, not the checkpoint's."""
    rates = [LearningRateScheduler(lambda epoch: 0.01 * (epoch + 1))]
    train(tmp_path, stop, callbacks=rates)
    train(tmp_path, callbacks=rates)
    expected = [f"the checkpoint of step {s}" if isinstance(s, int) else s for s in sources]
    assert [source for _, _, source in checks(tmp_path)] == expected
    assert all(equal for _, equal, _ in checks(tmp_path))


class Forgetful(Callback):
    """Counts batches over the whole training, and keeps the count to itself."""

    def __init__(self) -> None:
        self.seen = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        self.model.optimizer.learning_rate = 0.01 / self.seen


@pytest.mark.filterwarnings("ignore:Forgetful. no .get_state.")
def test_with_callbacks_without_state_a_difference_is_told_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path, 14, callbacks=[Forgetful()])
    crash(tmp_path, 9)
    train(tmp_path, callbacks=[Forgetful()])
    assert False in [equal for _, equal, _ in checks(tmp_path)]
    assert "callbacks without state may be why: Forgetful" in caplog.text


# What has changed is noticed


@pytest.mark.parametrize("stop", [2, 5, 10])
def test_a_changed_layer_is_noticed_and_nothing_is_touched(tmp_path: Path, stop: int) -> None:
    train(tmp_path, stop)
    before = files_of(tmp_path)
    Scaled.factor = 1.0001
    for _ in range(2):
        with pytest.raises(ResumeMismatchError, match="nothing that the run knows of has changed") as raised:
            train(tmp_path)
        assert files_of(tmp_path) == before
    assert "--accept-changes" in str(raised.value) and "was computed again, from the" in str(raised.value)
    status = read_status(RunDir(tmp_path))
    assert status is not None and status.state is State.FAILED and "accept_changes=True" in status.message
    Scaled.factor = 1.0
    train(tmp_path)
    assert [equal for _, equal, _ in checks(tmp_path)] == [False, False, True]


def test_after_a_crash_a_changed_layer_is_noticed(tmp_path: Path, whole: Path) -> None:
    train(tmp_path, 14)
    crash(tmp_path, 9)
    before = files_of(tmp_path)
    Scaled.factor = 1.0001
    with pytest.raises(
        ResumeMismatchError, match="step 10 was computed again, from the checkpoint of step 9"
    ):
        train(tmp_path)
    assert files_of(tmp_path) == before
    Scaled.factor = 1.0
    train(tmp_path)
    assert_same(tmp_path, whole)


def test_a_change_that_shows_later_leaves_the_record_as_it_was(tmp_path: Path, whole: Path) -> None:
    """As of a machine that fails now and then."""
    train(tmp_path, 23, every=9)
    crash(tmp_path, 9)
    steps = read_steps(tmp_path / "steps.bin")

    class Fails(Callback):
        def get_state(self) -> dict[str, Any]:
            return {}

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.set_weights([w * np.float32(1.0001) for w in self.model.get_weights()])

    with pytest.raises(ResumeMismatchError, match="step 17 was computed again, from the recorded steps"):
        train(tmp_path, every=100, callbacks=[Fails()])
    np.testing.assert_array_equal(read_steps(tmp_path / "steps.bin"), steps)
    train(tmp_path, every=100)
    assert_same(tmp_path, whole)


def test_changes_can_be_accepted_and_are_recorded(tmp_path: Path, whole: Path) -> None:
    train(tmp_path, 10)
    Scaled.factor = 1.0001
    with pytest.warns(UserWarning, match="going on all the same"):
        train(tmp_path, accept=True)
    events = [r["kind"] for r in journal.read(RunDir(tmp_path).events).records]
    assert events.count("changes-accepted") == 1
    assert (tmp_path / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()
    assert read_steps(tmp_path / "steps.bin")[:10].tolist() == read_steps(whole / "steps.bin")[:10].tolist()


def test_another_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, 10)
    monkeypatch.setattr("jobs.recorder.cpu_name", lambda: "a CPU that cannot count")
    monkeypatch.setattr("distnn.recipe.np.__version__", "0.1")
    Scaled.factor = 1.0001
    with (
        pytest.raises(
            ResumeMismatchError, match=r"known to have changed: numpy: .* -> \"0.1\"; cpu: .* -> a CPU"
        ),
        pytest.warns(UserWarning, match="the arithmetic of this machine differs"),
    ):
        train(tmp_path)


# Damage


def rewrite(file: Path, change: Any) -> None:
    """Change a checkpoint and give it the digest of what is in it now."""
    tensors, metadata = load_tensors(file)
    change(tensors, metadata)
    save_tensors(file, tensors, metadata)


@pytest.mark.parametrize("name", ["weights/dense/kernel", "optimizer/momentum/dense/bias"])
def test_a_bit_of_a_checkpoint_that_its_digest_does_not_see(tmp_path: Path, whole: Path, name: str) -> None:
    train(tmp_path, 10)
    newest = checkpoints(tmp_path)[-1]

    def flip(tensors: dict[str, Any], metadata: Any) -> None:
        bits = tensors[name].reshape(-1).view(np.uint32)
        bits[0] ^= 1

    rewrite(newest, flip)
    with pytest.warns(UserWarning, match="its weights are not those that step 10 left"):
        train(tmp_path)
    assert checks(tmp_path) == [(1, True, "the checkpoint of step 9")]
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("place", [10, 12, 13])
def test_a_damaged_fingerprint_beyond_the_checkpoint_is_told_from_a_change(
    tmp_path: Path, whole: Path, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path, 14)
    crash(tmp_path, 9)
    file = tmp_path / "steps.bin"
    data = bytearray(file.read_bytes())
    data[8 * place + 2] ^= 4
    file.write_bytes(data)
    train(tmp_path)
    assert f"the recorded fingerprints of steps {place + 1} were damaged" in caplog.text
    assert_same(tmp_path, whole)


def test_zeros_that_a_power_cut_left_are_no_evidence(tmp_path: Path, whole: Path) -> None:
    train(tmp_path, 14)
    crash(tmp_path, 9)
    with (tmp_path / "steps.bin").open("r+b") as file:
        file.seek(8 * 11)
        file.write(bytes(3 * 8))
    train(tmp_path)
    assert checks(tmp_path) == [(2, True, "the checkpoint of step 9")]
    assert_same(tmp_path, whole)


# Steps that are not finite


def test_a_run_that_stopped_at_nan_goes_on_with_skip_only(tmp_path: Path) -> None:
    x = X.copy()
    x[33, 1] = -1.0
    skipping = {"x": x, "on_nonfinite": "skip"}
    train(tmp_path / "whole", **skipping)
    for _ in range(2):
        with pytest.raises(NonFiniteError, match="first for sample 33 of the training data"):
            train(tmp_path / "run", x=x)
    run = RunDir(tmp_path / "run")
    events = journal.read(run.events).records
    told = [r for r in events if r["kind"] == "nonfinite"]
    assert [(r["policy"], r["layer"], r["op"], r["sample"]) for r in told] == [
        ("stop", "scaled", "log", 33)
    ] * 2
    status = read_status(run)
    assert status is not None and status.state is State.FAILED and status.step == told[0]["step"] > 0
    assert run.checkpoint_steps()[-1] == status.step
    train(run.path, **skipping)
    assert_same(run.path, tmp_path / "whole")
    assert (run.path / "recipe.json").read_bytes() == (tmp_path / "whole" / "recipe.json").read_bytes()
    with pytest.raises(ValueError, match='on_nonfinite: "skip" -> "stop", and steps may have been skipped'):
        train(run.path, x=x)
