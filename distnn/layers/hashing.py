"""Hashing and HashedCrossing: texts and codes as numbers of buckets, without a vocabulary.

They work on arrays, before the model, as the look-ups do; the buckets are those that Keras gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.layers.layer import Layer
from distnn.layers.preprocessing import OUTPUT_MODES, encoded
from distnn.layers.text_hashes import crossed, fingerprint64, siphash
from distnn.network import is_functional
from distnn.tensor import Array, Tensor


def _text(value: Any) -> bytes:
    """What is hashed of a value: numbers as they are written, without what is behind the point."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(int(value)).encode()


def _check_bins(layer: str, num_bins: Any) -> None:
    if not isinstance(num_bins, int) or num_bins <= 0:
        raise ValueError(
            f"The `num_bins` for `{layer}` cannot be `None` or non-positive values. "
            f"Received: num_bins={num_bins}."
        )


def _refuse_tensors(layer: Layer, inputs: Any) -> None:
    if isinstance(inputs, Tensor) or is_functional(inputs):
        raise ValueError(
            f"layer '{layer.name}' works on arrays of text or codes, before the model: call it on the data "
            "and give the model the numbers"
        )


def _encoded(bins: Array, num_bins: int, output_mode: str) -> Array:
    if output_mode == "int":
        return bins
    if bins.ndim == 0:
        return _encoded(bins.reshape(1), num_bins, output_mode)[0]  # type: ignore[no-any-return]
    return np.asarray(encoded(bins, num_bins, output_mode))


class Hashing(Layer):
    """The bucket of each text or whole number: its hash modulo `num_bins`.

    The hash is FarmHash's 64-bit fingerprint, with a `salt` SipHash. Numbers are hashed as they are written.

    Args:
        num_bins: how many buckets there are, that of `mask_value` included.
        mask_value: what stands for nothing and becomes 0; None for no such value.
        salt: a number, or two: the key of SipHash.
        output_mode: "int", "one_hot", "multi_hot" or "count".
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        **kwargs: Any,
    ) -> None:
        if kwargs.get("dtype") in ("int32", "int64"):
            del kwargs["dtype"]
        super().__init__(**kwargs)
        _check_bins("Hashing", num_bins)
        if output_mode not in OUTPUT_MODES:
            raise ValueError(
                f"Invalid value for argument `output_mode`. Expected one of {OUTPUT_MODES}. "
                f"Received: output_mode={output_mode}"
            )
        pair = [salt, salt] if isinstance(salt, int) else salt
        if pair is not None and (not isinstance(pair, list | tuple) or len(pair) != 2):
            raise ValueError(
                "The `salt` argument for `Hashing` can only be a tuple of size 2 integers, or a single "
                f"integer. Received: salt={salt}."
            )
        self.num_bins, self.mask_value, self.output_mode = num_bins, mask_value, output_mode
        self.salt = None if pair is None else [int(part) for part in pair]

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Numbers (or vectors) for an array of texts or numbers."""
        _refuse_tensors(self, inputs)
        array = np.asarray(inputs)
        known: dict[Any, int] = {}
        bins = []
        for value in array.reshape(-1).tolist():
            if value not in known:
                known[value] = self._bin(value)
            bins.append(known[value])
        return _encoded(np.array(bins, np.int64).reshape(array.shape), self.num_bins, self.output_mode)

    def _bin(self, value: Any) -> int:
        has_mask = self.mask_value is not None and self.num_bins > 1
        if has_mask and _same(value, self.mask_value):
            return 0
        text = _text(value)
        found = fingerprint64(text) if self.salt is None else siphash(text, (self.salt[0], self.salt[1]))
        return found % (self.num_bins - has_mask) + has_mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "salt": self.salt,
            "mask_value": self.mask_value,
            "output_mode": self.output_mode,
        }


def _same(value: Any, mask: Any) -> bool:
    value = value.decode() if isinstance(value, bytes) else value
    return bool(value == mask)


class HashedCrossing(Layer):
    """The bucket of each combination of features: a hash of all of them, modulo `num_bins`.

    Called on a list of arrays of texts or whole numbers, each of shape `()`, `(batch,)` or `(batch, 1)`.

    Args:
        num_bins: how many buckets there are.
        output_mode: "int" or "one_hot".
    """

    def __init__(self, num_bins: int, output_mode: str = "int", **kwargs: Any) -> None:
        if kwargs.get("dtype") in ("int32", "int64"):
            del kwargs["dtype"]
        super().__init__(**kwargs)
        _check_bins("HashedCrossing", num_bins)
        if output_mode not in OUTPUT_MODES[:2]:
            raise ValueError(
                f"Unknown value for `output_mode` of HashedCrossing. Expected one of {OUTPUT_MODES[:2]}. "
                f"Received: output_mode={output_mode}"
            )
        self.num_bins, self.output_mode = num_bins, output_mode

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Numbers (or vectors) for arrays of texts or whole numbers."""
        if not isinstance(inputs, list | tuple):
            raise ValueError(
                f"`HashedCrossing` should be called on a list or tuple of inputs. Received: inputs={inputs}"
            )
        if len(inputs) < 2:
            raise ValueError(
                f"`HashedCrossing` should be called on at least two inputs. Received: inputs={inputs}"
            )
        for one in inputs:
            _refuse_tensors(self, one)
        arrays = [np.asarray(one) for one in inputs]
        shape = arrays[0].shape
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            raise ValueError(
                "All `HashedCrossing` inputs should have shape `()`, `(batch_size)` or `(batch_size, 1)`. "
                f"Received: inputs={inputs}"
            )
        if any(array.shape != shape for array in arrays):
            raise ValueError(
                f"All `HashedCrossing` inputs should have equal shape. Received: inputs={inputs}"
            )
        if any(array.dtype.kind not in "iuSUO" for array in arrays):
            raise ValueError(
                "All `HashedCrossing` inputs should have an integer or string dtype. "
                f"Received: inputs={inputs}"
            )
        columns = [[_feature(value) for value in array.reshape(-1).tolist()] for array in arrays]
        bins = [crossed(list(row)) % self.num_bins for row in zip(*columns, strict=True)]
        return _encoded(np.array(bins, np.int64).reshape(shape), self.num_bins, self.output_mode)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins, "output_mode": self.output_mode}


def _feature(value: Any) -> int:
    """A text's fingerprint; a number is its own."""
    return int(value) if isinstance(value, int) else fingerprint64(_text(value))
