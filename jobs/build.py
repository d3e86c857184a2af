"""From a spec to what is trained: data, preprocessing, model, and the arguments of `fit`.

Everything that can be refused before a run begins is refused here, with its place in the spec. Nothing is
trained and nothing is written.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster import user_code
from distnn.batching import default_shards
from distnn.callbacks import Callback
from distnn.data import ArrayData, Preprocessor, fit_preprocessor, load_source, split_validation
from distnn.data.preprocessing import count_classes
from distnn.data.python_loader import LoaderOptionError
from distnn.data.sources import LoadedData, SourceOptions, source_files
from distnn.errors import DataError, UserCodeError
from distnn.models import Model, Sequential
from distnn.models.fitting import FitArguments, prepare
from distnn.naming import did_you_mean
from distnn.rng import draw_seed
from distnn.threads import available_cores
from distnn.tracing import trace
from jobs.catalog import Parts, make_parts
from jobs.errors import SpecError
from jobs.problems import Problem
from jobs.spec import DataSpec, JobSpec
from jobs.specfile import SpecFile

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Placement:
    """Where to run, as the command line says it; None leaves it to the spec. Never changes the shards."""

    backend: str | None = None
    workers: int | None = None
    threads: int | None = None
    address: str | None = None
    exchange: str | None = None
    deadline_s: float | None = None


@dataclass(frozen=True, eq=False)
class JobData:
    """The data of a job, preprocessed. `validation` is looked at in each epoch, `test` at the end."""

    train: ArrayData
    validation: ArrayData | None
    test: ArrayData | None
    preprocessor: Preprocessor

    @property
    def held_out(self) -> tuple[str, ArrayData] | None:
        """What the finished model is measured on, and what it is called."""
        if self.test is not None:
            return "test", self.test
        return None if self.validation is None else ("val", self.validation)


@dataclass(frozen=True, eq=False)
class Job:
    """A job ready to run. `spec` has everything settled: seed, shards, threads, workers, absolute paths."""

    spec: JobSpec
    base_dir: Path
    data: JobData
    model: Model
    address: str | None
    callbacks: tuple[Callback, ...] = ()

    def fit_arguments(self) -> dict[str, Any]:
        """The `FitArguments`, but for the recorder and the progress."""
        training, cluster, train = self.spec.training, self.spec.cluster, self.data.train
        return {
            "x": _one_or_list(train.x),
            "y": _one_or_list(train.y),
            "sample_weight": train.sample_weight,
            "validation_data": None if self.data.validation is None else _as_tuple(self.data.validation),
            "batch_size": training.batch_size,
            "epochs": training.epochs,
            "shuffle": training.shuffle,
            "callbacks": list(self.callbacks),
            "class_weight": class_weights(self.spec, self.data.preprocessor),
            "seed": self.spec.seed,
            "shards": training.shards,
            "on_nonfinite": training.on_nonfinite,
            "threads": cluster.threads,
            **self.engine_arguments(),
        }

    @property
    def workers_used(self) -> int:
        """How many compute at the same time."""
        workers = self.spec.cluster.workers
        return 1 if workers is None or self.spec.cluster.backend == "local" else workers.max

    def engine_arguments(self) -> dict[str, Any]:
        """Which of the arguments say where to compute."""
        cluster = self.spec.cluster
        workers = cluster.workers
        return {
            "backend": cluster.backend,
            "workers": None if workers is None else (workers.min, workers.max),
            "address": self.address,
            "exchange": cluster.exchange,
            "deadline_s": cluster.deadline_seconds,
            "wait_s": cluster.wait_seconds,
        }


def build_job(file: SpecFile, placement: Placement | None = None, *, seed: int | None = None) -> Job:
    """Load the data and make the model.

    Args:
        file: the spec.
        placement: what the command line says about where to run.
        seed: taken if the spec has none, in place of a drawn one.

    Raises:
        SpecError: something in the spec does not work; nothing has been written.
    """
    placement = placement or Placement()
    if file.spec.seed is None:
        settled = file.spec.model_copy(update={"seed": draw_seed() if seed is None else seed})
        file = replace(file, spec=settled)
    allow_modules_of(file.spec, file.base_dir)
    parts, problems = make_parts(file.spec)
    if problems:
        raise file.fail(problems)
    data = load_data(file)
    spec = settle(file, placement, data.train.num_samples)
    model = make_model(file, parts, data.train)
    model.preprocessor_config = data.preprocessor.to_config()
    _check_class_weight(file, data.preprocessor)
    job = Job(spec, file.base_dir, data, model, placement.address, parts.callbacks)
    _rehearse(file, job)
    return job


def allow_modules_of(spec: JobSpec, base_dir: Path) -> None:
    """Let modules beside the spec be imported, if it names any; here and in the workers to come."""
    names_modules = spec.model.factory is not None or any(
        source is not None and source.startswith("python:")
        for source in (spec.data.source, spec.data.validation)
    )
    if names_modules and str(base_dir) not in sys.path:
        sys.path.insert(0, str(base_dir))


def _rehearse(file: SpecFile, job: Job) -> None:
    """Record the training's graph once, so that what does not fit together is told before a run begins."""
    here = {**job.fit_arguments(), "backend": "local", "workers": 1, "address": None}
    try:
        training = prepare(job.model, FitArguments(**here))
        trace(training.task, "train", training.task.batching.largest_shard)
    except Exception as error:
        raise_user_error(error)
        if not isinstance(error, ValueError):
            raise
        raise file.fail([Problem(("training",), _first_line(error))]) from None


