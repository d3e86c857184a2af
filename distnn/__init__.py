"""Data-parallel training of neural networks on CPUs: the same bytes on any number of workers.

Keras's names live in the submodules (`distnn.models`, `distnn.layers`, ...); they are loaded when first used.
"""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

__version__ = "0.1.0"

_SUBMODULES = (
    "activations",
    "callbacks",
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
    "utils",
)
__all__ = ["__version__", *_SUBMODULES]

logging.getLogger("distnn").addHandler(logging.NullHandler())


def __getattr__(name: str) -> ModuleType:
    """Load a submodule at its first use, so that `import distnn` stays quick."""
    if name in _SUBMODULES:
        return importlib.import_module(f"distnn.{name}")
    raise AttributeError(f"module 'distnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})
