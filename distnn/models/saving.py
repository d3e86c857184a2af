"""Saved models: one safetensors file with the weights by name, and how to rebuild the model as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.checkpoint import load_tensors, save_tensors
from distnn.custom_objects import CustomObjectScope
from distnn.errors import CheckpointError, UnknownNameError
from distnn.models.describing import compile_as_described, describe, from_architecture, inputs_of
from distnn.recording import Snapshot
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
    return Snapshot(step, tensors, {"format": FORMAT, "model": describe(model) | inputs_of(model)})


def _checked_path(path: Path, overwrite: bool) -> Path:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            "Invalid filepath extension for saving: a model is kept in a safetensors file, with a name in "
            f"{' or '.join(SUFFIXES)}. Received: filepath={path}"
        )
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already; pass overwrite=True or choose another name")
    return path


def save_model(
    model: Model, filepath: str | Path, overwrite: bool = True, zipped: bool | None = None
) -> None:
    """Write the model; the file is there whole or not at all.

    Args:
        model: any.
        filepath: ends in one of `SUFFIXES`.
        overwrite: whether a file that is there is replaced.
        zipped: of Keras; without effect.
    """
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


def load_model(
    filepath: str | Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,  # noqa: A002  (Keras's name)
    safe_mode: bool = True,
) -> Model:
    """The model that `save` (or a run) left in `filepath`, with its weights; no code is executed from it.

    Args:
        filepath: of the file.
        custom_objects: classes and functions of your own by name, if they are not registered.
        compile: whether to compile it as it was.
        safe_mode: always so, whatever is given: there is no other mode.

    Raises:
        CheckpointError: if the file is damaged, foreign, or names what is not known here.
    """
    path = Path(filepath)
    tensors, metadata = load_tensors(path)
    description = metadata.get("model")
    if metadata.get("format") != FORMAT or description is None:
        raise CheckpointError(f"{path} holds weights or a checkpoint, not a whole model; use load_weights")
    if "config" not in description:
        raise CheckpointError(f"{path} cannot be rebuilt from the file: {description['not_rebuildable']}")
    try:
        with CustomObjectScope(custom_objects):
            model = from_architecture(description)
            model.preprocessor_config = description["preprocessor"]
            set_named_weights(model, tensors, path)
            if compile and description.get("compile") is not None:
                compile_as_described(model, description["compile"])
    except UnknownNameError as error:
        raise CheckpointError(_what_is_missing(path, error)) from error
    return model


def _what_is_missing(path: Path, error: UnknownNameError) -> str:
    bare = str(error.name).rpartition(">")[2]
    return (
        f"{path} needs the {error.kind} {error.name!r}, which is not known here: import the module that "
        f"registers it (`@distnn.saving.register_keras_serializable()`), or pass "
        f"`custom_objects={{{bare!r}: {bare}}}`. Classes and functions of your own are never in the file."
    )
