"""Pulled batches that cannot be used, or stop coming: what is said, and what a run goes on from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from pulled_batches import EVEN, UNEVEN, Batches, X, Y, endless, fitted, make
from trainings import Outcome, train, weight_bytes

import distnn.feeding
import distnn.training
from distnn.callbacks import Callback, LambdaCallback
from distnn.engine import StopAsked
from distnn.errors import DataError
from distnn.local_engine import LocalEngine
from distnn.training import Stopped
from distnn.utils import PyDataset

# What cannot be used


def after_one(*batches: Any) -> Iterator[Any]:
    yield X[:16], Y[:16]
    yield from batches


WITH_NAN = np.where(np.arange(96).reshape(16, 6) == 50, np.nan, X[:16])
BAD: list[tuple[Any, str]] = [
    ((X[:16, :5], Y[:16]), r"batch 1 of the generator: x does not fit the model: expected shape \(None, 6\)"),
    (
        (WITH_NAN, Y[:16]),
        r"batch 1 of the generator: x has a value that is not finite \(nan\) at row 8, column 2",
    ),
    ((X[:16], np.full(16, np.nan)), r"batch 1 of the generator: y has a value that is not finite"),
    (
        (X[:16], np.full(16, 3)),
        "batch 1 of the generator: targets: label 3 at row 0 is outside the model's 3",
    ),
    ((X[:16], Y[:16], None, None), r"batch 1 of the generator: expected a tuple, .*Received: a tuple of 4"),
    (None, "batch 1 of the generator: expected a tuple, .*Received: None"),
    ("abc", "batch 1 of the generator: expected a tuple, .*Received: an object of type str"),
    ((X[:16],), r"batch 1 of the generator: it has no targets: expected \(inputs, targets\)"),
    (X[:16], r"batch 1 of the generator: it has no targets"),
    ((X[:16], Y[:15]), "batch 1 of the generator: Data cardinality is ambiguous"),
    ((X[:0], Y[:0]), "batch 1 of the generator: x holds no samples"),
    ((X[:16], Y[:16], np.ones(16)), "batch 1 of the generator: it has sample weights, and the first batch"),
    ((X[:16], Y[:16], np.ones(15)), "batch 1 of the generator: Data cardinality is ambiguous"),
    (({"a": X[:16]}, Y[:16]), "batch 1 of the generator: .*"),
]


@pytest.mark.parametrize(("batch", "message"), BAD, ids=[message[26:60] for _, message in BAD])
def test_a_batch_that_cannot_be_used_is_named(batch: Any, message: str) -> None:
    model = make()
    with pytest.raises(DataError, match=message):
        model.fit(after_one(batch), steps_per_epoch=2, verbose=0, seed=5)
    assert model.optimizer.iterations in (0, 1)
    model.fit(X, Y, verbose=0)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: make().fit(iter(()), verbose=0), "must yield at least one batch. Received an empty generator"),
    (lambda: make().fit(Batches(()), verbose=0), "the PyDataset Batches has no batches: its length is 0"),
    (
        lambda: make().fit(endless(), Y),
        "as a generator, `y` should not be passed. Instead, the targets should",
    ),
    (lambda: make().fit(Batches(), sample_weight=Y), "as a PyDataset, `sample_weight` should not be passed"),
    (lambda: make().evaluate(Batches(), Y), "as a PyDataset, `y` should not be passed"),
    (lambda: make().fit(Batches(), validation_split=0.2), "`validation_split` is only supported for arrays"),
    (
        lambda: make().fit(Batches(weights=np.ones(53)), class_weight={0: 2.0}),
        "`class_weight` and `sample_weight`",
    ),
    (lambda: make().fit(endless(), recorder=MemoryRecorder()), "give `steps_per_epoch`, or a PyDataset"),
    (lambda: make().fit(X, Y, validation_data=iter(())), "must yield at least one batch"),
    (lambda: make().predict(iter([(X, Y, Y, Y)])), "batch 0 of the generator: expected a tuple"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_refused_says_why(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_dataset_that_does_not_say_how_many_batches_it_has() -> None:
    with pytest.raises(NotImplementedError, match="You need to implement the `num_batches` property"):
        make().fit(PyDataset())


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_in_the_users_code_names_the_batch(workers: int) -> None:
    class Broken(Batches):
        def __getitem__(self, index: int) -> Any:
            if index == 2:
                raise LookupError("no such file")
            return super().__getitem__(index)

    threads = threading.active_count()
    with pytest.raises(LookupError, match="no such file") as raised:
        fitted(Broken(workers=workers))
    assert raised.value.__notes__ == ["distnn: raised while batch 2 of the PyDataset Broken was made"]
    assert threading.active_count() == threads

    def broken() -> Iterator[Any]:
        yield from after_one()
        raise LookupError("no such file")

    with pytest.raises(LookupError) as raised:
        fitted(broken(), steps_per_epoch=3)
    assert raised.value.__notes__ == ["distnn: raised while batch 1 of the generator was made"]


def test_batches_before_an_error_are_trained_however_they_are_grouped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> Iterator[Any]:
        yield from Batches(EVEN[:3])
        raise LookupError("no such file")

    class Broken(Batches):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise LookupError("no such file")
            return super().__getitem__(index)

    def trained(given: Any) -> bytes:
        model = make()
        with pytest.raises(LookupError, match="no such file"):
            model.fit(given, steps_per_epoch=5, shuffle=False, verbose=0, seed=5, threads=1)
        assert model.optimizer.iterations == 3
        return weight_bytes(model)

    monkeypatch.setattr(distnn.training, "SEGMENT_SECONDS", 1e9)
    monkeypatch.setattr(distnn.feeding, "PULL_SECONDS", 1e9)
    expected = fitted(Batches(EVEN[:3]), epochs=1).weights
    for most in (1, 2, 256):
        monkeypatch.setattr(distnn.feeding, "WINDOW_BATCHES", most)
        assert trained(broken()) == expected
        for workers in (0, 2):
            assert trained(Broken(workers=workers)) == expected


@pytest.mark.parametrize("place", [{}, {"backend": "threads", "workers": 2}])
def test_an_interruption_leaves_the_committed_steps(place: dict[str, Any]) -> None:
    def interrupted() -> Iterator[Any]:
        yield from Batches(EVEN[:3])
        raise KeyboardInterrupt

    each = LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model = make()
    options: dict[str, Any] = {"verbose": 0, "seed": 5, "shards": 2, **place}
    with pytest.raises(KeyboardInterrupt):
        model.fit(interrupted(), steps_per_epoch=4, callbacks=[each], **options)
    assert model.optimizer.iterations == 3
    whole = make()
    whole.fit(Batches(EVEN[:3]), shuffle=False, **options)
    assert weight_bytes(model) == weight_bytes(whole)
    model.fit(Batches(), **options)
    model.close(), whole.close()


def test_a_callback_may_stop_within_an_epoch() -> None:
    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 1

        def get_state(self) -> dict[str, Any]:
            return {}

    data = Batches()
    assert fitted(data, callbacks=[Stop()]).weights == fitted(Batches(EVEN[:2]), epochs=1).weights


# Runs that go on


@pytest.mark.parametrize("stop", [3, 4, 6, 8])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_dataset_goes_on_by_the_numbers_of_its_batches(stop: int, shuffle: bool) -> None:
    whole = MemoryRecorder()
    expected = fitted(Batches(UNEVEN), shuffle=shuffle, recorder=whole)
    recorder = MemoryRecorder(stop_at=stop, save_at=(stop,))
    with pytest.raises(Stopped):
        fitted(Batches(UNEVEN), shuffle=shuffle, recorder=recorder)
    data = Batches(UNEVEN)
    again = MemoryRecorder(snapshot=recorder.saved[-1])
    assert fitted(data, shuffle=shuffle, recorder=again).weights == expected.weights
    assert len(data.asked) == 2 + 12 - stop, "one to know the shapes, one to know it again"
    assert again.epochs == whole.epochs[stop // 4 :], "the mean of an epoch counts what came before"
    assert again.recipe == whole.recipe
    assert again.recipe["not_replayable"] == "its batches are pulled from the PyDataset Batches"
    assert again.recipe["data"] == {}


class Hooked(Batches):
    """Remembers its hooks."""

    def __init__(self) -> None:
        super().__init__(UNEVEN)
        self.hooks: list[str] = []

    def on_epoch_begin(self) -> None:
        self.hooks.append("begin")

    def on_epoch_end(self) -> None:
        self.hooks.append("end")


def test_an_epoch_left_in_its_validation_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine may be stopped while it waits for workers to validate with: all steps are done then."""

    def run(recorder: MemoryRecorder) -> tuple[Outcome, list[str]]:
        data = Hooked()
        return fitted(data, recorder=recorder, validation_data=(X, Y)), data.hooks

    whole, recorder = MemoryRecorder(), MemoryRecorder()
    expected, hooks = run(whole)
    validate = LocalEngine.evaluate

    def evaluate(engine: LocalEngine, *arguments: Any) -> Any:
        if engine.state().step == 8 and not recorder.saved:
            raise StopAsked
        return validate(engine, *arguments)

    monkeypatch.setattr(LocalEngine, "evaluate", evaluate)
    with pytest.raises(Stopped):
        run(recorder)
    again = MemoryRecorder(snapshot=recorder.saved[-1])
    found, hooks_again = run(again)
    assert found.weights == expected.weights
    assert again.epochs == whole.epochs[1:]
    assert hooks_again == hooks


