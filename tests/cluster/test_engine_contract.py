"""What every engine promises, whoever computes: local, threads, Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from cases import arrays, make_training, plain_model, reference, run, run_pulled

from distnn.engine import Engine, EngineOptions, create_engine

Make = Callable[..., Engine]


ENGINES = {
    "local": ("local", "auto"),
    "threads": ("threads", "auto"),
    "ray, shared memory": ("ray", "shared_memory"),
    "ray, hierarchical": ("ray", "hierarchical"),
    "ray, object store": ("ray", "object_store"),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.ray] if "ray" in name else []) for name in ENGINES],
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One engine for all of these tests, so each begins on one that has seen other tasks."""
    backend, exchange = ENGINES[request.param]
    if backend == "ray":
        request.getfixturevalue("ray_cluster")
    engine = create_engine(backend, EngineOptions(workers=2, exchange=exchange))
    yield engine
    engine.close()


def load(engine: Engine, kind: str = "plain", **options: object) -> None:
    training = make_training(kind, **options)  # type: ignore[arg-type]
    engine.load(training.task, training.data, training.model.training_state(0))


@pytest.mark.parametrize("kind", ["plain", "rich", "held"])
def test_same_bytes_as_the_local_engine(engine: Engine, kind: str) -> None:
    assert run(engine, kind) == reference(kind)


def test_how_steps_are_cut_into_segments_changes_nothing(engine: Engine) -> None:
    assert run(engine, segments=(1, 1, 8)) == run(engine, segments=(10,)) == reference()


def test_a_report_tells_the_steps_it_committed(engine: Engine) -> None:
    load(engine)
    first, second = engine.run_segment(3), engine.run_segment(2)
    assert (first.first_step, len(first.fingerprints)) == (0, 3)
    assert (second.first_step, len(second.fingerprints)) == (3, 2)
    assert second.fingerprints.dtype == np.uint64
    assert engine.state().step == 5
    assert len(set(first.fingerprints.tolist() + second.fingerprints.tolist())) == 5


def test_set_state_goes_back_and_copies(engine: Engine) -> None:
    load(engine, "rich")
    engine.run_segment(2)
    kept = engine.state().copy()
    first = engine.run_segment(3).fingerprints
    engine.set_state(kept)
    kept.weights[:] = 0
    np.testing.assert_array_equal(engine.run_segment(3).fingerprints, first)


@pytest.mark.parametrize("batch_size", [1, 8, 29, 1000])
def test_evaluate_and_predict_equal_the_local_engines(engine: Engine, batch_size: int) -> None:
    local = create_engine("local", EngineOptions())
    load(engine, "rich")
    load(local, "rich")
    np.testing.assert_array_equal(
        engine.evaluate("validation", batch_size), local.evaluate("validation", batch_size)
    )
    (ours,), (theirs,) = engine.predict("validation", batch_size), local.predict("validation", batch_size)
    assert ours.shape == (29, 3)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("shards", "batch_size"), [(16, 13), (7, 4), (4, 1)])
def test_more_shards_than_samples(engine: Engine, shards: int, batch_size: int) -> None:
    """75 samples: also the last batch is shorter (10 of 13, 3 of 4); some workers have no sample at all."""
    options = {"shards": shards, "batch_size": batch_size, "segments": (3, 75 // batch_size)}
    local = create_engine("local", EngineOptions())
    assert run(engine, "rich", **options) == run(local, "rich", **options)  # type: ignore[arg-type]
    fewer = options | {"shards": 1}
    found, expected = run(engine, "plain", **options), run(local, "plain", **fewer)  # type: ignore[arg-type]
    weights, others = np.frombuffer(found.weights, np.float32), np.frombuffer(expected.weights, np.float32)
    np.testing.assert_allclose(weights, others, rtol=1e-3, atol=1e-4)
    predictions = (np.frombuffer(one.predictions, np.float32) for one in (found, expected))
    np.testing.assert_allclose(*predictions, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["rich", "wide", "lamb"])
def test_batches_may_come_while_it_runs(engine: Engine, kind: str) -> None:
    local = create_engine("local", EngineOptions())
    expected = run_pulled(local, kind, segments=(1,) * 10)
    assert run_pulled(engine, kind) == expected
    assert run_pulled(engine, kind, segments=(2, 2, 2, 2, 2)) == expected
    assert len(set(expected.fingerprints)) == 10


def test_a_users_exception_leaves_the_committed_state_whole(engine: Engine) -> None:
    load(engine, "touchy", provoke=True)
    with pytest.raises(Exception, match="too large for me") as raised:
        engine.run_segment(10)
    step = engine.state().step
    place = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", [])])
    assert f"step {step}, shard " in place
    before = engine.state().copy()
    with pytest.raises(Exception, match="too large for me"):
        engine.run_segment(1)
    np.testing.assert_array_equal(engine.state().weights, before.weights)
    load(engine, "touchy")
    assert engine.run_segment(10).first_step == 0


def test_a_step_that_is_not_finite_ends_the_segment_before_it(engine: Engine) -> None:
    load(engine, "sore", provoke=True)
    report = engine.run_segment(10)
    done = len(report.fingerprints)
    assert report.has_trouble and 0 < done < 5 and engine.state().step == done
    assert np.isfinite(engine.state().weights).all() and np.isfinite(report.sums).all()
    before = engine.state().copy()
    again = engine.run_segment(10)
    assert again.has_trouble and len(again.fingerprints) == 0 and again.first_step == done
    np.testing.assert_array_equal(engine.state().weights, before.weights)
    load(engine, "sore")
    assert not engine.run_segment(10).has_trouble


@pytest.mark.parametrize("segments", [(10,), (1, 2, 7)])
def test_steps_that_are_not_finite_can_be_skipped(engine: Engine, segments: tuple[int, ...]) -> None:
    found = run(engine, "sore", segments, provoke=True)
    assert found == reference("sore", provoke=True)
    steps = [
        i
        for i, pair in enumerate(zip(found.fingerprints, found.fingerprints[1:], strict=False))
        if len(set(pair)) == 1
    ]
    assert len(steps) == 2, "one step of each epoch has the sample"
    assert np.isfinite(np.frombuffer(found.weights, np.float32)).all()


def test_another_task_of_other_sizes_can_follow(engine: Engine) -> None:
    load(engine, "plain", shards=2, batch_size=75)
    engine.run_segment(2)
    load(engine, "rich", shards=3, batch_size=7)
    engine.run_segment(2)
    assert run(engine) == reference()


def test_map_gives_the_results_of_all_items_in_order(engine: Engine) -> None:
    """Before, between and after trainings; with the weights as they are at the call."""
    model, (x, _) = plain_model(), arrays()
    model.ensure_initialized(3)
    expected = [model.predict(x[i : i + 1]).tobytes() for i in range(5)]
    assert engine.map(model, lambda model, i: model.predict(x[i : i + 1]).tobytes(), range(5)) == expected
    assert run(engine) == reference()
    model.set_weights([weight + 1 for weight in model.get_weights()])
    (after,) = engine.map(model, lambda model, i: model.predict(x[i : i + 1]).tobytes(), [4])
    assert after == model.predict(x[4:5]).tobytes() != expected[4]
    assert engine.map(model, lambda model, i: i, []) == []
    assert run(engine) == reference()


def test_close_twice_is_fine() -> None:
    threads = threading.active_count()
    engine = create_engine("threads", EngineOptions(workers=2))
    load(engine, "rich", shards=3, batch_size=7)
    engine.run_segment(1)
    assert threading.active_count() > threads
    engine.close()
    engine.close()
    assert threading.active_count() == threads
