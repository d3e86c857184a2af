"""`keras.config`: settings that programs ask for or set. Here each has one value; others are refused."""

from __future__ import annotations

from typing import Any

EPSILON = 1e-7
FLOATX = "float32"
IMAGE_DATA_FORMAT = "channels_last"
BACKEND = "distnn"


def backend() -> str:
    """ "distnn"."""
    return BACKEND


def set_backend(backend: str) -> None:
    """Takes "distnn"."""
    _only("backend", backend, BACKEND, "`fit(backend=...)` says where to compute")


def floatx() -> str:
    """ "float32", of weights and of what is computed."""
    return FLOATX


def set_floatx(value: str) -> None:
    """Takes "float32"."""
    _only("floatx", value, FLOATX, "weights and arithmetic are float32")


def dtype_policy() -> str:
    """ "float32"."""
    return FLOATX


def set_dtype_policy(policy: str) -> None:
    """Takes "float32"."""
    _only("dtype policy", getattr(policy, "name", policy), FLOATX, "there is no mixed precision")


def epsilon() -> float:
    """1e-7: what losses add or clip by."""
    return EPSILON


def set_epsilon(value: float) -> None:
    """Takes 1e-7."""
    _only("epsilon", value, EPSILON, "kernels have it built in; layers and optimizers take one of their own")


def image_data_format() -> str:
    """ "channels_last"."""
    return IMAGE_DATA_FORMAT


def set_image_data_format(data_format: str) -> None:
    """Takes "channels_last"."""
    _only("image data format", data_format, IMAGE_DATA_FORMAT, "turn images with `numpy.moveaxis(x, 1, -1)`")


def enable_unsafe_deserialization() -> None:
    """Refused: a file never holds code here."""
    raise ValueError(
        "there is no unsafe deserialization: a file names classes and functions, which you register with "
        "`distnn.saving.register_keras_serializable` or pass as `custom_objects`"
    )


def _only(what: str, given: Any, allowed: Any, instead: str) -> None:
    if given != allowed:
        raise ValueError(f"the {what} is {allowed!r} and nothing else: {instead}. Received: {given!r}")