# Data


def load_data(file: SpecFile) -> JobData:
    """Load, split and preprocess what the spec names."""
    spec = file.spec.data
    loaded = _placed(file, "source", lambda: _load(spec, file.base_dir))
    if not loaded.train.y:
        hint = ": set `target` to the column to predict" if spec.source.endswith(".csv") else ""
        raise file.fail([Problem(("data", "source"), f"has no targets to learn from{hint}")])
    train, validation, test = loaded.train, None, loaded.test
    fraction = spec.validation_fraction
    if fraction is not None:
        seed = file.spec.seed
        assert seed is not None, "the seed is settled first"
        train, validation = _placed(
            file, "validation_fraction", lambda: split_validation(loaded.train, fraction, seed)
        )
    preprocessor = _placed(file, "normalize", lambda: _fit_preprocessor(spec, loaded, train))
    if spec.validation is not None:
        validation = _placed(file, "validation", lambda: _load_validation(file, preprocessor))
    elif validation is None and test is not None:
        validation, test = test, None

    def transformed(part: ArrayData | None) -> ArrayData | None:
        return None if part is None else preprocessor.transform(part)

    key = "one_hot" if spec.one_hot else "source"
    ready, *others = _placed(
        file, key, lambda: (preprocessor.transform(train), transformed(validation), transformed(test))
    )
    return JobData(ready, others[0], others[1], preprocessor)


def source_options(spec: DataSpec) -> SourceOptions:
    """How the spec says its source is to be read."""
    loader = spec.options or {}
    return SourceOptions(spec.labels, spec.target, spec.categorical, spec.drop, spec.delimiter, loader)


def data_files(spec: DataSpec, base_dir: Path) -> list[tuple[str, Path]]:
    """Key and path of every file the data consists of."""
    files = [("source", path) for path in source_files(spec.source, base_dir=base_dir)]
    for key in ("labels", "validation", "validation_labels"):
        name = getattr(spec, key)
        if name is not None:
            files += [(key, path) for path in source_files(name, base_dir=base_dir)]
    return files


def _load(spec: DataSpec, base_dir: Path) -> LoadedData:
    return load_source(spec.source, base_dir=base_dir, options=source_options(spec))


def _load_validation(file: SpecFile, preprocessor: Preprocessor) -> ArrayData:
    spec = file.spec.data
    assert spec.validation is not None
    if spec.validation.endswith(".csv"):
        (path,) = source_files(spec.validation, base_dir=file.base_dir)
        return preprocessor.read_csv(path, needs_target=True)
    options = SourceOptions(labels=spec.validation_labels)
    return load_source(spec.validation, base_dir=file.base_dir, options=options).train


def _fit_preprocessor(spec: DataSpec, loaded: LoadedData, train: ArrayData) -> Preprocessor:
    classes: int | None = None
    if spec.one_hot is True:
        names = None if loaded.columns is None else loaded.columns.class_names
        classes = count_classes(loaded.train.y[0]) if names is None else len(names)
    elif spec.one_hot is not False:
        classes = int(spec.one_hot)
    return fit_preprocessor(train, columns=loaded.columns, normalize=spec.normalize, one_hot_classes=classes)


def _placed(file: SpecFile, key: str, work: Callable[[], Any]) -> Any:
    """Do `work`; a refusal of the data becomes one that names the key in the spec."""
    try:
        return work()
    except LoaderOptionError as error:
        raise file.fail([Problem(("data", "options", error.option), str(error))]) from None
    except DataError as error:
        raise file.fail([Problem(("data", key), str(error))]) from None


# What is settled


