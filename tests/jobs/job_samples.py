"""Specs that several tests of jobs train."""

from __future__ import annotations

SMALL_JOB = """\
name = "small"
seed = 3
[data]
source = "builtin:digits"
validation_fraction = 0.2
normalize = "standard"
[model]
layers = [
  {type = "Dense", units = 16, activation = "relu", kernel_regularizer = {type = "L2", l2 = 1e-4}},
  {type = "Dropout", rate = 0.1},
  {type = "Dense", units = 10, activation = "softmax"},
]
[training]
loss = "sparse_categorical_crossentropy"
optimizer = {type = "Adam", learning_rate = 0.01}
metrics = ["accuracy"]
epochs = 2
batch_size = 64
shards = 4
[cluster]
workers = 2
"""
