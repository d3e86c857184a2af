"""Any object of Keras's kinds as a JSON-able dict that says what it is, and back.

For `get_config` and `from_config` of layers that hold other layers, losses, initializers and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distnn import (
    activations,
    constraints,
    identifiers,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from distnn.custom_objects import CustomObjectScope, registered_name
from distnn.errors import UnknownNameError
from distnn.losses.registry import FUNCTIONS as LOSS_FUNCTIONS
from distnn.metrics.registry import FUNCTIONS as METRIC_FUNCTIONS
from distnn.optimizers import schedules

_KINDS: dict[str, tuple[type[Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "layers": (layers.Layer, layers.serialize, layers.deserialize),
    "losses": (losses.Loss, losses.serialize, losses.deserialize),
    "metrics": (metrics.Metric, metrics.serialize, metrics.deserialize),
    "optimizers": (optimizers.Optimizer, optimizers.serialize, optimizers.deserialize),
    "optimizers.schedules": (schedules.LearningRateSchedule, schedules.serialize, schedules.deserialize),
    "initializers": (initializers.Initializer, initializers.serialize, initializers.deserialize),
    "regularizers": (regularizers.Regularizer, regularizers.serialize, regularizers.deserialize),
    "constraints": (constraints.Constraint, constraints.serialize, constraints.deserialize),
}
"""By the submodule: the base class, and the kind's own functions."""


def serialize_keras_object(obj: Any) -> Any:
    """`obj` as what JSON can hold: plain values as they are, structures part by part, arrays as lists.

    An object becomes `{"module", "class_name", "config", "registered_name"}`, a function its name.

    Raises:
        ValueError: there is no name to find it by, or no config to make it of.
    """
    if obj is None or isinstance(obj, bool | int | float | str):
        return obj
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": obj.dtype.name}}
    if isinstance(obj, list | tuple):
        return type(obj)(serialize_keras_object(part) for part in obj)
    if isinstance(obj, dict):
        return {key: serialize_keras_object(part) for key, part in obj.items()}
    for module, (base, serialize, _) in _KINDS.items():
        if isinstance(obj, base):
            found = registered_name(type(obj))
            return {"module": f"distnn.{module}", **serialize(obj), "registered_name": found}
    if hasattr(obj, "get_config") and not isinstance(obj, type):
        described = identifiers.to_config(obj, {}, "object")
        return {"module": None, **described, "registered_name": registered_name(type(obj))}
    if callable(obj) and not isinstance(obj, type):
        name = identifiers.name_of(obj, _functions(), "function")
        return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    raise ValueError(
        f"an object of type {type(obj).__name__} cannot be described: give its class a `get_config`, or "
        "leave it out"
    )


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """What `serialize_keras_object` described.

    Args:
        config: what it returned.
        custom_objects: classes and functions of your own by name, if they are not registered.
        safe_mode: always so, whatever is given: no code is read from a config.

    Raises:
        UnknownNameError: a ValueError, for a class or function that is not known.
    """
    with CustomObjectScope(custom_objects):
        return _restored(config)


def _restored(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(_restored(part) for part in config)
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config:
        return {key: _restored(part) for key, part in config.items()}
    name, inner = config["class_name"], config.get("config")
    if name == "__numpy__" and isinstance(inner, Mapping):
        return np.array(inner["value"], inner["dtype"])
    if name == "function":
        return _found(inner, "function")
    own_name, module = config.get("registered_name") or name, str(config.get("module")).partition(".")[2]
    if module in _KINDS:
        return _KINDS[module][2]({"class_name": own_name, "config": inner})
    return identifiers.made_from(
        _found(config.get("registered_name") or name, "object"), inner or {}, "object"
    )


def _found(name: Any, kind: str) -> Any:
    found = identifiers.lookup(name, _functions())
    if found is None:
        raise UnknownNameError(
            f"Could not locate the {kind} {name!r}: {identifiers.HOW_TO_REGISTER} and import its module, or "
            "pass it in `custom_objects`",
            name,
            kind,
        )
    return found


def _functions() -> dict[str, Any]:
    """Functions that names stand for without being registered."""
    own = {name: activations.get(name) for name in activations.names()}
    return {**METRIC_FUNCTIONS, **LOSS_FUNCTIONS, **own}
