"""The same numbers as Keras 3 on its torch backend: layers, gradients, ops, steps. Skipped without them.

`pip install keras torch` beside the package, and these run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from distnn import activations, layers, ops
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.layers import Dense, Flatten, Input
from distnn.models import Model
from distnn.optimizers import SGD
from distnn.tensor import Spec

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("compared with Keras on torch", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore")

Shapes = tuple[tuple[int, ...], ...]
MASK = np.array([[True, True, False, True], [True, False, True, True], [True, True, True, True]])
PAIRS = np.random.default_rng(2).random((3, 4, 4)) < 0.7
PAIRS[..., 0] = True

LAYERS: list[tuple[str, Mapping[str, Any], Shapes, Mapping[str, Any]]] = [
    ("Add", {}, ((3, 4), (3, 4), (3, 4)), {}),
    ("Add", {}, ((3, 4), (3, 2, 4)), {}),
    ("Subtract", {}, ((3, 4), (3, 4)), {}),
    ("Multiply", {}, ((3, 1, 4), (3, 2, 4)), {}),
    ("Average", {}, ((3, 4), (3, 4), (3, 4)), {}),
    ("Maximum", {}, ((3, 4), (3, 4)), {}),
    ("Minimum", {}, ((3, 4), (3, 4)), {}),
    ("Concatenate", {"axis": 1}, ((3, 4, 2), (3, 1, 2)), {}),
    ("Dot", {"axes": 1}, ((3, 4), (3, 4)), {}),
    ("Dot", {"axes": (2, 1), "normalize": True}, ((3, 4, 2), (3, 2, 5)), {}),
    ("Permute", {"dims": (3, 1, 2)}, ((3, 4, 2, 5),), {}),
    ("ReLU", {"max_value": 0.8, "negative_slope": 0.1, "threshold": 0.3}, ((3, 4),), {}),
    ("ReLU", {"max_value": 0.5}, ((3, 4),), {}),
    ("LeakyReLU", {}, ((3, 4),), {}),
    ("PReLU", {"shared_axes": [1]}, ((3, 4, 2),), {}),
    ("ELU", {"alpha": 0.7}, ((3, 4),), {}),
    ("Softmax", {"axis": 1}, ((3, 4, 2),), {}),
    ("Softmax", {}, ((3, 4),), {"mask": MASK}),
    ("RMSNormalization", {}, ((3, 5, 4),), {}),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"}, ((3, 4),), {}),
    (
        "EinsumDense",
        {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "d"},
        ((3, 5, 4),),
        {},
    ),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 3}, ((3, 5, 4),), {}),
    ("UnitNormalization", {}, ((3, 4),), {}),
    ("GroupNormalization", {"groups": 2}, ((3, 5, 4),), {}),
    ("GroupNormalization", {"groups": -1, "axis": 1}, ((3, 4, 2),), {}),
    ("LayerNormalization", {"axis": [1, 2]}, ((3, 4, 2),), {}),
    ("BatchNormalization", {"axis": 1}, ((3, 4, 2),), {"training": True}),
    ("BatchNormalization", {"axis": 1}, ((3, 4, 2),), {}),
    ("Attention", {"use_scale": True}, ((3, 4, 5), (3, 4, 5)), {"use_causal_mask": True}),
    ("Attention", {"score_mode": "concat"}, ((3, 2, 5), (3, 4, 5), (3, 4, 5)), {"mask": [None, MASK]}),
    ("AdditiveAttention", {}, ((3, 4, 5), (3, 4, 5)), {"mask": [MASK, MASK]}),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, ((3, 4, 6), (3, 4, 6)), {}),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "value_dim": 5, "output_shape": 7},
        ((3, 4, 6), (3, 4, 5), (3, 4, 2)),
        {"attention_mask": PAIRS, "use_causal_mask": True},
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 1, "key_dim": 4, "use_bias": False},
        ((3, 4, 6), (3, 4, 6)),
        {"use_causal_mask": True},
    ),
]


def drawn(shapes: Shapes) -> list[Any]:
    rng = np.random.default_rng(4)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def packed(name: str, parts: list[Any]) -> list[Any]:
    """As the layer is called: attention of several heads by place, others on a list or on one tensor."""
    if name == "MultiHeadAttention" or len(parts) == 1:
        return parts
    return [parts]


@pytest.mark.parametrize(
    ("name", "config", "shapes", "options"), LAYERS, ids=[f"{n} {dict(c)} {list(o)}" for n, c, _, o in LAYERS]
)
def test_layers_give_kerass_values_and_gradients(
    name: str, config: Mapping[str, Any], shapes: Shapes, options: Mapping[str, Any]
) -> None:
    arrays = drawn(shapes)
    ours, theirs = layers.get_class(name)(**config), getattr(keras.layers, name)(**config)
    ours(*packed(name, arrays), **options)
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    theirs(*packed(name, tensors), **options)
    rng = np.random.default_rng(7)
    assert [tuple(v.shape) for v in ours.weights] == [tuple(v.shape) for v in theirs.weights]
    weights = [rng.uniform(0.2, 1.0, variable.shape).astype(np.float32) for variable in ours.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)

    graph = Graph(samples=3, eager=True, training=bool(options.get("training")))
    leaves = [graph.add_input(f"x{i}", Spec(array.shape), array) for i, array in enumerate(arrays)]
    given = {
        key: [None if one is None else graph.constant(one) for one in value]
        if isinstance(value, list)
        else value
        for key, value in options.items()
    }
    with recording(graph):
        output = ours(*packed(name, leaves), **given)
    wanted = theirs(*packed(name, tensors), **options)
    np.testing.assert_allclose(output.numpy(), wanted.detach().numpy(), rtol=2e-4, atol=2e-5)
    seed = rng.normal(size=output.numpy().shape).astype(np.float32)
    found = gradients(graph, [(output, graph.constant(seed))], leaves)
    right = torch.autograd.grad((wanted * torch.tensor(seed)).sum(), tensors)
    for gradient, value in zip(found, right, strict=True):
        assert gradient is not None
        np.testing.assert_allclose(gradient.numpy(), value.numpy(), rtol=5e-4, atol=5e-5)


# Keras's sparsemax on torch gives rows that do not add up to 1.
@pytest.mark.parametrize("name", [name for name in activations.names() if name != "sparsemax"])
def test_activations_are_kerass(name: str) -> None:
    (x,) = drawn(((5, 6),))
    ours, theirs = activations.get(name)(2 * x), keras.activations.get(name)(torch.tensor(2 * x))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-5)


A, C = drawn(((3, 4), (3, 4)))
OPS: list[tuple[str, tuple[Any, ...], Mapping[str, Any]]] = [
    *((name, (A,), {}) for name in ("sin", "cos", "tan", "arctan", "sinh", "cosh", "erf", "expm1")),
    *((name, (A,), {}) for name in ("floor", "ceil", "round", "sign", "isnan", "isfinite", "ravel", "flip")),
    *((name, (A,), {}) for name in ("tril", "triu", "exp2", "logsumexp", "std", "prod", "argsort", "sort")),
    ("mod", (A, np.abs(C) + 0.1), {}),
    ("floor_divide", (A, np.abs(C) + 0.1), {}),
    ("logaddexp", (A, C), {}),
    ("logical_xor", (A > 0, C > 0), {}),
    ("isclose", (A, A + 1e-7), {}),
    ("cumsum", (A,), {"axis": 1}),
    ("take", (A, np.array([[0, 2], [1, 1]])), {"axis": 1}),
    ("take_along_axis", (A, np.argsort(A, axis=1)), {"axis": 1}),
    ("segment_sum", (A, np.array([0, 2, 2])), {"num_segments": 3}),
    ("scatter", (np.array([[0, 1], [2, 0]]), np.array([1.0, 2.0], np.float32), (3, 2)), {}),
    ("repeat", (A, 2), {"axis": 1}),
    ("tile", (A, (2, 3)), {}),
    ("roll", (A, 2), {"axis": 1}),
    ("moveaxis", (A, 0, 1), {}),
    ("einsum", ("ij,kj->ik", A, C), {}),
    ("tensordot", (A, C), {"axes": [[1], [1]]}),
    ("outer", (A[0], C[1]), {}),
    ("norm", (A,), {"axis": 1}),
    ("normalize", (A,), {"axis": 0}),
    ("count_nonzero", (A,), {"axis": 1}),
    ("nan_to_num", (A,), {}),
    ("hard_shrink", (A,), {}),
    ("soft_shrink", (A,), {}),
    ("threshold", (A, 0.1, 2.0), {}),
    ("sparse_sigmoid", (A,), {}),
    ("arange", (2, 9, 3), {}),
    ("linspace", (0.0, 2.0, 5), {}),
    ("eye", (3, 4), {"k": 1}),
    ("tri", (3,), {}),
]


@pytest.mark.parametrize(("name", "given", "options"), OPS, ids=[name for name, *_ in OPS])
def test_ops_are_kerass(name: str, given: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    found = getattr(ops, name)(*given, **options)
    wanted = keras.ops.convert_to_numpy(getattr(keras.ops, name)(*given, **options))
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5, atol=1e-6)


def test_five_steps_leave_kerass_weights_and_history() -> None:
    def block(kit: Any, x: Any) -> Any:
        h = kit.LayerNormalization()(x)
        h = kit.add([x, kit.MultiHeadAttention(2, 4)(h, h, use_causal_mask=True)])
        return kit.add([h, kit.Dense(6)(kit.Dense(9, activation="gelu")(kit.LayerNormalization()(h)))])

    x = Input((5, 6))
    ours = Model(x, Dense(1)(Flatten()(block(layers, x))))
    ours.compile(SGD(0.05, momentum=0.9), "mse")
    x = keras.Input((5, 6))
    theirs = keras.Model(x, keras.layers.Dense(1)(keras.layers.Flatten()(block(keras.layers, x))))
    theirs.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    theirs.set_weights(ours.get_weights())
    data, target = drawn(((20, 5, 6), (20, 1)))
    options: dict[str, Any] = {"batch_size": 4, "epochs": 1, "shuffle": False, "verbose": 0}
    history = ours.fit(data, target, shards=2, **options).history
    np.testing.assert_allclose(
        history["loss"], theirs.fit(data, target, **options).history["loss"], rtol=1e-4
    )
    for weights, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weights, other, rtol=1e-3, atol=1e-5)
