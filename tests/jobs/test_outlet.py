"""The terminal is closed, the reader of the pipe ends: the training goes on, or stops whole."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.outlet import outlet
from jobs.runner import run_spec


def test_a_run_goes_on_when_nobody_reads_what_it_says(small_job: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as err:
        outcome = run_spec(str(small_job), run_dir=str(tmp_path / "run"), err=err)
    assert outcome.exit_code == 0 and (tmp_path / "run" / "model.safetensors").exists()


def test_what_waits_for_a_reader_that_has_gone_does_not_spoil_the_exit_code() -> None:
    program = (
        "import sys; from jobs.outlet import outlet; input(); outlet(sys.stdout).write('said'); sys.exit(7)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    process.stdout.close()
    process.stdin.write(b"now\n")
    process.stdin.close()
    assert process.wait(60) == 7


def test_what_is_taken_arrives() -> None:
    stream = io.StringIO()
    said = outlet(stream)
    said.write("said")
    said.flush()
    assert stream.getvalue() == "said" and not said.isatty()


HANGS_UP = """
import signal, sys
from jobs.signals import StopSignals
signals = StopSignals(lambda: None, lambda: False, lambda: None, lambda text: None)
signals.armed = True
with signals.installed():
    signal.raise_signal(signal.SIGHUP)
print(signals.received, signal.getsignal(signal.SIGHUP))
"""


@pytest.mark.parametrize("wanted", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_closed_terminal_asks_to_stop_unless_that_is_ignored(wanted: signal.Handlers) -> None:
    def begin() -> None:
        signal.signal(signal.SIGHUP, wanted)

    command = [sys.executable, "-c", HANGS_UP]
    process = subprocess.run(command, capture_output=True, text=True, preexec_fn=begin, timeout=60)
    received = None if wanted is signal.SIG_IGN else signal.SIGHUP
    assert process.stdout == f"{received} {wanted}\n", process.stderr
