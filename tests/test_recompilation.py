"""No kernel is compiled after a model's first step: not for a short batch, another epoch, or other data."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
from distnn import layers
from distnn.kernels.jit import REGISTRY
from distnn.layers import Input
from distnn.models import Model, Sequential

def compiled():
    return {(name, signature) for name, kernel in REGISTRY.items() for signature in kernel.signatures}

def images():
    hidden = [layers.Conv2D(16, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D()]
    return Sequential([Input((8, 8, 2)), *hidden, layers.Flatten(), layers.Dense(3, "softmax")]), (8, 8, 2)

def series():
    hidden = [layers.LSTM(8, return_sequences=True), layers.GRU(8, dropout=0.2)]
    return Sequential([Input((6, 4)), *hidden, layers.Dense(3, "softmax")]), (6, 4)

def attention():
    x = Input((6, 4))
    h = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    return Model(x, layers.Dense(3, "softmax")(layers.Flatten()(h))), (6, 4)

def held():
    hidden = layers.Dense(9, "relu", kernel_constraint="max_norm", bias_constraint="non_neg")
    return Sequential([Input((5,)), hidden, layers.Dense(3, "softmax")]), (5,)

model, shape = MODEL()
model.compile(OPTIMIZER, "sparse_categorical_crossentropy", ["accuracy"])
rng = np.random.default_rng(0)
x, y = rng.normal(size=(45, *shape)), rng.integers(0, 3, 45)
model.fit(x[:32], y[:32], batch_size=16, steps_per_epoch=1, shards=2, verbose=0, seed=1)
first = compiled()
model.fit(x[:32], y[:32], batch_size=16, epochs=2, shards=2, verbose=0, seed=1)
model.fit(x, y, batch_size=16, epochs=2, shards=2, verbose=0, seed=2)
print(len(first), sorted(compiled() - first))
"""


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [("images", "sgd"), ("series", "adam"), ("attention", "adamw"), ("held", "adafactor")],
)
def test_nothing_is_compiled_after_the_first_step(model: str, optimizer: str) -> None:
    script = SCRIPT.replace("MODEL()", f"{model}()").replace("OPTIMIZER", repr(optimizer))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    count, _, later = done.stdout.strip().partition(" ")
    assert int(count) > 10
    assert later == "[]"
