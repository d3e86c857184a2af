"""MultiHeadAttention, and the projection it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn import constraints, initializers, ops, regularizers
from distnn.layers.layer import Layer, _shapes
from distnn.tensor import keras_shape
from distnn.variable import Variable

_WEIGHTS = [
    f"{weight}_{kind}"
    for weight in ("kernel", "bias")
    for kind in ("initializer", "regularizer", "constraint")
]


class _Projection(Layer):
    """A dense layer whose weights have the shapes of Keras's: the heads on an axis of their own.

    Args:
        shape: of the kernel; its first `joined` axes meet the inputs' last one, the others are the output's.
        joined: 1 or more.
        options: initializers, regularizers and constraints by name.
    """

    kernel: Variable
    bias: Variable | None

    def __init__(
        self, shape: tuple[int, ...], joined: int, use_bias: bool, options: dict[str, Any], name: str
    ) -> None:
        super().__init__(name=name)
        self.kernel = self.add_weight(
            shape,
            options["kernel_initializer"],
            regularizer=options["kernel_regularizer"],
            constraint=options["kernel_constraint"],
            name="kernel",
        )
        self.bias = None
        if use_bias:
            self.bias = self.add_weight(
                shape[joined:],
                options["bias_initializer"],
                regularizer=options["bias_regularizer"],
                constraint=options["bias_constraint"],
                name="bias",
            )
        self.built = True
        self._inputs = 1
        for dim in shape[:joined]:
            self._inputs *= dim

    def call(self, inputs: Any) -> Any:
        outputs = ops.matmul(inputs, ops.reshape(self.kernel, (self._inputs, -1)))
        return outputs if self.bias is None else ops.bias_add(outputs, ops.reshape(self.bias, (-1,)))


class MultiHeadAttention(Layer):
    """Attention of several heads between two series, or a series and itself. Vaswani et al. 2017.

    Weights have Keras's names, order and shapes. Without dropout of the weights, and unless these are asked
    for, all of a head's work is done in one pass.

    Args:
        num_heads: number of heads.
        key_dim: size of each head's queries and keys.
        value_dim: size of each head's values; `key_dim` by default.
        dropout: rate of a dropout of the attention weights in training.
        use_bias: whether projections add a bias.
        output_shape: size of the output's last axis; the query's by default.
        attention_axes: only None, or the one axis of a series.
        kernel_initializer, bias_initializer: how weights begin.
        kernel_regularizer, bias_regularizer: penalties on the weights.
        activity_regularizer: a penalty on the outputs.
        kernel_constraint, bias_constraint: what the weights are held to.
        seed: the dropout's own number.

    Call arguments:
        query: `(batch, queries, features)`.
        value: `(batch, keys, features)`.
        key: like `value`, which it is by default.
        query_mask, value_mask, key_mask: true where a place counts: `(batch, places)`.
        attention_mask: true where a query may look at a key: `(batch, queries, keys)`, or with a heads' axis
            after the batch's.
        return_attention_scores: also return the weights `(batch, num_heads, queries, keys)`.
        use_causal_mask: whether a query looks at keys up to its own place only.
    """

    supports_masking = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.num_heads = _positive("num_heads", num_heads)
        self.key_dim = _positive("key_dim", key_dim)
        self.value_dim = _positive("value_dim", value_dim or key_dim)
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be between 0 and 1. Received: dropout={dropout}")
        self.dropout = float(dropout)
        self.use_bias = use_bias
        sizes = [output_shape] if isinstance(output_shape, int) else list(output_shape or ())
        if len(sizes) > 1:
            raise ValueError(f"`output_shape` must be one size. Received: output_shape={output_shape}")
        self.output_size = _positive("output_shape", sizes[0]) if sizes else None
        if attention_axes not in (None, 1, (1,), [1]):
            raise ValueError(
                f"MultiHeadAttention attends along axis 1. Received: attention_axes={attention_axes}"
            )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.seed = seed

    def __call__(self, query: Any, value: Any, key: Any = None, **kwargs: Any) -> Any:
        """As `Layer`, with all three by place or by name."""
        return super().__call__(query, value, value if key is None else key, **kwargs)

    def _build_once(self, input_shape: Any) -> None:
        pass  # built in `call`, which knows all three shapes

    def _build_parts(self, query: Any, value: Any, key: Any) -> None:
        shapes = [_shapes(tensor) for tensor in (query, value, key)]
        if any(len(shape) != 3 or shape[-1] is None for shape in shapes):
            raise ValueError(
                f"layer '{self.name}' takes query, value and key of shape (batch, places, features). "
                f"Received: shapes {', '.join(map(str, shapes))}"
            )
        heads, options = self.num_heads, {name: getattr(self, name) for name in _WEIGHTS}
        (of_query, of_value, of_key) = (shape[-1] for shape in shapes)
        self.query = _Projection((of_query, heads, self.key_dim), 1, self.use_bias, options, "query")
        self.key = _Projection((of_key, heads, self.key_dim), 1, self.use_bias, options, "key")
        self.value = _Projection((of_value, heads, self.value_dim), 1, self.use_bias, options, "value")
        shape = (heads, self.value_dim, self.output_size or of_query)
        self.attention_output = _Projection(shape, 2, self.use_bias, options, "attention_output")
        self.built = True

    def call(
        self,
        query: Any,
        value: Any,
        key: Any,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        if not self.built:
            self._build_parts(query, value, key)
        mask = self._mask(query_mask, value_mask, key_mask, attention_mask)
        parts = self.query(query), self.key(key), self.value(value)
        options: dict[str, Any] = {
            "num_heads": self.num_heads,
            "scale": self.key_dim**-0.5,
            "mask": mask,
            "is_causal": use_causal_mask,
        }
        rate = self.dropout if training else 0.0
        has_heads = mask is not None and len(mask.spec.shape) == 4
        if not (rate or return_attention_scores or has_heads):
            return self.attention_output(ops.attend(*parts, **options))
        joined, weights = ops.attend_with_weights(*parts, rate=rate, seed=self.seed, **options)
        outputs = self.attention_output(joined)
        return (outputs, weights) if return_attention_scores else outputs

    def _mask(self, query_mask: Any, value_mask: Any, key_mask: Any, attention_mask: Any) -> Any:
        """All masks as one, with two or three axes beside the batch's; None where there is none."""
        found = []
        if query_mask is not None:
            found.append(ops.expand_dims(ops.cast(query_mask, "bool"), 2))
        for mask in (value_mask, key_mask):
            if mask is not None:
                found.append(ops.expand_dims(ops.cast(mask, "bool"), 1))
        if attention_mask is not None:
            given = ops.convert_to_tensor(attention_mask, "bool")
            rank = len(given.spec.shape)
            if rank not in (2, 3, 4):
                raise ValueError(
                    "`attention_mask` must have shape (batch, queries, keys). "
                    f"Received: shape {keras_shape(given.spec.shape)}"
                )
            given = ops.expand_dims(given, 0) if rank == 2 else given
            found = [ops.expand_dims(mask, 1) for mask in found] if rank == 4 else found
            found.append(given)
        whole: Any = None
        for mask in found:
            whole = mask if whole is None else ops.logical_and(whole, mask)
        return whole

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "output_shape": self.output_size,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "seed": self.seed,
        }


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
    return value
