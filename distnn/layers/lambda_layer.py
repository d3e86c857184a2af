"""Lambda: a function of the user's own as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from distnn.layers.layer import Layer


class Lambda(Layer):
    """`function(inputs)`, written with `distnn.ops`.

    A function cannot be saved, so neither can a model that holds such a layer; write a `Layer` for that.

    Args:
        function: takes the inputs, and `training` (and `mask`) where it has arguments of these names.
        output_shape, mask: taken for Keras's sake; shapes are found by calling the function.
        arguments: more keyword arguments of the function.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise ValueError(f"`function` must be callable. Received: function={function!r}")
        self.function = function
        self.arguments = dict(arguments or {})

    def call(self, inputs: Any, training: bool = False) -> Any:
        options = dict(self.arguments)
        if "training" in inspect.signature(self.function).parameters:
            options["training"] = training
        return self.function(inputs, **options)

    def get_config(self) -> NoReturn:
        raise ValueError(
            f"the layer '{self.name}' is a Lambda: its function cannot be saved. Write a Layer with `call` "
            "and register it, or build the model in code and use save_weights and load_weights."
        )