def settle(file: SpecFile, placement: Placement, num_train: int) -> JobSpec:
    """The spec with all that was left open decided, so that it says the same anywhere.

    Shards come from the spec's own cluster section, never from the command line.
    """
    plain = file.spec.to_plain()
    training, cluster = plain["training"], plain["cluster"]
    own = file.spec.cluster
    own_workers = own.workers.max if own.workers is not None else _default_workers(own.backend)
    training.setdefault("shards", default_shards(own_workers, min(training["batch_size"], num_train)))
    cluster["threads"] = placement.threads or cluster.get("threads", 1)
    if placement.backend is not None:
        cluster["backend"] = placement.backend
    if placement.workers is not None:
        cluster["workers"] = placement.workers
    if placement.exchange is not None:
        cluster["exchange"] = placement.exchange
    if placement.deadline_s is not None:
        cluster["deadline_seconds"] = placement.deadline_s
    cluster.setdefault("workers", _default_workers(cluster["backend"]))
    for key in ("source", "labels", "validation", "validation_labels"):
        name = plain["data"].get(key)
        if name is not None and not name.startswith(("builtin:", "python:")):
            plain["data"][key] = str((file.base_dir / Path(name).expanduser()).absolute())
    return JobSpec.model_validate(plain)


def _default_workers(backend: str) -> int:
    return 1 if backend == "local" else available_cores()


def class_weights(spec: JobSpec, preprocessor: Preprocessor) -> dict[int, float] | None:
    """The weights by class number; names are those of a table's target column.

    Raises:
        ValueError: for a class that is neither.
    """
    given = spec.training.class_weight
    if given is None:
        return None
    names = list(preprocessor.class_names or ())
    weights: dict[int, float] = {}
    for key, weight in given.items():
        if key not in names and not key.isdigit():
            known = f" or one of {', '.join(names)}" if names else ""
            raise ValueError(
                f"'{key}' is no class: expected a class number{known}.{did_you_mean(key, names)}"
            )
        weights[names.index(key) if key in names else int(key)] = weight
    return weights


def _check_class_weight(file: SpecFile, preprocessor: Preprocessor) -> None:
    try:
        class_weights(file.spec, preprocessor)
    except ValueError as error:
        raise file.fail([Problem(("training", "class_weight"), str(error))]) from None


# The model


def make_model(file: SpecFile, parts: Parts, train: ArrayData) -> Model:
    """The compiled model, built for the shape of the data."""
    if parts.layers is None:
        assert file.spec.model.factory is not None
        model = _call_factory(file, file.spec.model.factory)
        place: KeyPath = ("model", "factory")
    else:
        model, place = Sequential(list(parts.layers)), ("model", "layers")
    shape = (None, *train.x[0].shape[1:])
    try:
        if len(train.x) == 1 and not model.built:
            model.build(shape)
    except NotImplementedError:
        pass
    except Exception as error:
        raise_user_error(error)
        shown = ", ".join(map(str, shape[1:]))
        raise file.fail(
            [Problem(place, f"does not fit samples of shape ({shown}): {_first_line(error)}")]
        ) from error
    model.compile(optimizer=parts.optimizer, loss=parts.loss, metrics=list(parts.metrics))
    return model


def _call_factory(file: SpecFile, factory: str) -> Model:
    function = import_function(factory, file.base_dir, ("model", "factory"), file)
    try:
        model = function()
    except Exception as error:
        raise_user_error(error)
        raise
    if not isinstance(model, Model):
        message = f"{factory} returned a {type(model).__name__}, expected a model of distnn.models"
        raise file.fail([Problem(("model", "factory"), message)])
    return model


def import_function(name: str, base_dir: Path, place: KeyPath, file: SpecFile) -> Callable[..., Any]:
    """The function 'MODULE:FUNCTION', its module beside the spec or on the Python path."""
    module_name, _, function_name = name.partition(":")

    def refuse(message: str) -> SpecError:
        return file.fail([Problem(place, message)])

    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        where = f" (looked in {base_dir} and the Python path)" if error.name == module_name else ""
        raise refuse(f"there is no module '{error.name}'{where}") from None
    except Exception as error:
        raise refuse(
            f"importing '{module_name}' failed: {type(error).__name__}: {_first_line(error)}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        there = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise refuse(
            f"module '{module_name}' has no function '{function_name}'.{did_you_mean(function_name, there)} "
            f"It has: {', '.join(there) or 'none'}"
        )
    found: Callable[..., Any] = function
    return found


def raise_user_error(error: BaseException) -> None:
    """Raise a `UserCodeError` with the user's own frames, if any code of the user's took part."""
    failure = user_code.describe(error)
    if failure.user_traceback:
        raise UserCodeError(failure.summary, None, failure.user_traceback) from error


def _one_or_list(arrays: tuple[Any, ...]) -> Any:
    return arrays[0] if len(arrays) == 1 else list(arrays)


def _as_tuple(data: ArrayData) -> tuple[Any, ...]:
    pair = (_one_or_list(data.x), _one_or_list(data.y))
    return pair if data.sample_weight is None else (*pair, data.sample_weight)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
