"""Arguments of Keras's layers that are taken with their defaults only: they ask for what is not there."""

from __future__ import annotations

from typing import Any

_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "antialias": (False,),
    "autocast": (True,),
    "data_format": (None, "channels_last"),
    "encoding": ("utf-8",),
    "fill_mode": ("constant",),
    "fill_value": (0.0,),
    "flash_attention": (None, False),
    "gptq_unpacked_column_size": (None,),
    "idf_weights": (None,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "noise_shape": (None,),
    "oov_method": ("floormod",),
    "pad_to_aspect_ratio": (False,),
    "quantization_config": (None,),
    "ragged": (False,),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "renorm_momentum": (0.99,),
    "salt": (None,),
    "sliding_window": (None,),
    "sparse": (False,),
    "use_gate": (False,),
    "vocabulary_dtype": ("int64",),
}


def without_defaults(layer_class: str, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that Keras has and that are left at its defaults.

    Raises:
        ValueError: one of them asks for more.
    """
    left = {}
    for name, value in given.items():
        if name not in _DEFAULTS:
            left[name] = value
        elif value not in _DEFAULTS[name]:
            raise ValueError(
                f"`{name}` of {layer_class} is not supported: leave it out. Received: {name}={value!r}"
            )
    return left
