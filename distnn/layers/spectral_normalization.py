"""SpectralNormalization: a layer whose weight is divided by its largest singular value."""

from __future__ import annotations

from typing import Any

from distnn import initializers, ops
from distnn.graph import current_graph
from distnn.layers.input_spec import InputSpec
from distnn.layers.wrapper import Wrapper
from distnn.variable import Variable


class SpectralNormalization(Wrapper):
    """A layer that computes with its kernel (or embeddings) W divided by its largest singular value.

    That value is `v W u`, u and v being what `power_iterations` products with W and its transpose leave of
    the vector u of the step before; both count as constants in the gradient. u is a state: training keeps
    it, prediction does not. Miyato et al., 2018.

    Args:
        layer: with a weight `kernel` or `embeddings`.
        power_iterations: at each step.
    """

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        if not isinstance(power_iterations, int) or power_iterations <= 0:
            raise ValueError(
                "`power_iterations` should be greater than zero. Received: "
                f"`power_iterations={power_iterations}`"
            )
        self.power_iterations = power_iterations

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if kernel is None:
            raise ValueError(f"{type(self.layer).__name__} object has no attribute 'kernel' nor 'embeddings'")
        self.kernel: Variable = kernel
        self.vector_u = self.add_weight(
            (1, kernel.shape[-1]),
            initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
            name="vector_u",
        )

    @property
    def variables(self) -> list[Variable]:
        """As in Keras the kernel first, then u, then what else the layer has."""
        first = [self.kernel] if self.built else []
        return list(dict.fromkeys([*first, *super().variables]))

    def call(self, inputs: Any, training: bool = False) -> Any:
        kernel, vector_u = self._normalized()
        if training:
            self.vector_u.assign(vector_u)
        graph = current_graph()
        assert graph is not None, "layers are called in a graph"
        with graph.reading(self.kernel, kernel):
            return self.layer(inputs)

    def _normalized(self) -> tuple[Any, Any]:
        """The kernel divided, and the vector u that led to it."""
        weights = ops.reshape(self.kernel, (-1, self.kernel.shape[-1]))
        constant = ops.stop_gradient(weights)
        before: Any = self.vector_u.value
        u: Any = before
        for _ in range(self.power_iterations):
            v = ops.normalize(ops.matmul(u, ops.transpose(constant)), axis=None)
            u = ops.normalize(ops.matmul(v, constant), axis=None)
        largest = ops.matmul(ops.matmul(v, weights), ops.transpose(u))
        is_zero = ops.equal(largest, 0.0)  # of a kernel of zeros, which stays one
        divisor = ops.reshape(ops.where(is_zero, 1.0, largest), ())
        return ops.divide(self.kernel, divisor), ops.where(is_zero, before, u)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power_iterations": self.power_iterations}
