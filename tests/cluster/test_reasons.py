"""What is kept of Ray's texts."""

from __future__ import annotations

import pytest

from cluster.reasons import reason

KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: Worker
\tpid: 688
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: \
Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the \
process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called."""

NOT_INSTALLED = """The actor died because of an error raised in its creation task, ray::Worker.__init__()
RuntimeError: The actor with name Worker failed to import on the worker.
ModuleNotFoundError: No module named 'cluster'"""

RAISED = """ray::Worker.compute() (pid=7, ip=10.0.0.1)
  File "somewhere.py", line 1, in f
TypeError: cannot pickle this
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (KILLED, "Worker unexpectedly exits with a connection error code 2. End of file"),
        (RAISED, "TypeError: cannot pickle this"),
        ("The actor is dead because it was killed by `ray.kill`.", "it was killed by `ray.kill`"),
        ("", "no reason given"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_reason_table(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_a_missing_package_is_told_with_its_remedy() -> None:
    assert "install it on every node, or use `distnn submit`" in reason(NOT_INSTALLED)
