"""`Model.map` over workers: who is asked for what, and what happens when one is lost or raises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from cases import plain_model, reference, run
from crews import CrewEngine, FaultyCrew, InProcessCrew, Killed

from cluster.supervision import MAX_ATTEMPTS
from distnn.errors import EngineError, UserCodeError
from distnn.models import Model, Sequential
from distnn.threads import available_cores


def make_model() -> Sequential:
    model = plain_model()
    model.ensure_initialized(3)
    return model


def double(model: Model, item: int) -> int:
    return 2 * item


def _once(function: Callable[[int], None]) -> Callable[[int], None]:
    calls = iter([function])
    return lambda count: next(calls, lambda _: None)(count)


def test_every_worker_is_asked_once_and_items_are_dealt_in_turn() -> None:
    crew = InProcessCrew()
    engine = CrewEngine(crew, 3)
    models = engine.map(make_model(), lambda model, item: id(model), range(7))
    assert len(set(models)) == 3
    assert models[0] == models[3] == models[6] and models[1] == models[4]
    assert [worker for worker, method in crew.asked if method == "map"] == [0, 1, 2]


def test_fewer_items_than_workers_leave_some_unasked() -> None:
    crew = InProcessCrew()
    assert CrewEngine(crew, 3).map(make_model(), double, [4]) == [8]
    assert [worker for worker, method in crew.asked if method == "map"] == [0]


def test_the_model_of_a_worker_stays_until_it_changes() -> None:
    engine, model = CrewEngine(InProcessCrew(), 1), make_model()
    first = engine.map(model, lambda model, item: id(model), [0, 1])
    assert first[0] == first[1]
    kept = engine.map(model, lambda model, item: (id(model), model.get_weights()[0].tolist()), [0])[0]
    model.set_weights([weight + 1 for weight in model.get_weights()])
    again = engine.map(model, lambda model, item: (id(model), model.get_weights()[0].tolist()), [0])[0]
    assert again[0] == kept[0] == first[0]
    assert again[1] == model.get_weights()[0].tolist() != kept[1]
    model.compile("sgd", "mse")
    compiled = engine.map(model, lambda model, item: model.compiled["loss"].name, [0])
    assert compiled == ["mean_squared_error"]


def test_a_worker_uses_one_core() -> None:
    before = available_cores()
    assert CrewEngine(InProcessCrew(), 2).map(make_model(), lambda *_: available_cores(), [0]) == [1]
    with pytest.raises(UserCodeError):
        CrewEngine(InProcessCrew(), 2).map(make_model(), lambda model, item: 1 // item, [0])
    assert available_cores() == before


def test_items_of_a_lost_worker_are_done_by_others() -> None:
    inner = InProcessCrew()
    crew = FaultyCrew(inner).fail_when("map", worker=1)
    engine = CrewEngine(crew, 3)
    assert run(engine) == reference()
    assert engine.map(make_model(), double, range(8)) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert [worker for worker, method in inner.asked if method == "map"] == [0, 1, 2, 0, 2, 3]
    crew.assert_all_fired()
    assert run(engine) == reference(), "trainings go on without the one that was lost"
    assert set(crew.workers) == {0, 2, 3}


def test_replacements_do_the_items_if_every_worker_is_lost() -> None:
    crew = FaultyCrew(InProcessCrew()).fail_when("map", worker=0).fail_when("map", worker=1)
    assert CrewEngine(crew, 2).map(make_model(), double, range(4)) == [0, 2, 4, 6]
    assert set(crew.workers) == {2, 3}
    crew.assert_all_fired()


def test_the_last_workers_replacement_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`recruit` finds no room for it; then there is some."""
    inner = InProcessCrew()
    engine = CrewEngine(FaultyCrew(inner).fail_when("map", worker=0), 1, wait_s=600.0)
    inner.most = 1
    dismiss = inner.dismiss

    def dismiss_and_be_short(worker: int) -> None:
        dismiss(worker)
        inner.most, inner.room = 0, 1

    monkeypatch.setattr(inner, "dismiss", dismiss_and_be_short)
    assert engine.map(make_model(), double, range(3)) == [0, 2, 4]
    assert list(inner.workers) == [1]
    lost, waiting = caplog.messages
    assert lost == "map: worker 0 (pid 0 on here) died (killed by the test), and no worker is left"
    assert waiting == "map: waiting for a worker"


def test_without_a_worker_the_error_says_what_was_lost_and_what_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = InProcessCrew()
    engine = CrewEngine(FaultyCrew(inner).fail_when("map", worker=0), 1, wait_s=0.0)
    monkeypatch.setattr(inner, "recruit", _once(inner.recruit))
    with pytest.raises(EngineError) as raised:
        engine.map(make_model(), double, range(3))
    expected = "map: worker 0 (pid 0 on here) died (killed by the test), and no worker is left"
    assert str(raised.value) == (
        f"{expected}; after 0 s there is no worker: the test has room for 0 of 1 workers"
    )


def test_losses_along_a_map_that_gets_on_do_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """More of them than attempts at one thing: every time some items were done."""
    crew = FaultyCrew(InProcessCrew())
    for worker in range(1, MAX_ATTEMPTS + 2):
        crew.fail_when("map", worker=worker)
    items = range(2 ** (MAX_ATTEMPTS + 2))
    assert CrewEngine(crew, 2).map(make_model(), double, items) == [2 * item for item in items]
    crew.assert_all_fired()
    assert len(caplog.messages) == MAX_ATTEMPTS + 1
    assert caplog.messages[0].endswith("; 1 worker goes on with the items that have no result")


def test_a_function_that_kills_every_worker_ends_in_an_error() -> None:
    def kill(model: Model, item: int) -> None:
        raise Killed

    with pytest.raises(EngineError, match=f"map: .*each of {MAX_ATTEMPTS} attempts at it lost workers"):
        CrewEngine(InProcessCrew(), 2).map(make_model(), kill, range(8))


def test_what_the_function_raises_is_told_with_its_place_in_the_users_code() -> None:
    def fall(model: Model, item: int) -> None:
        raise ArithmeticError(f"item {item} is too large for me")

    engine = CrewEngine(InProcessCrew(), 2)
    with pytest.raises(UserCodeError, match="ArithmeticError: item 5 is too large for me") as raised:
        engine.map(make_model(), fall, [5, 6])
    assert "in fall" in str(raised.value)
    assert engine.map(make_model(), double, [5]) == [10], "the workers go on"


@pytest.mark.parametrize("what", ["function", "item"])
def test_what_cannot_be_sent_is_refused(what: str) -> None:
    lock: Any = threading.Lock()
    engine = CrewEngine(InProcessCrew(), 2)
    with pytest.raises(ValueError, match=f"{what} given to `map` cannot be sent"):
        if what == "function":
            engine.map(make_model(), lambda model, item: lock, [1])
        else:
            engine.map(make_model(), double, [lock])
