"""How to rebuild a model, as JSON-able facts: class, config, inputs and compile arguments; and rebuilding it.

Files of whole models, `to_json` and `clone_model` rest on this. Classes and functions are in it by their
names only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distnn import identifiers, losses, metrics, optimizers
from distnn.custom_objects import CustomObjectScope, met_objects
from distnn.models.functional_config import restored_spec, spec_config
from distnn.structure import mapped
from distnn.tensor import Spec

if TYPE_CHECKING:
    from distnn.models.model import Model


def describe(model: Model) -> dict[str, Any]:
    """How to rebuild the model: class, config and compile arguments, or why that cannot be."""
    description: dict[str, Any] = {
        "class_name": type(model).__name__,
        "preprocessor": model.preprocessor_config,
    }
    try:
        description |= _class_and_config(model)
        description["compile"] = _compile_config(model)
    except ValueError as error:
        description["not_rebuildable"] = str(error)
    return description


def architecture(model: Model) -> dict[str, Any]:
    """Class and config of a model; of one of the user's own class also what it was built for.

    Raises:
        ValueError: it cannot be rebuilt from them.
    """
    return _class_and_config(model) | inputs_of(model)


def inputs_of(model: Model) -> dict[str, Any]:
    """What a model whose config does not tell its inputs was called on, for `from_architecture`."""
    return {} if model.called_on is None else {"inputs": mapped(_input_config, model.called_on)}


def _class_and_config(model: Model) -> dict[str, Any]:
    if type(model) in _classes().values() and not model.can_be_described:
        raise ValueError("a Model without inputs and outputs has nothing to be rebuilt from")
    return identifiers.to_config(model, _classes(), "model")


def from_architecture(description: Mapping[str, Any]) -> Model:
    """A model with fresh weights, as `architecture` described it.

    Raises:
        UnknownNameError: a ValueError, if it uses a class or function that is not known here.
        ValueError: if this describes no model.
    """
    name, config = description.get("class_name"), description.get("config")
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise ValueError(
            f"expected the `class_name` ({' or '.join(_classes())}, or your own) and `config` of a model. "
            f"Received: class_name={name!r}"
        )
    model = identifiers.from_config(description, _classes(), "model")
    if description.get("inputs") is not None and not model.built:
        model.output_structure((mapped(_input_spec, description["inputs"]),), {})
        model.name_parts("")
    return model


def compile_as_described(model: Model, compiled: Mapping[str, Any]) -> None:
    """Compile the model as the one that was described."""
    model.compile(
        optimizer=compiled["optimizer"],
        loss=compiled["loss"],
        metrics=mapped(_described_metric, compiled["metrics"]),
        loss_weights=compiled["loss_weights"],
        weighted_metrics=mapped(_described_metric, compiled["weighted_metrics"]),
    )


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model that `to_json` described, with fresh weights, not compiled.

    Args:
        json_string: what `to_json` returned.
        custom_objects: classes and functions of your own by name, if they are not registered.

    Raises:
        ValueError: for another text.
    """
    description = json.loads(json_string)
    if not isinstance(description, dict):
        raise ValueError(f"expected a JSON object. Received: {type(description).__name__}")
    with CustomObjectScope(custom_objects):
        return from_architecture(description)


def clone_model(
    model: Model, input_tensors: Any = None, clone_function: Any = None, call_function: Any = None
) -> Model:
    """A model with the same layers and fresh weights, not compiled.

    Args:
        model: one that could be saved; classes of your own need not be registered.
        input_tensors, clone_function, call_function: of Keras; not supported.
    """
    given = {"input_tensors": input_tensors, "clone_function": clone_function, "call_function": call_function}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"`{name}` is not supported yet: leave it out. Received: {value!r}")
    with met_objects() as found:
        described = architecture(model)
    with CustomObjectScope(found):
        return from_architecture(described)


def _classes() -> dict[str, type[Model]]:
    """Classes of models that are no user's."""
    from distnn.models.model import Model
    from distnn.models.sequential import Sequential

    return {"Model": Model, "Sequential": Sequential}


def _input_config(spec: Spec) -> dict[str, Any]:
    return {"class_name": "Spec", "config": spec_config(spec)}


def _input_spec(config: Mapping[str, Any]) -> Spec:
    return restored_spec(config["config"])


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


def _described_metric(described: Any) -> Any:
    """Names stay names, whose form the shapes choose; what a config names is looked up at once."""
    return metrics.get(described) if isinstance(described, Mapping) else described


def _metric_config(metric: Any) -> Any:
    if metric is None or isinstance(metric, str):
        return metric
    return metrics.serialize(metrics.get(metric))
