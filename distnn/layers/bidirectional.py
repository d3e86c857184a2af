"""Bidirectional: a recurrent layer forwards, and one backwards, over the same sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distnn import layers, ops
from distnn.layers.layer import Layer
from distnn.structure import leaves

_MODES = ("sum", "mul", "ave", "concat", None)


class Bidirectional(Layer):
    """Two layers over a sequence, from each end, and their outputs put together.

    Args:
        layer: a recurrent layer; a copy of it runs forwards.
        merge_mode: "concat", "sum", "mul", "ave", or None for both outputs.
        weights: of both layers to begin with, the forward one's first.
        backward_layer: what runs backwards; a copy of `layer` by default.
    """

    supports_masking = True

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(
                f"Please initialize `Bidirectional` layer with a `Layer` instance. Received: {layer}"
            )
        if backward_layer is not None and not isinstance(backward_layer, Layer):
            raise ValueError(f"`backward_layer` need to be a `Layer` instance. Received: {backward_layer}")
        if merge_mode not in _MODES:
            raise ValueError(
                f"Invalid merge mode. Received: {merge_mode}. Merge mode should be one of "
                '{"sum", "mul", "ave", "concat", None}'
            )
        super().__init__(**kwargs)
        self.merge_mode = merge_mode
        self.forward_layer: Any = _copy(layer, "forward_")
        self.backward_layer: Any = backward_layer
        if backward_layer is None:
            is_backwards = self.forward_layer.go_backwards
            self.backward_layer = _copy(layer, "backward_", go_backwards=not is_backwards)
        self._check_pair()
        pair: list[Any] = [self.forward_layer, self.backward_layer]
        for one in pair:
            one.zero_output_for_mask = one.return_sequences
        self.stateful = self.forward_layer.stateful
        self.return_sequences = self.forward_layer.return_sequences
        self.return_state = self.forward_layer.return_state
        self._given_weights = weights

    def _check_pair(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                "Forward layer and backward layer should have different `go_backwards` value. Received: "
                f"forward_layer.go_backwards {forward.go_backwards}, "
                f"backward_layer.go_backwards={backward.go_backwards}"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            ours, theirs = getattr(forward, name), getattr(backward, name)
            if ours != theirs:
                raise ValueError(
                    "Forward layer and backward layer are expected to have the same value for attribute "
                    f'"{name}", got "{ours}" for forward layer and "{theirs}" for backward layer'
                )

    def build(self, sequences_shape: Sequence[int | None]) -> None:
        for one in (self.forward_layer, self.backward_layer):
            one._build_once(sequences_shape)
        if self._given_weights is not None:
            self.set_weights(self._given_weights)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = next(leaves(previous_mask)) if self.return_sequences else None
        masks = [mask, mask] if self.merge_mode is None else [mask]
        return [*masks, *(None for _ in range(4))] if self.return_state else masks

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        halves: list[Any] = [None, None]
        if initial_state is not None:
            given = list(leaves(initial_state))
            halves = [given[: len(given) // 2], given[len(given) // 2 :]]
        found = [
            one(sequences, initial_state=half, mask=mask, training=training)
            for one, half in zip((self.forward_layer, self.backward_layer), halves, strict=True)
        ]
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*found[0][1:], *found[1][1:])
            found = [one[0] for one in found]
        forward, backward = found
        if self.return_sequences:
            backward = ops.flip(backward, axis=1)
        outputs = self._merged(forward, backward)
        if not self.return_state:
            return outputs
        return (*outputs, *states) if self.merge_mode is None else (outputs, *states)

    def _merged(self, forward: Any, backward: Any) -> Any:
        if self.merge_mode == "concat":
            return ops.concatenate([forward, backward], axis=-1)
        if self.merge_mode == "sum":
            return forward + backward
        if self.merge_mode == "ave":
            return (forward + backward) * 0.5
        if self.merge_mode == "mul":
            return forward * backward
        return forward, backward

    @property
    def states(self) -> list[Any] | None:
        """The states of both layers, if they are kept."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return None if forward is None or backward is None else [*forward, *backward]

    def reset_state(self) -> None:
        """Let the next batch begin from zeros."""
        if not self.stateful:
            raise AttributeError("Layer must be stateful.")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "merge_mode": self.merge_mode,
            "layer": layers.serialize(self.forward_layer),
            "backward_layer": layers.serialize(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Bidirectional:
        inner = {name: layers.deserialize(config[name]) for name in ("layer", "backward_layer")}
        return cls(**{**config, **inner})


def _copy(layer: Layer, prefix: str, **changes: Any) -> Layer:
    """The layer anew, under a name of its own, without weights."""
    described = layers.serialize(layer)
    name = f"{prefix}{layer.name.removeprefix(prefix)}"
    return layers.deserialize({**described, "config": {**described["config"], **changes, "name": name}})