def test_a_generator_goes_on_where_it_yields_the_same_again() -> None:
    def run(recorder: MemoryRecorder, given: Any) -> Outcome:
        return train(make, given, None, recorder=recorder, steps_per_epoch=4, epochs=3, threads=1)

    recorder = MemoryRecorder(stop_at=6, save_at=(6,))
    with pytest.warns(UserWarning, match="from a checkpoint only where the generator yields the same"):
        expected = run(MemoryRecorder(), endless())
    with pytest.warns(UserWarning), pytest.raises(Stopped):
        run(recorder, endless())
    with pytest.warns(UserWarning):
        assert run(MemoryRecorder(snapshot=recorder.saved[-1]), endless()).weights == expected.weights
    other = MemoryRecorder(snapshot=recorder.saved[-1])
    with pytest.warns(UserWarning) as said:
        run(other, endless(UNEVEN))
    assert "the generator gave another batch for step 5 than before" in str(said[-1].message)
    assert "not-exactly-resumed" in other.events
    with pytest.warns(UserWarning), pytest.raises(DataError, match="the generator ended before step 6"):
        run(MemoryRecorder(snapshot=recorder.saved[-1]), (b for b in Batches()))


def test_a_run_directory_keeps_and_resumes_it(tmp_path: Any) -> None:
    pytest.importorskip("pydantic")
    options: dict[str, Any] = {
        "epochs": 2,
        "verbose": 0,
        "seed": 5,
        "run_dir": tmp_path / "run",
        "threads": 1,
    }
    model = make()

    class Once(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise RuntimeError("lost")

        def get_state(self) -> dict[str, Any]:
            return {}

    with pytest.raises(RuntimeError, match="lost"):
        model.fit(Batches(), callbacks=[Once()], **options)
    again = make()
    again.fit(Batches(), callbacks=[], **options)
    assert weight_bytes(again) == fitted(Batches(), epochs=2, shuffle=True).weights


@pytest.mark.parametrize("cuts", [EVEN, (16, 32)], ids=["between epochs", "within an epoch"])
def test_a_run_says_that_its_batches_ended(tmp_path: Any, cuts: tuple[int, ...]) -> None:
    rundir, status = pytest.importorskip("jobs.rundir"), pytest.importorskip("jobs.status")
    options: dict[str, Any] = {"steps_per_epoch": 4, "epochs": 3, "verbose": 0, "seed": 5}
    with pytest.warns(UserWarning) as said:
        make().fit((batch for batch in Batches(cuts)), run_dir=tmp_path / "run", threads=1, **options)
    assert distnn.feeding.RAN_OUT in [str(one.message) for one in said]
    run = rundir.RunDir(tmp_path / "run")
    assert status.read_status(run).message == f"the end of its batches ended it at step {len(cuts)} of 12"
    assert '"kind":"batches-ended"' in run.events.read_text()
