"""Rows of the gradient-check table (`test_ops_gradients.py`) for ops over images: (label, call, inputs)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distnn import ops
from distnn.kernels.windows import make_windows
from distnn.ops.convolution import ConvolutionWeightGradient
from distnn.ops.pooling import repeat_over_windows
from distnn.ops.resizing import upsample_bilinear

WINDOWS = make_windows((4, 3), (2, 2), (1, 1), (1, 1), "same")
Row = tuple[str, Callable[..., Any], tuple[Any, ...]]

ROWS: list[Row] = [
    ("conv of sequences", lambda x, w: ops.conv(x, w, padding="causal"), ((2, 4, 2), (2, 2, 3))),
    ("conv of images", lambda x, w: ops.conv(x, w, 2, "same"), ((2, 4, 5, 2), (3, 2, 2, 3))),
    ("conv in groups", lambda x, w: ops.conv(x, w, dilation_rate=2), ((2, 4, 3, 4), (2, 2, 2, 6))),
    ("conv of volumes", ops.conv, ((2, 2, 3, 3, 2), (2, 2, 1, 2, 2))),
    ("conv of every place", ops.conv, ((2, 3, 2, 3), (1, 1, 3, 2))),
    (
        "weight gradient of a conv",
        lambda x, dy: ConvolutionWeightGradient(WINDOWS)(x, dy)[0],
        ((2, 4, 3, 2), (2, 4, 3, 3)),
    ),
    ("depthwise conv", lambda x, w: ops.depthwise_conv(x, w, 1, "same"), ((2, 3, 4, 2), (2, 3, 2, 1))),
    ("depthwise conv of more", lambda x, w: ops.depthwise_conv(x, w, 2), ((2, 5, 2), (2, 2, 3))),
    ("separable conv", ops.separable_conv, ((2, 3, 3, 2), (2, 2, 2, 2), (1, 1, 4, 3))),
    ("conv transpose", lambda x, w: ops.conv_transpose(x, w, 2, "same"), ((2, 2, 3, 2), (3, 3, 3, 2))),
    ("conv transpose, larger", lambda x, w: ops.conv_transpose(x, w, 2, "valid", 1), ((2, 3, 2), (2, 1, 2))),
    ("max pool", lambda x: ops.max_pool(x, 2), ((2, 4, 5, 2),)),
    ("max pool of windows that meet", lambda x: ops.max_pool(x, 3, 1, "same"), ((2, 3, 4, 17),)),
    ("average pool", lambda x: ops.average_pool(x, 2), ((2, 4, 5, 2),)),
    ("average pool of windows that meet", lambda x: ops.average_pool(x, 3, 2, "same"), ((2, 4, 17),)),
    ("adaptive max pool", lambda x: ops.adaptive_max_pool(x, (2, 3)), ((2, 4, 5, 2),)),
    ("adaptive average pool", lambda x: ops.adaptive_average_pool(x, (2, 3)), ((2, 4, 5, 2),)),
    ("repeat over windows", lambda x: repeat_over_windows(x, (2, 3)), ((2, 2, 3, 2),)),
    ("upsample bilinear", lambda x: upsample_bilinear(x, (2, 3)), ((2, 2, 3, 2),)),
    ("pad of several axes", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1))), ((2, 3, 2),)),
]
BACKWARD_ONLY = {"DepthwiseInputGradient", "DepthwiseWeightGradient", "MaxPoolGradient"}
