"""What can go wrong with a request, and the exit codes of the `distnn` command.

A `RequestError` is the caller's: exit code 2, its message is printed as it is, without a traceback. Errors of
the run itself are those of `distnn.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_REQUEST = 2
EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130


class RequestError(ValueError):
    """The request was wrong; the message says where, what was given and what is allowed."""


class SpecError(RequestError):
    """A spec that cannot be run.

    Args:
        problems: one line each, with the place in the file.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UnreachableError(RequestError):
    """Nothing answered at the address of a cluster."""
