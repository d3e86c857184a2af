from __future__ import annotations

import io
from typing import Any

import pytest

from distnn.callbacks import CallbackList
from distnn.progress import Progbar, ProgressCallback, resolve_verbose

BAR = "━" * 20


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """The lines that stay after carriage returns, without colours."""
    for code in ("\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"):
        text = text.replace(code, "")
    return [line.split("\r")[-1].rstrip() for line in text.split("\n")]


@pytest.fixture(autouse=True)
def wide_and_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)


def run_fit(stream: Any, verbose: Any, epochs: int = 5, samples: int | None = None) -> str:
    """Two of the epochs of a training of 29 steps, 6 ms each."""
    clock = Clock()
    params = {"epochs": epochs, "steps": 29, "samples": samples}
    callbacks = CallbackList([ProgressCallback(verbose, stream=stream, clock=clock)], params=params)
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for batch in range(29):
            clock.now += 0.006
            callbacks.on_train_batch_end(batch, {"loss": 9.0, "accuracy": 0.5})
        logs = {"val_loss": 2.25, "loss": 2.43631, "val_accuracy": 0.125, "accuracy": 0.09784}
        callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end()
    return str(stream.getvalue())


METRICS = "accuracy: 0.0978 - loss: 2.4363 - val_accuracy: 0.1250 - val_loss: 2.2500"


def test_verbose_1_ends_in_keras_lines() -> None:
    lines = screen(run_fit(Terminal(), 1))
    assert lines == [
        "Epoch 1/5",
        f"29/29 {BAR} 0s 6ms/step - {METRICS}",
        "Epoch 2/5",
        f"29/29 {BAR} 0s 6ms/step - {METRICS}",
        "",
    ]


def test_verbose_1_redraws_with_an_eta_on_a_terminal() -> None:
    text = run_fit(Terminal(), 1)
    drawn = text.split("\n")[1].split("\r")
    assert len(drawn) > 3
    first = screen(drawn[1])[0]
    assert first == f" 1/29 {BAR} 0s 6ms/step - accuracy: 0.5000 - loss: 9.0000"
    assert "\x1b[1m29/29\x1b[0m \x1b[32m" + BAR in text


def test_verbose_1_into_a_file_writes_each_line_once_without_colours() -> None:
    text = run_fit(io.StringIO(), 1)
    assert "\x1b" not in text and "\r" not in text
    assert text.split("\n")[1] == f"29/29 {BAR} 0s 6ms/step - {METRICS}"
    assert len(text.split("\n")) == 5


def test_verbose_2_is_one_line_an_epoch() -> None:
    line = f"29/29 - 0s - 6ms/step - {METRICS}"
    assert run_fit(io.StringIO(), 2) == f"Epoch 1/5\n{line}\nEpoch 2/5\n{line}\n"
    assert run_fit(io.StringIO(), "auto") == run_fit(io.StringIO(), 2)


def test_verbose_0_is_silent() -> None:
    assert run_fit(Terminal(), 0) == ""


def test_a_single_epoch_has_no_heading() -> None:
    assert "Epoch" not in run_fit(io.StringIO(), 2, epochs=1)


def test_samples_per_second_stand_behind() -> None:
    lines = screen(run_fit(Terminal(), 1, samples=1740))
    assert lines[1] == f"29/29 {BAR} 0s 6ms/step - {METRICS} - 10,000 samples/s"
    assert "val_loss: 2.2500 - 10,000 samples/s\n" in run_fit(io.StringIO(), 2, samples=1740)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = run_fit(Terminal(), 1)
    assert "\x1b" not in text and "\r" in text


@pytest.mark.parametrize("columns", [1, 5, 10, 20, 30, 40, 60])
def test_a_running_line_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = run_fit(Terminal(), 1)
    drawn = [part for line in text.split("\n") for part in screen(line.replace("\r", "\n"))[:-1]]
    assert all(len(part) < columns for part in drawn)
    assert screen(text)[1].endswith(METRICS)


def test_a_shorter_line_wipes_the_longer_one() -> None:
    clock, stream = Clock(), Terminal()
    bar = Progbar(10, stream=stream, clock=clock)
    bar.update(1, [("a_long_name", 1.0)])
    clock.now += 1
    bar._values.clear()
    bar.update(2)
    widths = [len(screen(part)[0]) for part in stream.getvalue().split("\r")[1:]]
    last = stream.getvalue().split("\r")[-1]
    assert widths[1] < widths[0] and len(last) - len(last.rstrip(" ")) == widths[0] - widths[1]


