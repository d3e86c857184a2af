"""Data-parallel training of neural networks on CPUs: the same bytes on any number of workers.

Keras's names, here and in the submodules (`distnn.layers`, ...); all of them are loaded when first used.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distnn.initializers import Initializer as Initializer
    from distnn.layers import Input as Input
    from distnn.layers import Layer as Layer
    from distnn.losses import Loss as Loss
    from distnn.metrics import Metric as Metric
    from distnn.models import Model as Model
    from distnn.models import Sequential as Sequential
    from distnn.optimizers import Optimizer as Optimizer
    from distnn.regularizers import Regularizer as Regularizer
    from distnn.tensor import KerasTensor as KerasTensor

__version__ = "0.1.0"

_SUBMODULES = (
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "saving",
    "tree",
    "utils",
)
_NAMES = {
    "Initializer": ("initializers", "Initializer"),
    "Input": ("layers", "Input"),
    "KerasTensor": ("tensor", "KerasTensor"),
    "Layer": ("layers", "Layer"),
    "Loss": ("losses", "Loss"),
    "Metric": ("metrics", "Metric"),
    "Model": ("models", "Model"),
    "Optimizer": ("optimizers", "Optimizer"),
    "Regularizer": ("regularizers", "Regularizer"),
    "Sequential": ("models", "Sequential"),
}
"""Where Keras's names of the top level are: submodule, and name in it."""
_ELSEWHERE = {
    "Variable": "a layer makes its weights with `self.add_weight(shape, initializer, name=...)`",
    "applications": "build the network with `distnn.layers`; there are no ready-made weights",
}
"""What Keras has at its top level and distnn has not: what to do instead."""
__all__ = ["__version__", "version", *_SUBMODULES, *_NAMES]

logging.getLogger("distnn").addHandler(logging.NullHandler())


def version() -> str:
    """The version of distnn."""
    return __version__


def __getattr__(name: str) -> Any:
    """Load a name at its first use, so that `import distnn` stays quick."""
    if name in _SUBMODULES:
        return importlib.import_module(f"distnn.{name}")
    if name in _NAMES:
        module, inner = _NAMES[name]
        found = globals()[name] = getattr(importlib.import_module(f"distnn.{module}"), inner)
        return found
    hint = f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise AttributeError(f"module 'distnn' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_NAMES})
