"""`distnn evaluate` and `distnn predict`: a finished run's model (or a model file) on other data.

The preprocessing that was fitted for the training comes with the model and is applied to the data first.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn.checkpoint import load_tensors, write_atomically
from distnn.data import ArrayData, Preprocessor, as_array_data, load_source
from distnn.data.sources import LoadedData, SourceOptions
from distnn.errors import DataError
from distnn.models import Model, load_model
from distnn.models.saving import SUFFIXES
from distnn.naming import did_you_mean
from jobs.build import allow_modules_of, load_data, make_model, source_options
from jobs.catalog import make_parts
from jobs.errors import RequestError
from jobs.rundir import RunDir, find_run
from jobs.runner import spec_of_run
from jobs.status import read_status

OUTPUT_SUFFIXES = (".npy", ".npz", ".csv")

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Trained:
    """A model with its weights and the preprocessing of its inputs; `run` if it came from one."""

    model: Model
    preprocessor: Preprocessor
    run: RunDir | None

    @property
    def is_classifier(self) -> bool:
        """Whether an output is a row of class scores."""
        loss = self.model.compiled["loss"]
        name = str(getattr(loss, "name", "")).lower()
        return "categorical_crossentropy" in name


def load_trained(text: str) -> Trained:
    """The model that `text` means: a run (id or path) or the file of a model.

    Raises:
        RequestError: there is no such run, or it has no finished model.
    """
    if text.endswith(SUFFIXES):
        path = Path(text)
        if not path.exists():
            raise RequestError(f"{text}: no such file")
        model = load_model(path)
        return Trained(model, _preprocessor(model.preprocessor_config), None)
    run = find_run(text)
    if not run.model.is_file():
        status = read_status(run)
        state = f"it is {status.state.value} at step {status.step}" if status else "it has not begun"
        raise RequestError(f"{run.path}: has no finished model ({state}): finish it with `distnn resume`")
    return _of_run(run)


def _of_run(run: RunDir) -> Trained:
    """A model made by a user's factory is made by it again; others are rebuilt from the file alone."""
    if run.spec.is_file():
        file = spec_of_run(run)
        if file.spec.model.factory is not None:
            allow_modules_of(file.spec, file.base_dir)
            parts, problems = make_parts(file.spec)
            if problems:
                raise file.fail(problems)
            _, metadata = load_tensors(run.model)
            model = make_model(file, parts, load_data(file).train)
            model.load_weights(run.model)
            return Trained(model, _preprocessor(metadata["model"]["preprocessor"]), run)
    model = load_model(run.model)
    return Trained(model, _preprocessor(model.preprocessor_config), run)


def _preprocessor(config: dict[str, Any] | None) -> Preprocessor:
    return Preprocessor() if config is None else Preprocessor.from_config(config)


def evaluate(
    trained: Trained, data: str | None, labels: str | None, engine: dict[str, Any], batch_size: int | None
) -> dict[str, float]:
    """Loss and metrics on a source of data; without one, on what the run held out.

    Raises:
        RequestError, ValueError: the data cannot be used.
    """
    part = _held_out(trained) if data is None else _labelled(trained, data, labels)
    logs: dict[str, float] = trained.model.evaluate(
        _one_or_list(part.x),
        part.y[0],
        batch_size=batch_size,
        sample_weight=part.sample_weight,
        verbose=0,
        return_dict=True,
        **engine,
    )
    return logs


