"""Masks of time steps: from the layer that makes one, along its tensors, to those that look at it.

As in Keras: a mask is a bool tensor of `(batch, steps)` on a tensor, True where the step counts. A layer
whose `call` takes `mask` is given that of its first argument; one that `supports_masking` passes on what its
`compute_mask` says. Masks live in a trace (or an eager run) only; a functional model finds them anew each
time its layers are called.
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from distnn.structure import leaves, mapped
from distnn.tensor import Tensor

if TYPE_CHECKING:
    from distnn.layers.layer import Layer


def mask_of(value: Any) -> Tensor | None:
    """The mask on a tensor, if any."""
    return value.mask if isinstance(value, Tensor) else None


def has_mask(masks: Any) -> bool:
    return any(mask is not None for mask in leaves(masks))


def fill_masks(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Add the masks that `call` takes and was not given; returns the first argument's.

    Args:
        layer: `mask` of its call is the first argument's, `<argument>_mask` that of any argument.
        args, kwargs: of the call; masks are added to `kwargs`.
    """
    parameters = list(inspect.signature(layer.call).parameters)
    arguments = {**dict(zip(parameters, args, strict=False)), **kwargs}
    first = mapped(mask_of, args[0]) if args else None
    for name, value in list(arguments.items()):
        wanted = f"{name}_mask"
        if wanted in parameters and arguments.get(wanted) is None:
            found = mapped(mask_of, value)
            if has_mask(found):
                kwargs[wanted] = found
    if "mask" in parameters:
        if arguments.get("mask") is not None:
            return arguments["mask"]
        if has_mask(first):
            kwargs["mask"] = first
    return first


def pass_masks_on(layer: Layer, inputs: Any, outputs: Any, masks: Any) -> None:
    """Put on the outputs the masks that the layer computes for them, unless all of them have one."""
    tensors = [leaf for leaf in leaves(outputs) if isinstance(leaf, Tensor)]
    if tensors and all(tensor.mask is not None for tensor in tensors):
        return
    if not layer.supports_masking:
        if has_mask(masks):
            warnings.warn(
                f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask "
                "attached to it. However, this layer does not support masking and will therefore destroy the "
                "mask information. Downstream layers will not see the mask.",
                stacklevel=3,
            )
        return
    found = layer.compute_mask(inputs, masks)
    for tensor, mask in zip(leaves(outputs), leaves(found), strict=False):
        if mask is not None and isinstance(tensor, Tensor) and tensor.mask is None:
            tensor.mask = mask
