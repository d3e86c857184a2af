"""Programs: the bytes of the eager run, fused or not, on buffers that never overlap while they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import Array, classification, regression, train

import distnn.program
from distnn import layers, ops
from distnn.autodiff import gradients
from distnn.fusion import fuse
from distnn.graph import Graph, Node, recording
from distnn.layers import Dense, Input, Layer
from distnn.models import Sequential
from distnn.optimizers import SGD
from distnn.program import Program, Results
from distnn.reduction import ShardSums, SumsLayout
from distnn.tensor import Batch, Spec, Tensor
from distnn.variable import Variable
from distnn.weights import WeightLayout, aligned_zeros

FEATURES = 6
LARGEST = 5

# Random graphs: a script is a list of (operation, operand, operand)

UNARY: list[Callable[[Any], Any]] = [
    ops.relu,
    ops.tanh,
    ops.softmax,
    ops.log_softmax,
    ops.gelu,
    lambda x: ops.reshape(ops.reshape(x, (*x.spec.shape[:1], 2, 3)), x.spec.shape),
    lambda x: x * ops.mean(x, axis=-1, keepdims=True),
    lambda x: x + ops.sum(x, axis=0),
    lambda x: ops.layer_norm(x),
    lambda x: ops.batch_norm_training(x, None, None, 1e-3)[0],
    lambda x: ops.dropout(x, 0.3),
]
BINARY: list[Callable[[Any, Any], Any]] = [
    ops.add,
    ops.subtract,
    ops.multiply,
    ops.maximum,
    lambda x, y: (
        ops.sparse_categorical_crossentropy(ops.argmax(y, axis=-1), x, from_logits=True)[..., None]
        if isinstance(x, np.ndarray)
        else ops.expand_dims(
            ops.sparse_categorical_crossentropy(ops.argmax(y, axis=-1), x, from_logits=True), -1
        )
        * x
    ),
]
PRODUCTS = 2
"""Further unary operations: products with the two weights, with bias and activation behind them."""

Script = list[tuple[int, int, int]]
SCRIPTS = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12
)


class Weights:
    """Two matrices and a bias, the same for every graph."""

    def __init__(self) -> None:
        layer = Layer()
        shapes = [(FEATURES, FEATURES), (FEATURES, FEATURES), (FEATURES,)]
        self.variables = [layer.add_weight(shape, "glorot_uniform") for shape in shapes]
        self.layout = WeightLayout(self.variables, self.variables)
        self.flat = aligned_zeros(self.layout.size)
        rng = np.random.default_rng(0)
        self.flat[:] = rng.normal(size=self.layout.size)

    def value(self, variable: Variable) -> Array:
        return self.layout.view(self.flat, variable)


WEIGHTS = Weights()
DATA = np.random.default_rng(1).normal(size=(LARGEST, FEATURES)).astype(np.float32)


@dataclass
class Recorded:
    graph: Graph
    results: Results


def record(script: Script, samples: int, eager: bool) -> Recorded:
    """The script's operations, the gradients of its last value, and some of its values as outputs."""
    graph = Graph(samples=samples, eager=eager, training=True)
    graph.variable_value = WEIGHTS.value
    graph.control[:4] = (77, 3, 1, samples)
    spec = graph.input_spec(Spec((Batch(), FEATURES)))
    values: list[Any] = [graph.add_input("x", spec, np.array(DATA[:samples]) if eager else None)]
    with recording(graph):
        for code, i, j in script:
            values.append(operation(code, values[i % len(values)], values[j % len(values)]))
        wrt = [graph.variable(variable) for variable in WEIGHTS.variables]
        last = values[-1]
        seed = ops.broadcast_to(ops.cast(np.ones(1), "float32"), last.spec.shape)
        found = gradients(graph, [(last, seed)], wrt)
    outputs = tuple(value for k, value in enumerate(values) if k and k % 3 == script[0][1] % 3)
    present = tuple(tensor for tensor in found if tensor is not None)
    return Recorded(graph, Results(outputs=(*outputs, *present, last)))


def operation(code: int, x: Any, y: Any) -> Any:
    code %= len(UNARY) + len(BINARY) + PRODUCTS
    if code < len(UNARY):
        return UNARY[code](x)
    if code < len(UNARY) + len(BINARY):
        return BINARY[code - len(UNARY)](x, y)
    matrix, bias = WEIGHTS.variables[code % 2], WEIGHTS.variables[2]
    return ops.relu(ops.bias_add(ops.matmul(x, matrix), bias))


def compiled(script: Script) -> tuple[Program, Recorded]:
    recorded = record(script, LARGEST, eager=False)
    program = Program(recorded.graph, WEIGHTS.layout, recorded.results, LARGEST)
    program.control[:] = recorded.graph.control
    return program, recorded


def run(program: Program, samples: int) -> list[Array]:
    bound = program.bind(samples, WEIGHTS.flat, None)
    program.control[3] = samples
    bound.inputs["x"][:] = DATA[:samples]
    bound.run()
    return [output.copy() for output in bound.outputs]


def unfused(nodes: list[Node], results: list[Tensor]) -> list[Node]:
    return list(nodes)


