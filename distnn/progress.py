"""Keras's progress display: a bar per epoch on a terminal, one line per epoch in a log.

`Progbar` draws; `ProgressCallback` feeds it from a training. Both are told the time by a clock and write to a
stream, so nothing here reads the world by itself. It knows nothing of engines: steps may come one by one or
many at once.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

import numpy as np

from distnn.callbacks import Callback, Logs, sorted_logs

Clock = Callable[[], float]

_BAR = "━"
_BOLD, _GREEN, _GREY, _RESET = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream is a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def in_notebook(stream: TextIO) -> bool:
    """Whether the stream is the output of a notebook cell."""
    return "ipykernel" in sys.modules and type(stream).__module__.startswith("ipykernel")


def resolve_verbose(verbose: Any, stream: TextIO) -> int:
    """0, 1 or 2; `"auto"` is 1 on a terminal or in a notebook, else 2."""
    if verbose == "auto":
        return 1 if is_terminal(stream) or in_notebook(stream) else 2
    if isinstance(verbose, bool | int) and int(verbose) in (0, 1, 2):
        return int(verbose)
    raise ValueError(f'`verbose` must be 0, 1, 2 or "auto". Received: verbose={verbose!r}')


class Progbar:
    """Keras's progress bar.

    Args:
        target: number of steps, None if unknown.
        width: of the bar, in characters.
        verbose: 0 silent, 1 a bar that redraws, 2 one line at the end.
        interval: seconds between two drawings.
        stateful_metrics: names shown as they are; others are averaged over the steps. None: all averaged.
        unit_name: what a step is called.
        samples: how many samples `target` steps see; shown as samples a second.
        stream: standard output by default.
        clock: gives seconds.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
        *,
        samples: int | None = None,
        stream: TextIO | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.stateful_metrics = set(stateful_metrics or ())
        self.unit_name = unit_name
        self.samples = samples
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        on_terminal = verbose != 0 and is_terminal(self._stream)
        self._redraws = on_terminal or (verbose != 0 and in_notebook(self._stream))
        self._colours = on_terminal and "NO_COLOR" not in os.environ
        self._values: dict[str, tuple[float, int]] = {}
        self._seen = 0
        self._start = clock()
        self._after_first: tuple[int, float] | None = None
        self._last_drawn = float("-inf")
        self._drawn_width = 0

    def update(
        self,
        current: int,
        values: Iterable[tuple[str, Any]] | None = None,
        finalize: bool | None = None,
    ) -> None:
        """Say that `current` steps are done.

        Args:
            current: steps done.
            values: names with their newest values.
            finalize: whether this is the last call; by default when the target is reached.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._take(name, float(np.mean(value)), max(current - self._seen, 1), finalize)
        self._seen = current
        now = self._clock()
        per_unit = self._time_per_unit(current, now)
        if self.verbose == 1:
            self._draw(current, now, per_unit, finalize)
        elif self.verbose == 2 and finalize and self.target:
            info = f" - {now - self._start:.0f}s -{self._format_time(per_unit)}"
            self._stream.write(f"{self._count(current)}{info}{self._metrics(current, now)}\n")
            self._stream.flush()

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Say that `n` more steps are done."""
        self.update(self._seen + n, values)

    def _take(self, name: str, value: float, steps: int, finalize: bool) -> None:
        if name in self.stateful_metrics or finalize:
            self._values[name] = (value, 1)
        else:
            total, count = self._values.get(name, (0.0, 0))
            self._values[name] = (total + value * steps, count + steps)

    def _time_per_unit(self, current: int, now: float) -> float:
        """Seconds a step; the first update is left out as soon as there is another (it compiles)."""
        if current <= 0:
            return 0.0
        if self._after_first is None:
            self._after_first = (current, now)
            return (now - self._start) / current
        first, then = self._after_first
        return (now - then) / (current - first) if current > first else (now - self._start) / current

    def _draw(self, current: int, now: float, per_unit: float, finalize: bool) -> None:
        if not finalize and (now - self._last_drawn < self.interval or not self._redraws):
            return
        self._last_drawn = now
        if self.target and not finalize:
            info = f" {self._bold(_format_eta(per_unit * (self.target - current)))}"
        else:
            info = f" {self._bold(f'{now - self._start:.0f}s')}"
        metrics = self._format_time(per_unit) + self._metrics(current, now)
        line = self._fitted(current, info, metrics, finalize)
        visible = len(_without_colours(line))
        padding = " " * max(0, self._drawn_width - visible)
        self._stream.write(("\r" if self._redraws else "") + line + padding + ("\n" if finalize else ""))
        self._stream.flush()
        self._drawn_width = 0 if finalize else visible

    def _fitted(self, current: int, info: str, metrics: str, finalize: bool) -> str:
        """The line; a running one is cut to the terminal, because one that wraps cannot be redrawn."""
        line = self._bar(current, self.width) + info + metrics
        room = self._columns() - 1
        if finalize or len(_without_colours(line)) <= room:
            return line
        short = self._bar(current, 0) + info
        rest = room - len(_without_colours(short))
        if rest < 2:
            return _without_colours(short)[: max(room, 0)]
        return short + (metrics if len(metrics) <= rest else metrics[: rest - 1] + "…")

    def _bar(self, current: int, width: int) -> str:
        if not self.target:
            return f"{current:7d}/Unknown"
        if not width:
            return self._bold(self._count(current))
        done = min(width, int(width * (current / self.target)))
        bar = self._coloured(_GREEN, _BAR * done) + self._coloured(_GREY, _BAR * (width - done))
        return f"{self._bold(self._count(current))} {bar}"

    def _count(self, current: int) -> str:
        return f"{current:{len(str(self.target))}d}/{self.target}"

    def _metrics(self, current: int, now: float) -> str:
        text = ""
        for name, (total, count) in self._values.items():
            value = total / max(1, count)
            text += f" - {name}: {value:.4f}" if abs(value) > 1e-3 else f" - {name}: {value:.4e}"
        elapsed = now - self._start
        if self.samples and self.target and elapsed > 0:
            text += f" - {self.samples * current / self.target / elapsed:,.0f} samples/s"
        return text

    def _format_time(self, seconds: float) -> str:
        if seconds >= 1 or seconds == 0:
            return f" {seconds:.0f}s/{self.unit_name}"
        if seconds >= 1e-3:
            return f" {seconds * 1e3:.0f}ms/{self.unit_name}"
        return f" {seconds * 1e6:.0f}us/{self.unit_name}"

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (AttributeError, ValueError, OSError):
            return shutil.get_terminal_size().columns

    def _bold(self, text: str) -> str:
        return self._coloured(_BOLD, text)

    def _coloured(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colours and text else text


class ProgressCallback(Callback):
    """Shows the epochs of a training, or an evaluation or prediction of its own, as Keras does.

    Args:
        verbose: 0, 1, 2 or "auto".
        stream: standard output by default.
        clock: gives seconds.
    """

    def __init__(
        self, verbose: Any = "auto", *, stream: TextIO | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self.verbose = resolve_verbose(verbose, self._stream)
        self._bar: Progbar | None = None
        self._seen = 0
        self._in_fit = False

    def wants_batches(self) -> bool:
        """The ends of segments are enough."""
        return False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        epochs = self._param("epochs") or 1
        if self.verbose and epochs > 1:
            self._stream.write(f"Epoch {epoch + 1}/{epochs}\n")
            self._stream.flush()
        self._start(self._param("samples"))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._update(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._finish(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._start(None)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._update(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._start(None)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._update(batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._finish(None)

    def _param(self, name: str) -> Any:
        return (self.params or {}).get(name)

    def _start(self, samples: int | None) -> None:
        self._seen = 0
        target = self._param("steps")
        self._bar = Progbar(
            target, verbose=self.verbose, samples=samples, stream=self._stream, clock=self._clock
        )

    def _update(self, batch: int, logs: Mapping[str, float] | None) -> None:
        self._seen = batch + 1
        if self._bar is not None and self.verbose == 1:
            self._bar.stateful_metrics |= set(logs or ())
            self._bar.update(self._seen, sorted_logs(logs or {}).items(), finalize=False)

    def _finish(self, logs: Mapping[str, float] | None) -> None:
        if self._bar is None:
            return
        if self._bar.target is None:
            self._bar.target = self._seen
        self._bar.update(self._bar.target, sorted_logs(logs or {}).items(), finalize=True)
        self._bar = None


def _format_eta(seconds: float) -> str:
    whole = int(seconds)
    if seconds > 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    if seconds > 60:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole}s"


def _without_colours(text: str) -> str:
    for code in (_BOLD, _GREEN, _GREY, _RESET):
        text = text.replace(code, "")
    return text
