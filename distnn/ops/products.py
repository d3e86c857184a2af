"""Matrix products, and the bias that follows one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn.kernels.products import bind_matmul
from distnn.ops.arguments import operands, shape_of
from distnn.ops.op import Bound, Op
from distnn.ops.shapes import product, reshape, sum_to_shape
from distnn.tensor import Array, Shape, Spec, Tensor, broadcast_shapes, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


class Matmul(Op):
    """The product of two matrices, or of stacks of them; either may be taken transposed.

    Args:
        transpose_a: use the transpose of a's last two axes.
        transpose_b: use the transpose of b's.
    """

    def __init__(self, transpose_a: bool = False, transpose_b: bool = False) -> None:
        self.transpose_a, self.transpose_b = transpose_a, transpose_b

    def infer(self, *inputs: Spec) -> Spec:
        a, b = inputs[0].shape, inputs[1].shape
        problem = ValueError(
            f"Matmul: shapes {keras_shape(a)} and {keras_shape(b)} do not fit "
            f"(transpose_a={self.transpose_a}, transpose_b={self.transpose_b}): the inner dimensions differ"
        )
        if len(a) < 2 or len(b) < 2:
            raise problem
        rows, inner_a = (a[-1], a[-2]) if self.transpose_a else (a[-2], a[-1])
        inner_b, columns = (b[-1], b[-2]) if self.transpose_b else (b[-2], b[-1])
        if inner_a != inner_b:
            raise problem
        return Spec((*broadcast_shapes(a[:-2], b[:-2], "stacks of matrices"), rows, columns), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return bind_matmul(
            inputs[0], inputs[1], outputs[0], transpose_a=self.transpose_a, transpose_b=self.transpose_b
        )

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        a, b, dy = inputs[0], inputs[1], doutputs[0]
        if self.transpose_a:
            da = Matmul(self.transpose_b, True)(b, dy)
        else:
            da = Matmul(False, not self.transpose_b)(dy, b)
        if self.transpose_b:
            db = Matmul(True, self.transpose_a)(dy, a)
        else:
            db = Matmul(not self.transpose_a, False)(a, dy)
        return sum_to_shape(da, a.spec.shape), sum_to_shape(db, b.spec.shape)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        inner = inputs[0].concrete(samples)[-2 if self.transpose_a else -1]
        return 2 * inner * outputs[0].size(samples)


def matmul(x1: Any, x2: Any) -> Any:
    """`x1 @ x2` as NumPy has it: vectors become rows or columns, stacks of matrices broadcast."""
    a, b = operands(x1, x2)
    shape_a, shape_b = shape_of(a), shape_of(b)
    if not shape_a or not shape_b:
        raise ValueError(
            f"matmul needs at least one axis. Received: shapes {keras_shape(shape_a)}, {keras_shape(shape_b)}"
        )
    if len(shape_a) == 1:
        result = matmul(reshape(a, (1, *shape_a)), b)
        shape = shape_of(result)
        return reshape(result, shape[:-2] + shape[-1:]) if len(shape_b) > 1 else result
    if len(shape_b) == 1:
        result = matmul(a, reshape(b, (*shape_b, 1)))
        return reshape(result, shape_of(result)[:-1])
    if len(shape_a) > 2 and len(shape_b) == 2:
        # One product over all leading axes, not a stack of small ones.
        rows: Shape = (product(shape_a[:-1]), shape_a[-1])
        flat = Matmul()(reshape(a, rows), b)
        return reshape(flat, (*shape_a[:-1], shape_b[-1]))
    return Matmul()(a, b)


def dot(x1: Any, x2: Any) -> Any:
    """`matmul`, or the product with a number."""
    from distnn.ops.elementwise import multiply

    return matmul(x1, x2) if shape_of(x1) and shape_of(x2) else multiply(x1, x2)
