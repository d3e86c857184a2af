"""What an engine tells reaches the training's recorder, for the length of the training."""

from __future__ import annotations

from typing import Any

import pytest
from memory_recorder import MemoryRecorder
from trainings import classification

from distnn.engine import EngineOptions, SegmentReport, StopAsked
from distnn.incidents import Incident
from distnn.layers import Dense, Input
from distnn.local_engine import LocalEngine
from distnn.models import Sequential
from distnn.training import Stopped

X, Y = classification(40)


class TalkingEngine(LocalEngine):
    """Tells of a loss before it computes a segment, and of its recovery after."""

    def run_segment(self, num_steps: int) -> SegmentReport:
        self.tell("worker-lost", self.state().step, worker=1)
        report = super().run_segment(num_steps)
        self.tell("recovered", self.state().step, workers=2)
        return report


class FailingEngine(TalkingEngine):
    def run_segment(self, num_steps: int) -> SegmentReport:
        self.tell("waiting", self.state().step, **{"for": "2 workers", "have": 1})
        raise RuntimeError("no more")


class Listener(MemoryRecorder):
    def __init__(self) -> None:
        super().__init__(segment=3)
        self.facts: list[tuple[str, dict[str, Any]]] = []

    def on_event(self, kind: str, **facts: Any) -> None:
        super().on_event(kind, **facts)
        self.facts.append((kind, facts))


def fit(engine: LocalEngine, recorder: MemoryRecorder | None) -> None:
    model = Sequential([Input((6,)), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.engine_for = lambda backend, options: engine  # type: ignore[method-assign]
    model.fit(X, Y, batch_size=10, epochs=1, shards=2, seed=1, verbose=0, recorder=recorder)


def test_incidents_become_events_with_their_steps() -> None:
    recorder, engine = Listener(), TalkingEngine(EngineOptions())
    fit(engine, recorder)
    told = [(kind, facts) for kind, facts in recorder.facts if kind in ("worker-lost", "recovered")]
    steps = [0, *(stop for _, stop in recorder.segments)]
    expected = [
        event
        for start, stop in zip(steps, steps[1:], strict=False)
        for event in (
            ("worker-lost", {"step": start, "worker": 1}),
            ("recovered", {"step": stop, "workers": 2}),
        )
    ]
    assert told == expected


@pytest.mark.parametrize("engine_class", [TalkingEngine, FailingEngine])
def test_after_a_training_nobody_listens(engine_class: type[LocalEngine]) -> None:
    engine = engine_class(EngineOptions())
    recorder = Listener()
    try:
        fit(engine, recorder)
    except RuntimeError:
        assert ("waiting", {"step": 0, "for": "2 workers", "have": 1}) in recorder.facts
    assert engine.observer is None


def test_a_training_without_a_recorder_hears_them_in_silence() -> None:
    engine = TalkingEngine(EngineOptions())
    fit(engine, None)
    assert engine.state().step == len(X) // 10


def test_an_incident_is_what_was_told() -> None:
    engine, heard = LocalEngine(EngineOptions()), list[Incident]()
    engine.tell("scaled", 3, to=4)
    engine.observer = heard.append
    engine.tell("scaled", 5, to=4)
    assert heard == [Incident("scaled", 5, {"to": 4})]


class Scalable(LocalEngine):
    def __init__(self) -> None:
        super().__init__(EngineOptions())
        self.scaled: list[tuple[int, int]] = []

    def scale(self, workers: int) -> bool:
        self.scaled.append((self.state().step, workers))
        return True


def test_a_request_for_other_workers_reaches_the_engine_between_segments() -> None:
    class Asking(MemoryRecorder):
        def wanted_workers(self) -> int | None:
            return 5 if self.step == 3 else None

    engine = Scalable()
    fit(engine, Asking(segment=1))
    assert engine.scaled == [(3, 5)]


class Stoppable(MemoryRecorder):
    """Asked to stop only while an engine waits."""

    asked = False

    def should_stop(self) -> bool:
        return self.asked


@pytest.mark.parametrize(("waits", "step"), [("load", 0), ("run_segment", 3), ("within", 3)])
def test_an_engine_that_waits_is_stopped_at_a_commit(waits: str, step: int) -> None:
    """Steps of a segment that had been committed before are recorded like any."""
    recorder = Stoppable(segment=1)

    class Waiting(LocalEngine):
        def load(self, *arguments: Any) -> None:
            super().load(*arguments)
            if waits == "load":
                self.stop()

        def run_segment(self, num_steps: int) -> SegmentReport:
            if self.state().step == 3 and waits == "run_segment":
                self.stop()
            report = super().run_segment(num_steps)
            if self.state().step == 3 and waits == "within":
                self.stop(report)
            return report

        def stop(self, report: SegmentReport | None = None) -> None:
            recorder.asked = True
            assert self.should_stop is not None and self.should_stop()
            raise StopAsked(report)

    engine = Waiting(EngineOptions())
    with pytest.raises(Stopped, match=f"stopped at step {step} of 4"):
        fit(engine, recorder)
    assert [saved.step for saved in recorder.saved] == ([step] if step else [])
    assert len(recorder.fingerprints) == recorder.step == step
    assert engine.should_stop is None
