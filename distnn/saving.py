"""`keras.saving`: models in files, the registry of your own classes and functions, objects as configs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distnn.custom_objects import CustomObjectScope as CustomObjectScope
from distnn.custom_objects import custom_object_scope as custom_object_scope
from distnn.custom_objects import get_custom_objects as get_custom_objects
from distnn.custom_objects import get_registered_name as get_registered_name
from distnn.custom_objects import get_registered_object as get_registered_object
from distnn.custom_objects import register_keras_serializable as register_keras_serializable
from distnn.models import load_model as load_model
from distnn.models import save_model as save_model
from distnn.serialization import deserialize_keras_object as deserialize_keras_object
from distnn.serialization import serialize_keras_object as serialize_keras_object

if TYPE_CHECKING:
    from distnn.models import Model


def save_weights(model: Model, filepath: str | Path, overwrite: bool = True) -> None:
    """`model.save_weights(filepath)`."""
    model.save_weights(filepath, overwrite)


def load_weights(model: Model, filepath: str | Path) -> None:
    """`model.load_weights(filepath)`."""
    model.load_weights(filepath)
