"""`InputSpec`: what a layer says about the inputs that it takes, and the check of it at each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distnn.structure import leaves
from distnn.tensor import Tensor


class InputSpec:
    """What an input must be; a layer sets `self.input_spec` to one, or to a list with one for each input.

    Args:
        dtype: the name of its type.
        shape: its shape, None where any size will do.
        ndim, max_ndim, min_ndim: how many axes it has.
        axes: sizes by the number of the axis.
        allow_last_axis_squeeze: a last axis of 1 may be there or not.
        name: of an input that comes in a dict.
        optional: it may be None.
    """

    def __init__(
        self,
        dtype: str | None = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = dtype
        self.shape = None if shape is None else tuple(shape)
        self.ndim = ndim if self.shape is None else len(self.shape)
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.name, self.optional = name, optional
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        try:
            self.axes = {int(axis): size for axis, size in (axes or {}).items()}
        except (ValueError, TypeError, AttributeError):
            raise TypeError(
                f"Argument `axes` must be a dict with integer keys. Received: axes={axes}"
            ) from None
        most = self.ndim or self.max_ndim
        if self.axes and most is not None and max(self.axes) > most - 1:
            raise ValueError(f"Axis {max(self.axes)} is greater than the maximum allowed value: {most - 1}")

    def __repr__(self) -> str:
        named = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        shown = [f"{name}={getattr(self, name)}" for name in named if getattr(self, name)]
        return f"InputSpec({', '.join(shown)})"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        named = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {name: getattr(self, name) for name in named}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> InputSpec:
        return cls(**config)

    def problem_with(self, tensor: Tensor) -> str | None:
        """What is wrong with an input, if something is."""
        shape = tensor.shape
        ndim = len(shape)
        if self.ndim is not None and not self.allow_last_axis_squeeze and ndim != self.ndim:
            return f"expected ndim={self.ndim}, found ndim={ndim}. Full shape received: {shape}"
        if self.max_ndim is not None and ndim > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={ndim}"
        if self.min_ndim is not None and ndim < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={ndim}. Full shape received: {shape}"
        if self.dtype is not None and tensor.dtype != self.dtype:
            return f"expected dtype={self.dtype}, found dtype={tensor.dtype}"
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                return (
                    f"expected axis {axis} of input shape to have value {size}, but received input with "
                    f"shape {shape}"
                )
        return self._problem_with_shape(shape)

    def _problem_with_shape(self, shape: tuple[int | None, ...]) -> str | None:
        if self.shape is None:
            return None
        expected = self.shape
        if self.allow_last_axis_squeeze:
            shape = shape[:-1] if shape and shape[-1] == 1 else shape
            expected = expected[:-1] if expected and expected[-1] == 1 else expected
        for wanted, size in zip(expected, shape, strict=False):
            if wanted is not None and size is not None and wanted != size:
                return f"expected shape={self.shape}, found shape={shape}"
        return None


def check_inputs(input_spec: Any, inputs: Any, layer_name: str) -> None:
    """Refuse inputs that are not what a layer's `input_spec` says.

    Raises:
        ValueError: naming the input, what was expected and what came.
    """
    specs = list(leaves(input_spec))
    names = [spec.name for spec in specs if spec is not None]
    all_named = len(names) == len(specs) and all(names)
    if isinstance(inputs, dict) and all_named:
        for name in names:
            if name not in inputs:
                raise ValueError(
                    f'Missing data for input "{name}". You passed a data dictionary with keys '
                    f"{list(inputs)}. Expected the following keys: {names}"
                )
        inputs = [inputs[name] for name in names]
    given = list(leaves(inputs))
    if len(given) != len(specs):
        if all_named:
            raise ValueError(
                f'Layer "{layer_name}" expects {len(specs)} named input(s) with keys {names}, but it '
                f"received {len(given)} input tensors. Pass inputs as a dict, e.g. `layer({{"
                + ", ".join(f"'{name}': ..." for name in names)
                + "})`."
            )
        raise ValueError(
            f'Layer "{layer_name}" expects {len(specs)} input(s), but it received {len(given)} input '
            f"tensors. Inputs received: {given}"
        )
    for place, (tensor, spec) in enumerate(zip(given, specs, strict=True)):
        if spec is None or (tensor is None and spec.optional):
            continue
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"Inputs to a layer should be tensors. Got '{tensor}' (of type {type(tensor)}) as input for "
                f"layer '{layer_name}'."
            )
        problem = spec.problem_with(tensor)
        if problem is not None:
            raise ValueError(
                f"Input {place} with name '{spec.name}' of layer '{layer_name}' is incompatible with the "
                f"layer: {problem}"
            )
