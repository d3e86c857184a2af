"""Every op in a planned program gives the bytes that it gives when run one by one; float32 and float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_ops_gradients import CASES, Case, values_of

from distnn import ops
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.ops.activations import BiasActivation
from distnn.ops.softmax import Softmax
from distnn.program import Program, Results
from distnn.tensor import Batch, Spec
from distnn.weights import WeightLayout

Array = np.ndarray[Any, np.dtype[Any]]


def record(case: Case, values: list[Array], dtype: Any, eager: bool) -> tuple[Graph, list[Any]]:
    """The graph of a case and its gradients, and the tensors wanted."""
    graph = Graph(samples=7, eager=eager, concrete=True, dtype=dtype, training=True)
    graph.control[:4] = (99, 2, 1, 7)
    leaves = [
        graph.add_input(f"x{i}", Spec(value.shape), value if eager else None)
        for i, value in enumerate(values)
    ]
    with recording(graph):
        output = case.call(*leaves)
    seed = np.random.default_rng(1).normal(size=output.spec.concrete(7)).astype(dtype)
    found = gradients(graph, [(output, graph.constant(seed))], leaves)
    return graph, [output, *(tensor for tensor in found if tensor is not None)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_program_and_eager_run_give_the_same_bytes(case: Case, dtype: Any) -> None:
    values = [np.ascontiguousarray(value, dtype) for value in values_of(case)]
    _, wanted = record(case, values, dtype, eager=True)
    graph, tensors = record(case, values, dtype, eager=False)
    program = Program(graph, WeightLayout([], []), Results(outputs=tuple(tensors)), 7)
    program.control[:4] = (99, 2, 1, 7)
    bound = program.bind(7, np.zeros(0, np.float32), None)
    for _ in range(2):
        for i, value in enumerate(values):
            bound.inputs[f"x{i}"][...] = value
        bound.run()
        for array, tensor in zip(bound.outputs, wanted, strict=True):
            assert array.tobytes() == tensor.numpy().tobytes()


def small_net(graph: Graph, activation: Any) -> tuple[Any, Any]:
    """Loss values and class probabilities of one dense layer."""
    x = graph.add_input("x", Spec((Batch(), 5)))
    labels = graph.add_input("y", Spec((Batch(),), "int32"))
    bias = graph.add_input("b", Spec((3,)))
    weights = graph.add_input("w", Spec((5, 3)))
    with recording(graph):
        logits = activation(ops.bias_add(ops.matmul(x, weights), bias))
        probabilities = ops.softmax(logits)
        loss = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return loss, probabilities


def test_bias_and_activation_become_one_pass_and_softmax_comes_from_the_loss() -> None:
    graph = Graph(samples=4)
    loss, probabilities = small_net(graph, ops.tanh)
    program = Program(graph, WeightLayout([], []), Results(outputs=(loss, probabilities)), 4)
    kinds = [type(node.op) for node in program.nodes]
    assert BiasActivation in kinds and Softmax not in kinds
    assert len(program.nodes) == 3


def test_one_program_serves_every_number_of_samples() -> None:
    graph = Graph(samples=6)
    loss, probabilities = small_net(graph, ops.relu)
    program = Program(graph, WeightLayout([], []), Results(outputs=(loss, probabilities)), 6)
    rng = np.random.default_rng(0)
    whole = {"x": rng.normal(size=(6, 5)), "y": rng.integers(0, 3, 6), "b": rng.normal(size=3)}
    whole["w"] = rng.normal(size=(5, 3))
    for samples in (6, 1, 4):
        bound = program.bind(samples, np.zeros(0, np.float32), None)
        for name, value in whole.items():
            bound.inputs[name][...] = value[:samples] if name in "xy" else value
        bound.run()
        z = np.maximum(whole["x"][:samples] @ whole["w"] + whole["b"], 0)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(bound.outputs[1], p, rtol=1e-5)
        np.testing.assert_allclose(
            bound.outputs[0], -np.log(p[np.arange(samples), whole["y"][:samples]]), rtol=1e-4, atol=1e-6
        )
