"""Rows of the table in `test_layers`: layer, config, shape of a sample, shape of its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = tuple[str, Mapping[str, Any], tuple[int, ...], tuple[int, ...]]

DRAWN = {"beta_initializer": "random_normal", "gamma_initializer": "random_normal"}

MORE_CASES: list[Row] = [
    ("Dropout", {"rate": 0.4, "noise_shape": (None, 1, None)}, (3, 2), (3, 2)),
    ("SpatialDropout1D", {"rate": 0.4}, (3, 4), (3, 4)),
    ("SpatialDropout2D", {"rate": 0.4, "seed": 3}, (2, 2, 3), (2, 2, 3)),
    ("SpatialDropout3D", {"rate": 0.4}, (1, 2, 2, 3), (1, 2, 2, 3)),
    ("GaussianNoise", {"stddev": 0.3}, (5,), (5,)),
    ("GaussianNoise", {"stddev": 0.0}, (5,), (5,)),
    ("GaussianDropout", {"rate": 0.3}, (2, 3), (2, 3)),
    ("AlphaDropout", {"rate": 0.3}, (5,), (5,)),
    ("Permute", {"dims": (2, 1)}, (2, 3), (3, 2)),
    ("Permute", {"dims": (3, 1, 2)}, (2, 3, 4), (4, 2, 3)),
    ("Identity", {}, (2, 3), (2, 3)),
    ("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, (3,), (3,)),
    ("ReLU", {}, (5,), (5,)),
    ("ReLU", {"max_value": 0.23, "negative_slope": 0.1, "threshold": 0.07}, (5,), (5,)),
    ("LeakyReLU", {"negative_slope": 0.2}, (5,), (5,)),
    ("PReLU", {"alpha_initializer": "random_normal"}, (2, 3), (2, 3)),
    ("PReLU", {"shared_axes": (1,), "alpha_regularizer": "l2"}, (2, 3), (2, 3)),
    ("ELU", {"alpha": 0.7}, (5,), (5,)),
    ("Softmax", {}, (5,), (5,)),
    ("Softmax", {"axis": 1}, (3, 2), (3, 2)),
    ("Softmax", {"axis": (1, 2)}, (3, 2), (3, 2)),
    ("RMSNormalization", {}, (4,), (4,)),
    ("RMSNormalization", {"axis": 1, "epsilon": 0.1}, (3, 2), (3, 2)),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": (3,), "bias_axes": "c"}, (4,), (3,)),
    (
        "EinsumDense",
        {"equation": "abc,cd->abd", "output_shape": (None, 3), "bias_axes": "bd", "activation": "tanh"},
        (2, 4),
        (2, 3),
    ),
    ("EinsumDense", {"equation": "...x,xyz->...yz", "output_shape": (None, 2, 3)}, (2, 4), (2, 2, 3)),
    ("UnitNormalization", {}, (4,), (4,)),
    ("UnitNormalization", {"axis": (1, 2)}, (3, 2), (3, 2)),
    ("GroupNormalization", {**DRAWN, "groups": 2}, (2, 2, 4), (2, 2, 4)),
    ("GroupNormalization", {"groups": -1, "axis": 1, "center": False}, (3, 4), (3, 4)),
    ("ConvLSTM1D", {"filters": 2, "kernel_size": 2, "return_sequences": True}, (3, 4, 2), (3, 3, 2)),
    ("ConvLSTM2D", {"filters": 2, "kernel_size": 2, "strides": 2, "dropout": 0.2}, (2, 4, 3, 1), (2, 1, 2)),
    (
        "ConvLSTM2D",
        {"filters": 1, "kernel_size": 3, "padding": "same", "recurrent_dropout": 0.3, "go_backwards": True},
        (2, 3, 3, 2),
        (3, 3, 1),
    ),
    ("ConvLSTM3D", {"filters": 1, "kernel_size": 2, "use_bias": False}, (2, 2, 2, 3, 1), (1, 1, 2, 1)),
    ("GroupNormalization", {"groups": 1, "scale": False, "epsilon": 0.1}, (4,), (4,)),
]

CALLED_ON_LISTS = {
    "AdditiveAttention",
    "Attention",
    "MultiHeadAttention",
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Lambda",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
}
"""Layers of several inputs, or of a function: other files have them."""