@contextmanager
def without_fusion() -> Iterator[None]:
    distnn.program.fuse = unfused  # type: ignore[assignment,attr-defined]
    try:
        yield
    finally:
        distnn.program.fuse = fuse  # type: ignore[attr-defined]


@given(SCRIPTS)
def test_programs_give_the_bytes_of_the_eager_run(script: Script) -> None:
    program, _ = compiled(script)
    with without_fusion():
        plain, _ = compiled(script)
    for samples in (LARGEST, 1, 3, LARGEST):
        with np.errstate(all="ignore"):
            eager = [tensor.numpy() for tensor in record(script, samples, eager=True).results.outputs]
            fused, one_by_one = run(program, samples), run(plain, samples)
        for expected, first, second in zip(eager, fused, one_by_one, strict=True):
            assert expected.tobytes() == first.tobytes() == second.tobytes()


@given(SCRIPTS)
def test_no_buffer_is_used_again_while_it_is_needed(script: Script) -> None:
    """Every call writes its outputs only; whatever a later call or the caller reads stays as it was."""
    program, recorded = compiled(script)
    bound = program.bind(LARGEST, WEIGHTS.flat, None)
    bound.inputs["x"][:] = DATA
    arrays = arrays_of(program)
    roots = {tensor: program._root(tensor) for tensor in arrays}
    last_use = {roots[t]: len(program.nodes) for t in recorded.results.outputs if t in roots}
    for position, node in enumerate(program.nodes):
        for tensor in node.inputs:
            if tensor in roots:
                last_use[roots[tensor]] = max(position, last_use.get(roots[tensor], 0))
    alive: dict[Tensor, tuple[int, int]] = {}
    for position, node in enumerate(program.nodes):
        if node.op.is_view:
            continue
        alive = {tensor: place for tensor, place in alive.items() if last_use.get(tensor, -1) >= position}
        for tensor in node.outputs:
            start, stop = arrays[tensor]
            for other, (low, high) in alive.items():
                assert stop <= low or start >= high, f"{tensor} is written over {other}"
            alive[tensor] = (start, stop)


def arrays_of(program: Program) -> dict[Tensor, tuple[int, int]]:
    """The byte range in the arena of everything the program computes."""
    found = {}
    for node in program.nodes:
        for tensor in node.outputs:
            root = program._root(tensor)
            if root in program._storage.offsets:
                start = program._storage.offsets[root]
                size = tensor.spec.size(LARGEST) * program.graph.array_dtype(tensor.spec).itemsize
                assert start % 64 == 0 and start + size <= program._storage.size
                found[tensor] = (start, start + size)
    return found


# Fusion


def test_what_nobody_reads_is_not_computed() -> None:
    graph = Graph(samples=2)
    x = graph.add_input("x", Spec((Batch(), FEATURES)))
    with recording(graph):
        wanted = ops.tanh(x)
        ops.exp(ops.relu(x))
    program = Program(graph, WEIGHTS.layout, Results(outputs=(wanted,)), 2)
    assert [node.op.name for node in program.nodes] == ["tanh"]


def test_bias_and_activation_become_one() -> None:
    graph = Graph(samples=2)
    x = graph.add_input("x", Spec((Batch(), FEATURES)))
    with recording(graph):
        y: Any = operation(len(UNARY) + len(BINARY), x, x)
    assert len(graph.nodes) == 3
    program = Program(graph, WEIGHTS.layout, Results(outputs=(y,)), 2)
    assert [type(node.op).__name__ for node in program.nodes] == ["Matmul", "BiasActivation"]


@pytest.mark.parametrize("softmax_first", [True, False])
@pytest.mark.parametrize("wanted", [True, False], ids=["wanted", "read"])
def test_a_softmax_is_taken_from_its_cross_entropy(softmax_first: bool, wanted: bool) -> None:
    """Whichever was recorded first, and whether the caller or another op reads the probabilities."""
    graph = Graph(samples=2)
    x = graph.add_input("x", Spec((Batch(), FEATURES)))
    labels = graph.add_input("y", Spec((Batch(),), "int32"))
    with recording(graph):
        scores = x * 2.0
        if softmax_first:
            p = ops.softmax(scores)
        loss = ops.sparse_categorical_crossentropy(labels, scores, from_logits=True)
        total = ops.sum(loss * 3.0)
        if not softmax_first:
            p = ops.softmax(scores)
        out = p if wanted else p * 1.0
    program = Program(graph, WEIGHTS.layout, Results(outputs=(total, out)), 2)
    assert not [node for node in program.nodes if node.op.name == "softmax"]
    bound = program.bind(2, WEIGHTS.flat, None)
    bound.inputs["x"][:], bound.inputs["y"][:] = DATA[:2], [1, 4]
    bound.run()
    expected = ops.softmax(DATA[:2] * np.float32(2))
    np.testing.assert_array_equal(bound.outputs[1], expected)
    np.testing.assert_allclose(bound.outputs[0], -3 * np.log(expected[[0, 1], [1, 4]]).sum(), rtol=1e-6)


