"""Rows of the table of layers (`test_layers.py`) for layers over images: (layer, config, inputs, outputs)."""

from __future__ import annotations

from typing import Any

ALL_OF_CONV = {
    "filters": 4,
    "kernel_size": (2, 3),
    "strides": (2, 1),
    "padding": "same",
    "groups": 2,
    "activation": "tanh",
    "use_bias": False,
    "kernel_initializer": "he_normal",
    "kernel_regularizer": "l2",
    "name": "named",
}
LARGER = {"filters": 1, "kernel_size": 2}
SAME = {"padding": "same"}
Row = tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]

ROWS: list[Row] = [
    ("Conv1D", {"filters": 3, "kernel_size": 2}, (5, 2), (4, 3)),
    ("Conv1D", {"filters": 2, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, (6, 2), (6, 2)),
    ("Conv2D", {"filters": 3, "kernel_size": 3}, (4, 5, 2), (2, 3, 3)),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "strides": 2, **SAME}, (4, 5, 1), (2, 3, 3)),
    ("Conv2D", {"filters": 2, "kernel_size": 2, "dilation_rate": (2, 1)}, (4, 3, 2), (2, 2, 2)),
    ("Conv2D", {"filters": 2, "kernel_size": 1, "bias_regularizer": "l1"}, (2, 2, 3), (2, 2, 2)),
    ("Conv2D", ALL_OF_CONV, (3, 3, 2), (2, 3, 4)),
    ("Conv3D", {"filters": 2, "kernel_size": (2, 1, 2)}, (2, 2, 3, 2), (1, 2, 2, 2)),
    ("DepthwiseConv1D", {"kernel_size": 2, "depth_multiplier": 2}, (4, 3), (3, 6)),
    ("DepthwiseConv2D", {"kernel_size": 3, **SAME, "activation": "relu"}, (3, 4, 2), (3, 4, 2)),
    ("DepthwiseConv2D", {"kernel_size": 2, "strides": 2, "use_bias": False}, (4, 4, 2), (2, 2, 2)),
    ("SeparableConv1D", {"filters": 2, "kernel_size": 2}, (4, 3), (3, 2)),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 2, "depth_multiplier": 2}, (3, 3, 2), (2, 2, 2)),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2}, (3, 2), (7, 2)),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2, **SAME}, (2, 3, 2), (4, 6, 2)),
    ("Conv2DTranspose", {**LARGER, "strides": 2, "output_padding": 1}, (2, 2, 1), (5, 5, 1)),
    ("Conv3DTranspose", {"filters": 1, "kernel_size": 2}, (1, 2, 2, 2), (2, 3, 3, 1)),
    ("MaxPooling1D", {}, (5, 2), (2, 2)),
    ("MaxPooling2D", {}, (4, 5, 2), (2, 2, 2)),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, **SAME}, (4, 5, 2), (2, 3, 2)),
    ("MaxPooling3D", {}, (2, 2, 4, 1), (1, 1, 2, 1)),
    ("AveragePooling1D", {"pool_size": 3, "strides": 1}, (4, 2), (2, 2)),
    ("AveragePooling2D", {"pool_size": (2, 3), **SAME}, (3, 4, 2), (2, 2, 2)),
    ("AveragePooling3D", {"pool_size": 2}, (2, 2, 2, 1), (1, 1, 1, 1)),
    *(
        (f"Global{kind}Pooling{rank}D", config, (2,) * rank + (3,), outputs)
        for kind in ("Max", "Average")
        for rank in (1, 2, 3)
        for config, outputs in (({}, (3,)), ({"keepdims": True}, (1,) * rank + (3,)))
    ),
    ("UpSampling1D", {"size": 3}, (2, 2), (6, 2)),
    ("UpSampling2D", {"size": (2, 3)}, (2, 2, 2), (4, 6, 2)),
    ("UpSampling2D", {"interpolation": "bilinear"}, (2, 3, 2), (4, 6, 2)),
    ("UpSampling3D", {"size": (2, 1, 3)}, (2, 1, 2, 2), (4, 1, 6, 2)),
    ("ZeroPadding1D", {"padding": (1, 2)}, (2, 2), (5, 2)),
    ("ZeroPadding2D", {}, (2, 2, 2), (4, 4, 2)),
    ("ZeroPadding2D", {"padding": ((0, 1), (2, 0))}, (2, 2, 2), (3, 4, 2)),
    ("ZeroPadding3D", {}, (2, 1, 2, 2), (4, 3, 4, 2)),
    ("ZeroPadding3D", {"padding": ((0, 1), (2, 0), (1, 1))}, (2, 1, 2, 2), (3, 3, 4, 2)),
    ("Cropping1D", {}, (4, 2), (2, 2)),
    ("Cropping2D", {"cropping": ((1, 0), (0, 1))}, (3, 3, 2), (2, 2, 2)),
    ("Cropping3D", {}, (3, 4, 3, 2), (1, 2, 1, 2)),
    ("Cropping3D", {"cropping": ((1, 0), (0, 1), (0, 0))}, (2, 3, 2, 1), (1, 2, 2, 1)),
    ("AdaptiveMaxPooling1D", {"output_size": 3}, (5, 2), (3, 2)),
    ("AdaptiveMaxPooling2D", {"output_size": (2, 3)}, (4, 5, 2), (2, 3, 2)),
    ("AdaptiveMaxPooling2D", {"output_size": (3, 1)}, (2, 3, 2), (3, 1, 2)),
    ("AdaptiveMaxPooling3D", {"output_size": 2}, (2, 3, 4, 1), (2, 2, 2, 1)),
    ("AdaptiveAveragePooling1D", {"output_size": 3}, (5, 2), (3, 2)),
    ("AdaptiveAveragePooling2D", {"output_size": 2}, (4, 6, 2), (2, 2, 2)),
    ("AdaptiveAveragePooling2D", {"output_size": (3, 2)}, (4, 2, 2), (3, 2, 2)),
    ("AdaptiveAveragePooling3D", {"output_size": (1, 2, 2)}, (2, 3, 2, 1), (1, 2, 2, 1)),
]  # fmt: skip
