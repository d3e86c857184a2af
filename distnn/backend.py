"""`keras.backend`: what is left of it in Keras 3, and programs still call."""

from __future__ import annotations

import gc
from typing import Any

from distnn.config import backend as backend
from distnn.config import epsilon as epsilon
from distnn.config import floatx as floatx
from distnn.config import image_data_format as image_data_format
from distnn.config import set_epsilon as set_epsilon
from distnn.config import set_floatx as set_floatx
from distnn.config import set_image_data_format as set_image_data_format
from distnn.tensor import KerasTensor


def clear_session(free_memory: bool = True) -> None:
    """Free what models that nobody uses any more still hold.

    There is no global state beside them: names and seeds come from each model by itself.

    Args:
        free_memory: whether to look for such models now.
    """
    if free_memory:
        gc.collect()


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is a symbolic tensor, such as `Input` gives."""
    return isinstance(x, KerasTensor)
