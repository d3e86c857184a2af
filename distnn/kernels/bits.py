"""The bits of a float32 value as an integer, and back; called by other kernels, inside compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types

from distnn.kernels.jit import emitting


def float_bits(value: Any) -> Any:
    """The bits of a float32 value, as int32."""
    return np.float32(value).view(np.int32)


def bits_float(bits: Any) -> Any:
    """The float32 value that has these bits."""
    return np.int32(bits).view(np.float32)


def _emit_cast(function: Any, given: Any, made: Any) -> None:
    @emitting(function)
    def cast(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(made))

        return made(given), generate


_emit_cast(float_bits, types.float32, types.int32)
_emit_cast(bits_float, types.int32, types.float32)
