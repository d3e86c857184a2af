"""Saved models: one safetensors file with the weights by name, and how to rebuild the model as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn import losses, metrics, optimizers
from distnn.checkpoint import load_tensors, save_tensors
from distnn.errors import CheckpointError
from distnn.recording import Snapshot
from distnn.structure import mapped
from distnn.tensor import Array

if TYPE_CHECKING:
    from distnn.models.model import Model

SUFFIXES = (".safetensors", ".keras", ".h5")
"""How names of files may end: what is in them is a safetensors file in any case."""
FORMAT = "distnn-model-1"


def final_snapshot(model: Model, step: int) -> Snapshot:
    """Weights by path, and metadata that says nothing of time or place: equal runs give equal bytes."""
    model.ensure_initialized()
    tensors = {variable.path: variable.numpy() for variable in model.variables}
    return Snapshot(step, tensors, {"format": FORMAT, "model": describe(model)})


def describe(model: Model) -> dict[str, Any]:
    """How to rebuild the model: class, config and compile arguments, or why that cannot be."""
    description: dict[str, Any] = {
        "class_name": type(model).__name__,
        "preprocessor": model.preprocessor_config,
    }
    try:
        description["config"] = _config(model)
        description["compile"] = _compile_config(model)
    except ValueError as error:
        description["not_rebuildable"] = str(error)
    return description


def architecture(model: Model) -> dict[str, Any]:
    """Class and config of a model that can be rebuilt from them.

    Raises:
        ValueError: for a model of the user's own class.
    """
    return {"class_name": type(model).__name__, "config": _config(model)}


def from_architecture(description: Mapping[str, Any]) -> Model:
    """A model with fresh weights, as `architecture` described it.

    Raises:
        ValueError: if this describes no model.
    """
    name, config = description.get("class_name"), description.get("config")
    if name not in _classes() or not isinstance(config, Mapping):
        raise ValueError(
            f"expected the `class_name` ({' or '.join(_classes())}) and `config` of a model. "
            f"Received: class_name={name!r}"
        )
    return _classes()[name].from_config(config)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model that `to_json` described, with fresh weights, not compiled.

    Raises:
        ValueError: for another text, or `custom_objects`, which have no place in it.
    """
    if custom_objects:
        raise ValueError("`custom_objects` is not supported yet: build models with your own code in code")
    description = json.loads(json_string)
    if not isinstance(description, dict):
        raise ValueError(f"expected a JSON object. Received: {type(description).__name__}")
    return from_architecture(description)


def clone_model(
    model: Model, input_tensors: Any = None, clone_function: Any = None, call_function: Any = None
) -> Model:
    """A model with the same layers and fresh weights, not compiled.

    Args:
        model: functional or Sequential.
        input_tensors, clone_function, call_function: of Keras; not supported.
    """
    given = {"input_tensors": input_tensors, "clone_function": clone_function, "call_function": call_function}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"`{name}` is not supported yet: leave it out. Received: {value!r}")
    return from_architecture(architecture(model))


def _config(model: Model) -> dict[str, Any]:
    if type(model) not in _classes().values() or not model.can_be_described:
        raise ValueError(
            f"{type(model).__name__} is a class of your own: build it in code and use load_weights"
        )
    return model.get_config()


def _classes() -> dict[str, type[Model]]:
    """Classes that are rebuilt from their configuration."""
    from distnn.models.model import Model
    from distnn.models.sequential import Sequential

    return {"Model": Model, "Sequential": Sequential}


def _compile_config(model: Model) -> dict[str, Any] | None:
    if model._compiled is None:
        return None
    compiled = model.compiled
    return {
        "optimizer": optimizers.serialize(model.optimizer),
        "loss": mapped(lambda one: None if one is None else losses.serialize(one), compiled["loss"]),
        "loss_weights": compiled["loss_weights"],
        "metrics": mapped(_metric_config, compiled["metrics"]),
        "weighted_metrics": mapped(_metric_config, compiled["weighted_metrics"]),
    }


def _metric_config(metric: Any) -> Any:
    if metric is None or isinstance(metric, str):
        return metric
    return metrics.serialize(metrics.get(metric))


def _checked_path(path: Path, overwrite: bool) -> Path:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            "Invalid filepath extension for saving: a model is kept in a safetensors file, with a name in "
            f"{' or '.join(SUFFIXES)}. Received: filepath={path}"
        )
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already; pass overwrite=True or choose another name")
    return path


def save_model(model: Model, filepath: str | Path, overwrite: bool = True) -> None:
    """Write the model; the file is there whole or not at all."""
    path = Path(filepath)
    snapshot = final_snapshot(model, 0)
    save_tensors(_checked_path(path, overwrite), snapshot.tensors, snapshot.metadata)


def save_weights_to(model: Model, path: Path, overwrite: bool = True) -> None:
    """Write the weights only."""
    model.ensure_initialized()
    tensors = {variable.path: variable.numpy() for variable in model.variables}
    save_tensors(_checked_path(path, overwrite), tensors, {"format": FORMAT})


def load_weights_from(model: Model, path: Path) -> None:
    """Set all weights by name; nothing changes if any is missing or does not fit."""
    tensors, _ = load_tensors(path)
    set_named_weights(model, tensors, path)


def set_named_weights(model: Model, tensors: Mapping[str, Array], path: Path) -> None:
    """Set a built model's weights from a file's tensors."""
    wanted = {variable.path: variable for variable in model.variables}
    if tensors and not model.built:
        raise ValueError("the model has no weights yet: build it first (`Input(shape)`, or call it on data)")
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        raise CheckpointError(
            f"{path} holds the weights of another model: it lacks {missing or 'none'} and has "
            f"{extra or 'none'} in addition"
        )
    for name, variable in wanted.items():
        if tensors[name].shape != variable.shape:
            raise CheckpointError(
                f"{path} holds the weights of another model: '{name}' has shape {tensors[name].shape}, the "
                f"model's has {variable.shape}"
            )
    model.ensure_initialized(0)
    for name, variable in wanted.items():
        variable.assign(np.asarray(tensors[name]))


def load_model(filepath: str | Path, compile: bool = True) -> Model:  # noqa: A002  (Keras's name)
    """The model that `save` (or a run) left in `filepath`, with its weights; no code is executed from it.

    Raises:
        CheckpointError: if the file is damaged, foreign, or of a model of the user's own code.
    """
    path = Path(filepath)
    tensors, metadata = load_tensors(path)
    description = metadata.get("model")
    if metadata.get("format") != FORMAT or description is None:
        raise CheckpointError(f"{path} holds weights or a checkpoint, not a whole model; use load_weights")
    if "config" not in description:
        raise CheckpointError(f"{path} cannot be rebuilt from the file: {description['not_rebuildable']}")
    model_class = _classes().get(description["class_name"])
    if model_class is None:
        raise CheckpointError(f"{path} holds a model of the unknown class {description['class_name']!r}")
    model = model_class.from_config(description["config"])
    model.preprocessor_config = description["preprocessor"]
    set_named_weights(model, tensors, path)
    compiled = description.get("compile")
    if compile and compiled is not None:
        model.compile(
            optimizer=compiled["optimizer"],
            loss=compiled["loss"],
            metrics=compiled["metrics"],
            loss_weights=compiled["loss_weights"],
            weighted_metrics=compiled["weighted_metrics"],
        )
    return model
