"""Ops of the accuracies: whether each sample's prediction is right, as 0.0 or 1.0. They have no gradient."""

from __future__ import annotations

from functools import partial

from distnn.kernels.metrics import categorical_accuracy, sparse_accuracy
from distnn.ops.op import Bound, Op
from distnn.tensor import Array, Spec, keras_shape


class SparseMatch(Op):
    """1.0 where the largest prediction is that of the class numbered in the target; the first wins ties."""

    def infer(self, *inputs: Spec) -> Spec:
        target, prediction = inputs
        if target.shape != prediction.shape[:-1]:
            raise ValueError(
                f"class numbers of shape {keras_shape(target.shape)} do not fit predictions of shape "
                f"{keras_shape(prediction.shape)}: expected one number per prediction"
            )
        return Spec(target.shape)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        target, prediction = inputs
        rows = prediction.reshape(-1, prediction.shape[-1])
        return partial(sparse_accuracy, target.reshape(-1), rows, outputs[0].reshape(-1))


class CategoricalMatch(Op):
    """1.0 where the largest target and the largest prediction are of one class; the first wins ties."""

    def infer(self, *inputs: Spec) -> Spec:
        target, prediction = inputs
        if target.shape != prediction.shape:
            raise ValueError(
                f"targets of shape {keras_shape(target.shape)} do not fit predictions of shape "
                f"{keras_shape(prediction.shape)}: expected one-hot targets"
            )
        return Spec(target.shape[:-1])

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        target, prediction = (array.reshape(-1, array.shape[-1]) for array in inputs)
        return partial(categorical_accuracy, target, prediction, outputs[0].reshape(-1))
