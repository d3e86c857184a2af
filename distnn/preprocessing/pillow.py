"""Pillow, which reads and writes image files: an extra, named where it is missing."""

from __future__ import annotations

import importlib
from typing import Any

COLOR_MODES = {"grayscale": ("L", 1), "rgb": ("RGB", 3), "rgba": ("RGBA", 4)}
"""Pillow's names, and the channels."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def pillow() -> Any:
    """The module `PIL.Image`.

    Raises:
        ImportError: it is not there.
    """
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ImportError(
            "Reading images needs Pillow: install the extra, `pip install distnn[images]`"
        ) from error


def resampling(interpolation: str) -> Any:
    """Pillow's name for Keras's.

    Raises:
        ValueError: it has none.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"`interpolation` must be one of {', '.join(INTERPOLATIONS)}. Received: "
            f"interpolation={interpolation}"
        )
    return getattr(pillow().Resampling, interpolation.upper())
