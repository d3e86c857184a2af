"""Keras's optimizers: how a summed gradient changes the weights.

An optimizer is a small description; the arithmetic stands in `distnn.kernels.update`, and the arrays belong
to whoever commits steps. `get` finds one by name or config.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from distnn import identifiers
from distnn.optimizers import schedules as schedules
from distnn.optimizers.adadelta import Adadelta as Adadelta
from distnn.optimizers.adafactor import Adafactor as Adafactor
from distnn.optimizers.adagrad import Adagrad as Adagrad
from distnn.optimizers.adam import Adam as Adam
from distnn.optimizers.adam import AdamW as AdamW
from distnn.optimizers.adamax import Adamax as Adamax
from distnn.optimizers.base import Optimizer as Optimizer
from distnn.optimizers.ftrl import Ftrl as Ftrl
from distnn.optimizers.lamb import Lamb as Lamb
from distnn.optimizers.lion import Lion as Lion
from distnn.optimizers.nadam import Nadam as Nadam
from distnn.optimizers.rmsprop import RMSprop as RMSprop
from distnn.optimizers.sgd import SGD as SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {
    cls.__name__.lower(): cls
    for cls in (SGD, RMSprop, Adam, AdamW, Adafactor, Adagrad, Adadelta, Adamax, Nadam, Lion, Lamb, Ftrl)
}
"""By name in lower case; names are taken in any case."""


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer as a JSON-able dict, without its slots."""
    return identifiers.to_config(optimizer, OPTIMIZERS, "optimizer")


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[Optimizer]] | None = None
) -> Optimizer:
    """The optimizer that `serialize` described."""
    name = config.get("class_name")
    if isinstance(name, str) and name.lower() in OPTIMIZERS:
        config = {**config, "class_name": name.lower()}
    return identifiers.from_config(config, OPTIMIZERS, "optimizer", custom_objects)


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, config, class or itself.

    Raises:
        ValueError: Keras's `Could not interpret optimizer identifier`, with the nearest valid name.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        return deserialize({"class_name": identifier, "config": {}})
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if inspect.isclass(identifier) and issubclass(identifier, Optimizer):
        made: Optimizer = identifier(**{})  # a concrete class; each has a default learning rate
        return made
    raise identifiers.not_interpreted(identifier, OPTIMIZERS, "optimizer")
