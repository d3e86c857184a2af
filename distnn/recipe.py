"""The recipe of a training: all that its bytes depend on, as JSON-able facts.

Backend, number of workers and placement are not in it. Only where products come from BLAS, its build, kernel
type and threads are.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.batching import Batching
from distnn.checkpoint import canonical_json
from distnn.data.arrays import ArrayData
from distnn.kernels.products import products_kind
from distnn.task import Task
from distnn.threads import blas_description

if TYPE_CHECKING:
    from distnn.models.model import Model

ARITHMETIC_VERSION = 3
"""Raised with any change of the bytes that a training ends in; held by a golden-digest test."""


def make_recipe(
    model: Model,
    description: Mapping[str, Any],
    task: Task,
    data: Mapping[str, ArrayData],
    pulled: str | None = None,
    on_nonfinite: str = "stop",
) -> dict[str, Any]:
    """What must be equal for two trainings to end in equal bytes.

    Args:
        model: as it is before the first step.
        description: how to rebuild the model (see `distnn.models.saving.describe`).
        task: of the training.
        data: by name; without what is pulled.
        pulled: what the training's batches are pulled from; nobody can have them again then.
        on_nonfinite: what happens at a step that is not finite.
    """
    trained = set(model.trainable_variables)
    return {
        "arithmetic_version": ARITHMETIC_VERSION,
        "model": description,
        "is_resumable_elsewhere": "not_rebuildable" not in description,
        "variables": [[v.path, list(v.shape), v in trained] for v in model.variables],
        "initial_weights": weights_digest(model),
        "data": {name: part.digest() for name, part in sorted(data.items())},
        "batching": _batching_facts(task.batching),
        "on_nonfinite": on_nonfinite,
        **({"not_replayable": f"its batches are pulled from {pulled}"} if pulled else {}),
        **({"threads_per_shard": task.threads} if products_kind() == "blas" else {}),
        "arithmetic": arithmetic_facts(),
    }


def _batching_facts(batching: Batching) -> dict[str, Any]:
    """All but what is told of pulled batches while they come."""
    return {key: value for key, value in asdict(batching).items() if key not in ("cuts", "first_step")}


def weights_digest(model: Model) -> str:
    """SHA-256 over the weights by name."""
    state = hashlib.sha256()
    for variable in model.variables:
        state.update(f"{variable.path} {variable.shape}\n".encode())
        state.update(np.ascontiguousarray(variable.array, "<f4").tobytes())
    return state.hexdigest()


def arithmetic_facts() -> dict[str, Any]:
    """Libraries and CPU kernels whose bits may differ from those of another machine."""
    facts: dict[str, Any] = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "numba": metadata.version("numba"),
        "products": products_kind(),
    }
    if facts["products"] == "blas":
        keys = ("internal_api", "version", "architecture", "threading_layer")
        facts["blas"] = [{key: info.get(key) for key in keys} for info in blas_description()]
    return facts


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of the recipe's canonical JSON."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The entries in which two recipes differ, one line each."""
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        name, before, after = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name}: {_short(before)} -> {_short(after)}")
    return found


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