def test_two_softmaxes_of_one_cross_entropy() -> None:
    graph = Graph(samples=2)
    x = graph.add_input("x", Spec((Batch(), FEATURES)))
    with recording(graph):
        first = ops.softmax(x)
        loss = ops.categorical_crossentropy(first, x, from_logits=True)
        second = ops.softmax(x)
    program = Program(graph, WEIGHTS.layout, Results(outputs=(first, loss, second)), 2)
    bound = program.bind(2, WEIGHTS.flat, None)
    bound.inputs["x"][:] = DATA[:2]
    bound.run()
    for output in (bound.outputs[0], bound.outputs[2]):
        np.testing.assert_array_equal(output, ops.softmax(DATA[:2]))


def test_a_training_without_fusion_leaves_the_same_bytes() -> None:
    x, y = classification(40, 6, 3)

    def make() -> Sequential:
        model = Sequential([Input((6,)), Dense(8, "gelu"), layers.Dropout(0.2), layers.LayerNormalization()])
        model.add(Dense(3, "softmax"))
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        return model

    outcome = train(make, x, y, batch_size=16, shards=3, epochs=2)
    with without_fusion():
        assert train(make, x, y, batch_size=16, shards=3, epochs=2) == outcome


# Binding


def test_smaller_shards_are_views_of_the_same_buffers() -> None:
    program, _ = compiled([(len(UNARY) + len(BINARY), 0, 0), (1, 1, 0)])
    large, small = program.bind(LARGEST, WEIGHTS.flat, None), program.bind(2, WEIGHTS.flat, None)
    assert program.bind(2, WEIGHTS.flat, None) is small
    assert np.shares_memory(large.inputs["x"], small.inputs["x"])
    for big, little in zip(large.outputs, small.outputs, strict=True):
        if big.shape[:1] == (LARGEST,):
            assert little.shape == (2, *big.shape[1:])
            assert np.shares_memory(big, little)


def test_results_are_computed_where_they_are_wanted() -> None:
    graph = Graph(samples=LARGEST, training=True)
    x = graph.add_input("x", Spec((Batch(), FEATURES)))
    with recording(graph):
        y = ops.tanh(ops.matmul(x, WEIGHTS.variables[0]))
        seed = ops.broadcast_to(ops.cast(np.ones(1), "float32"), y.spec.shape)
        found = gradients(graph, [(y, seed)], [graph.variable(v) for v in WEIGHTS.variables])
    zero = graph.constant(np.zeros((FEATURES, FEATURES)))
    results = Results(gradients=(found[0], zero, graph.constant(np.zeros(FEATURES))))
    program = Program(graph, WEIGHTS.layout, results, LARGEST)
    into = ShardSums(SumsLayout(WEIGHTS.layout.trainable_size, 0, ()))
    into.gradient[:] = np.nan
    bound = program.bind(LARGEST, WEIGHTS.flat, into)
    bound.inputs["x"][:] = DATA
    bound.run()
    product = [node for node in program.nodes if found[0] in node.outputs]
    assert len(product) == 1, "no copy of the gradient is made"
    w = WEIGHTS.value(WEIGHTS.variables[0]).astype(float)
    expected = DATA.T @ (1 - np.tanh(DATA @ w) ** 2)
    start, stop = WEIGHTS.layout.bounds(WEIGHTS.variables[0])
    np.testing.assert_allclose(into.gradient[start:stop].reshape(w.shape), expected, rtol=1e-4, atol=1e-6)
    assert (into.gradient[WEIGHTS.layout.offsets[WEIGHTS.variables[2]] :][:FEATURES] == 0).all()


# Code that reads the batch size


class ReadsBatch(Layer):
    """Divides by the number of samples it sees."""

    seen: list[int]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen = []

    def call(self, inputs: Any) -> Any:
        samples = ops.shape(inputs)[0]
        self.seen.append(samples)
        return inputs / float(samples)


def reading(run_eagerly: bool = False) -> Sequential:
    model = Sequential([Input((6,)), Dense(4), ReadsBatch(), Dense(1)])
    model.compile(SGD(0.1), "mse", run_eagerly=run_eagerly)
    return model


def test_code_that_reads_the_batch_size_is_traced_once_for_each() -> None:
    x, y = regression(50)
    model = reading()
    layer = model.layers[1]
    assert isinstance(layer, ReadsBatch)
    layer.seen.clear()
    model.fit(x, y, batch_size=16, shards=3, epochs=4, verbose=0, seed=1)
    sizes = [6, 5, 1]
    assert sorted(set(layer.seen) - {2}) == sorted(sizes), "whole batches: 6 5 5; the last: 1 1 and none"
    assert sum(size != 2 for size in layer.seen) == len(sizes)


def test_code_that_reads_the_batch_size_gives_the_bytes_of_the_eager_run() -> None:
    x, y = regression(50)
    options: dict[str, Any] = {"batch_size": 16, "shards": 3, "epochs": 2}
    outcome = train(reading, x, y, **options)
    assert train(lambda: reading(True), x, y, **options) == outcome
    assert train(reading, x, y, **options, backend="threads", workers=2) == outcome
    assert outcome.weights != train(reading, x, y, **{**options, "shards": 2}).weights