def test_drawing_waits_for_the_interval() -> None:
    clock, stream = Clock(), Terminal()
    bar = Progbar(1000, stream=stream, clock=clock)
    for i in range(100):
        clock.now += 0.001
        bar.update(i + 1)
    assert stream.getvalue().count("\r") == 2


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0005, " 500us/step"), (0.25, " 250ms/step"), (3.0, " 3s/step")]
)
def test_time_units(seconds: float, expected: str) -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progbar(4, verbose=2, stream=stream, clock=clock)
    for _ in range(4):
        clock.now += seconds
        bar.add(1)
    assert expected in stream.getvalue()


def test_the_first_step_is_left_out_of_the_average() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progbar(11, verbose=2, stream=stream, clock=clock)
    clock.now += 60.0
    bar.update(1)
    clock.now += 0.1
    bar.update(11)
    assert stream.getvalue() == "11/11 - 60s - 10ms/step\n"


@pytest.mark.parametrize(("left", "expected"), [(59.0, "59s"), (90.0, "1:30"), (3725.0, "1:02:05")])
def test_eta(left: float, expected: str) -> None:
    clock, stream = Clock(), Terminal()
    bar = Progbar(2, stream=stream, clock=clock)
    clock.now += left
    bar.update(1)
    assert f" {expected} " in screen(stream.getvalue())[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, "0.5000"), (0.0005, "5.0000e-04"), (0.0, "0.0000e+00"), (-2.5, "-2.5000"), (float("nan"), "nan")],
)
def test_numbers(value: float, expected: str) -> None:
    stream = io.StringIO()
    Progbar(1, verbose=2, stream=stream, clock=Clock()).update(1, [("x", value)])
    assert stream.getvalue().endswith(f" - x: {expected}\n")


def test_values_are_averaged_over_steps_unless_stateful() -> None:
    stream = io.StringIO()
    clock = Clock()
    bar = Progbar(None, stream=stream, clock=clock, stateful_metrics=["s"])
    bar.update(1, [("m", 1.0), ("s", 1.0)])
    bar.update(4, [("m", 3.0), ("s", 3.0)])
    assert "m: 2.5000 - s: 3.0000" in bar._metrics(4, clock.now)


def test_an_unknown_target_becomes_known_at_the_end() -> None:
    stream = Terminal()
    callbacks = CallbackList([ProgressCallback(1, stream=stream, clock=Clock())], params={"epochs": 1})
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_end(6, {"loss": 1.0})
    assert "      7/Unknown" in screen(stream.getvalue())[0]
    callbacks.on_epoch_end(0, {"loss": 1.0})
    assert screen(stream.getvalue())[0].startswith(f"7/7 {BAR}")


def test_evaluation_shows_a_bar_of_its_own_but_not_within_fit() -> None:
    stream = io.StringIO()
    callbacks = CallbackList([ProgressCallback(2, stream=stream, clock=Clock())], params={"steps": 3})
    callbacks.on_test_begin()
    callbacks.on_test_batch_end(2, {"loss": 0.5})
    callbacks.on_test_end({"loss": 0.5})
    assert stream.getvalue() == "3/3 - 0s - 0s/step - loss: 0.5000\n"
    callbacks.on_train_begin()
    callbacks.on_test_begin()
    callbacks.on_test_end({"loss": 0.5})
    assert stream.getvalue().count("\n") == 1
    callbacks.on_train_end()
    callbacks.on_predict_begin()
    callbacks.on_predict_batch_end(2)
    callbacks.on_predict_end()
    assert stream.getvalue().endswith("\n3/3 - 0s - 0s/step\n")


def test_progress_does_not_ask_for_single_batches() -> None:
    assert not CallbackList([ProgressCallback(1, stream=io.StringIO())]).wants_batches


def test_verbose_is_checked() -> None:
    assert resolve_verbose("auto", Terminal()) == 1 and resolve_verbose("auto", io.StringIO()) == 2
    assert resolve_verbose(True, io.StringIO()) == 1 and resolve_verbose(False, io.StringIO()) == 0
    for bad in (3, -1, "always", None, 1.5):
        with pytest.raises(ValueError, match='`verbose` must be 0, 1, 2 or "auto". Received: verbose='):
            resolve_verbose(bad, io.StringIO())


def test_writes_to_the_standard_output_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    Progbar(1, verbose=2, clock=Clock()).update(1)
    assert capsys.readouterr().out == "1/1 - 0s - 0s/step\n"
