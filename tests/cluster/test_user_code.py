"""What is left of a traceback: the user's frames, once."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.crew import Failed, Failure
from cluster.failures import losses_of, raise_first_failure
from cluster.user_code import describe
from distnn.batching import Batching
from distnn.checkpoint import canonical_json
from distnn.errors import DataError, EngineError, FaultPlace, UserCodeError
from distnn.reduction import combine


def user_call(error: BaseException) -> None:
    raise error


def caught(error: BaseException) -> BaseException:
    try:
        user_call(error)
    except BaseException as found:
        return found
    raise AssertionError


def our_own_error() -> Exception:
    """Raised by distnn, called from machinery only: no frame of a user's remains."""
    try:
        combine(2, {})
    except AssertionError as error:
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        return error
    raise AssertionError


def test_describe_keeps_the_users_frames() -> None:
    failure = describe(caught(ValueError("bad layer")), FaultPlace(-1, 3, 1))
    assert failure.summary == "ValueError: bad layer"
    assert "in user_call" in failure.user_traceback
    assert failure.user_traceback.count("bad layer") == 1
    assert failure.error is None


def test_describe_takes_frames_of_pythons_own_library_for_those_of_its_caller() -> None:
    try:
        canonical_json(object())
    except TypeError as error:
        assert "in default" in describe(error).user_traceback, "called from here"
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        assert describe(error).user_traceback == ""


def test_describe_drops_frames_of_the_machinery() -> None:
    def trigger() -> None:
        Batching(4, 2, 2, False, 0, 2).shard_positions("x", 0)  # type: ignore[arg-type]

    try:
        trigger()
    except TypeError as error:
        failure = describe(error)
    assert "in trigger" in failure.user_traceback
    assert "batching.py" not in failure.user_traceback
    assert "batching.py" in failure.traceback


def test_describe_tells_the_cause_too() -> None:
    def cause() -> None:
        try:
            user_call(KeyError("first"))
        except KeyError as error:
            raise RuntimeError("second") from error

    try:
        cause()
    except RuntimeError as error:
        failure = describe(error)
    assert "KeyError: 'first'" in failure.user_traceback
    assert failure.user_traceback.rstrip().endswith("RuntimeError: second")


def test_an_error_of_ours_travels_as_itself() -> None:
    failure = describe(our_own_error())
    assert failure.user_traceback == ""
    assert isinstance(failure.error, AssertionError)


def test_a_user_failure_is_raised_once_with_its_place() -> None:
    failed = Failed(describe(caught(ValueError("bad layer")), FaultPlace(-1, 3, 1)))
    with pytest.raises(UserCodeError) as raised:
        raise_first_failure({1: failed}, {1: (0, 2)})
    text = str(raised.value)
    assert text.count("Traceback") == 1
    assert text.endswith("user code failed in worker 1, step 3, shard 1: ValueError: bad layer")


def test_of_several_failures_that_of_the_lowest_shard_is_raised() -> None:
    def failed(word: str, shard: int) -> Failed:
        return Failed(describe(caught(ValueError(word)), FaultPlace(-1, 0, shard)))

    outcomes: dict[int, Any] = {1: failed("later", 2), 2: failed("earlier", 0)}
    with pytest.raises(UserCodeError, match="earlier"):
        raise_first_failure(outcomes, {1: (2, 4), 2: (0, 2)})


def test_errors_of_ours_keep_their_type() -> None:
    failure = Failure("DataError: x", "", "", DataError("x"), FaultPlace(-1, 5, 0))
    with pytest.raises(DataError) as raised:
        raise_first_failure({0: Failed(failure)}, {0: (0, 1)})
    assert raised.value.__notes__ == ["distnn: in worker 0, step 5, shard 0"]


def test_what_cannot_travel_is_an_engine_error_with_the_whole_story() -> None:
    failure = Failure("SomeError: x", "", "Traceback ...\nSomeError: x\n", None)
    with pytest.raises(EngineError, match=r"worker 0: SomeError: x\nTraceback"):
        raise_first_failure({0: Failed(failure)}, {})


def test_failures_are_no_losses() -> None:
    assert losses_of({0: Failed(Failure("", "", "", None))}, {0: (0, 1)}) == []
