"""What can go wrong with a request, and the exit codes of the `distnn` command.

A `RequestError` is the caller's: exit code 2, its message is printed as it is, without a traceback. Errors of
the run itself are those of `distnn.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

from distnn.errors import EngineError, NonFiniteError, ResumeMismatchError, UserCodeError

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_REQUEST = 2
EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130

ENGINE = "engine"
"""The cause of a failed run that another try may help."""


def in_words(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror}"
    return " ".join(str(error).split()) or "no message"


def cause_of(error: BaseException) -> str:
    """Who is to blame, in a word: another try may help if the engine is."""
    if isinstance(error, UserCodeError):
        return "user-code"
    if isinstance(error, EngineError):
        return ENGINE
    if isinstance(error, OSError):
        return "storage"
    if isinstance(error, NonFiniteError):
        return "numbers"
    if isinstance(error, ResumeMismatchError):
        return "changes"
    return "request" if isinstance(error, ValueError) else "bug"


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
