"""EinsumDense: a dense layer whose sums are named by letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn import activations, constraints, initializers, ops, regularizers
from distnn.layers.layer import Layer
from distnn.variable import Variable


class EinsumDense(Layer):
    """`activation(einsum(equation, x, kernel) + bias)`.

    Args:
        equation: letters of the input's axes, `,`, those of the kernel, `->`, those of the output; `...` for
            leading axes of input and output.
        output_shape: sizes of the output's axes behind the batch's; None where the input says it.
        activation: name or function; None for linear.
        bias_axes: letters of the output's axes along which there is a bias; None for no bias.
        kernel_initializer, bias_initializer: how the weights begin.
        kernel_regularizer, bias_regularizer: penalties on the weights.
        activity_regularizer: a penalty on the outputs.
        kernel_constraint, bias_constraint: what the weights are held to.
    """

    kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.equation = equation
        self.partial_output_shape = (
            [output_shape] if isinstance(output_shape, int) else [size for size in output_shape]
        )
        self.activation = activations.get(activation)
        self.bias_axes = bias_axes
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        left, _, self._output = equation.replace(" ", "").partition("->")
        self._input, _, self._kernel = left.partition(",")
        if not (self._input and self._kernel and self._output) or "..." in self._kernel:
            raise ValueError(
                "`equation` must name input, kernel and output, as in 'abc,cd->abd'. "
                f"Received: equation={equation!r}"
            )
        unknown = set(bias_axes or "") - set(self._output)
        if unknown:
            raise ValueError(
                f"`bias_axes` must be among the output's axes '{self._output}'. "
                f"Received: bias_axes={bias_axes!r}"
            )

    def build(self, input_shape: Sequence[int | None]) -> None:
        sizes = _sizes(self._output, [None, *self.partial_output_shape])
        sizes.update({k: v for k, v in _sizes(self._input, input_shape).items() if v is not None})
        missing = [letter for letter in self._kernel + (self.bias_axes or "") if sizes.get(letter) is None]
        if missing:
            raise ValueError(
                f"layer '{self.name}': the size of axis '{missing[0]}' of '{self.equation}' is not known. "
                f"Received: input_shape={tuple(input_shape)}, output_shape={self.partial_output_shape}"
            )
        self.kernel = self.add_weight(
            [int(sizes[letter] or 0) for letter in self._kernel],
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.bias_axes:
            first = min(self._output.index(letter) for letter in self.bias_axes)
            shape = [int(sizes[k] or 0) if k in self.bias_axes else 1 for k in self._output[first:]]
            self.bias = self.add_weight(
                shape,
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, inputs: Any) -> Any:
        outputs = ops.einsum(self.equation, inputs, self.kernel)
        return self.activation(outputs if self.bias is None else ops.add(outputs, self.bias))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "equation": self.equation,
            "output_shape": self.partial_output_shape,
            "activation": activations.serialize(self.activation),
            "bias_axes": self.bias_axes,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


def _sizes(letters: str, shape: Sequence[int | None]) -> dict[str, int | None]:
    """The size of each letter's axis, as far as the shape says it; axes under `...` have no letter."""
    before, dots, behind = letters.partition("...")
    if not dots:
        return dict(zip(before, shape, strict=False))
    found = dict(zip(before, shape, strict=False))
    found.update(zip(reversed(behind), reversed(shape), strict=False))
    return found