def predict(
    trained: Trained, data: str, out: str, engine: dict[str, Any], batch_size: int | None
) -> tuple[Path, int]:
    """Write the model's outputs for `data` to `out`; returns its path and the number of samples.

    Raises:
        RequestError, ValueError: the data cannot be used, or the output cannot be written.
    """
    path = Path(out)
    if path.suffix not in OUTPUT_SUFFIXES:
        raise RequestError(f"--out {out}: expected a file ending in {', '.join(OUTPUT_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise RequestError(f"--out {out}: there is no folder {path.absolute().parent}")
    inputs = trained.preprocessor.transform_inputs(_inputs(trained, data))
    outputs = trained.model.predict(_one_or_list(inputs), batch_size=batch_size, **engine)
    array = np.asarray(outputs)
    try:
        write_atomically(path, _encoded(trained, array, path.suffix))
    except OSError as error:
        raise RequestError(f"--out {out}: cannot be written: {error.strerror}") from None
    return path.absolute(), len(array)


# Data


def _held_out(trained: Trained) -> ArrayData:
    if trained.run is None or not trained.run.spec.is_file():
        raise RequestError("--data is needed: a model file does not know what was held out")
    held_out = load_data(spec_of_run(trained.run)).held_out
    if held_out is None:
        raise RequestError(f"--data is needed: {trained.run.name} held nothing out of its training")
    return held_out[1]


def _labelled(trained: Trained, source: str, labels: str | None) -> ArrayData:
    if source.endswith(".csv"):
        raw = trained.preprocessor.read_csv(_existing(source), needs_target=True)
    else:
        raw = _test_part(_load(trained, source, SourceOptions(labels=labels)))
    if not raw.y:
        raise DataError(f"{source}: has no targets to compare with")
    return trained.preprocessor.transform(raw)


def _inputs(trained: Trained, source: str) -> tuple[Array, ...]:
    if source.endswith(".csv"):
        return trained.preprocessor.read_csv(_existing(source), needs_target=False).x
    if source.endswith((".npy", ".npz")):
        return _numpy_inputs(_existing(source))
    return _test_part(_load(trained, source, SourceOptions())).x


def _load(trained: Trained, source: str, options: SourceOptions) -> LoadedData:
    """A source; the run's own loader is called as the run called it: with its options, in its folder."""
    if trained.run is not None and trained.run.spec.is_file() and source.startswith("python:"):
        file = spec_of_run(trained.run)
        if source == file.spec.data.source:
            return load_source(source, base_dir=file.base_dir, options=source_options(file.spec.data))
    return load_source(source, base_dir=Path.cwd(), options=options)


def _numpy_inputs(path: Path) -> tuple[Array, ...]:
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return as_array_data(loaded, keep_float64=True).x
        with loaded:
            name = next((key for key in ("x", "x_test", "x_train") if key in loaded), None)
            if name is None:
                raise DataError(f"holds the arrays {sorted(loaded)}: expected x")
            return as_array_data(loaded[name], keep_float64=True).x
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be used: {error}") from None


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        beside = [p.name for p in path.absolute().parent.glob(f"*{path.suffix}")]
        raise RequestError(f"{name}: no such file.{did_you_mean(path.name, beside)}".removesuffix("."))
    return path


def _test_part(loaded: LoadedData) -> ArrayData:
    return loaded.train if loaded.test is None else loaded.test


def _one_or_list(arrays: tuple[Array, ...]) -> Any:
    return arrays[0] if len(arrays) == 1 else list(arrays)


# Output files


def _encoded(trained: Trained, outputs: Array, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, outputs, allow_pickle=False)
    elif suffix == ".npz":
        arrays = {"y": outputs}
        if _has_classes(trained, outputs):
            arrays["class_index"] = outputs.argmax(axis=-1)
        np.savez(buffer, allow_pickle=False, **arrays)
    else:
        return _as_csv(trained, outputs).encode()
    return buffer.getvalue()


def _as_csv(trained: Trained, outputs: Array) -> str:
    """A row a sample: the class first, if the model tells classes apart, then the outputs."""
    table = outputs.reshape(len(outputs), -1)
    names = list(trained.preprocessor.class_names or map(str, range(table.shape[1])))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if _has_classes(trained, outputs):
        writer.writerow(["class", *(f"p({name})" for name in names)])
        writer.writerows([names[int(row.argmax())], *map(_number, row)] for row in table)
    else:
        columns = ["y"] if table.shape[1] == 1 else [f"y{i}" for i in range(table.shape[1])]
        writer.writerow(columns)
        writer.writerows(map(_number, row) for row in table)
    return text.getvalue()


def _has_classes(trained: Trained, outputs: Array) -> bool:
    return trained.is_classifier and outputs.ndim == 2 and outputs.shape[1] > 1


def _number(value: Any) -> str:
    """The shortest text that reads back as the same float32."""
    return str(np.float32(value))
