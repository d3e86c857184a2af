"""Convolutions and pooling give the same bytes when compiled for AVX2 and for this machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import hashlib
import numpy as np
from distnn import ops
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.program import Program, Results
from distnn.tensor import Spec
from distnn.weights import WeightLayout

rng = np.random.default_rng(0)

def show(name, call, *shapes):
    graph = Graph(samples=5, eager=True)
    leaves = []
    for i, shape in enumerate(shapes):
        value = rng.normal(size=shape).astype(np.float32)
        leaves.append(graph.add_input(f"x{i}", Spec(shape), value))
    with recording(graph):
        output = call(*leaves)
    seed = graph.constant(rng.normal(size=output.numpy().shape).astype(np.float32))
    found = [output, *gradients(graph, [(output, seed)], leaves)]
    digest = hashlib.blake2b(b"".join(t.numpy().tobytes() for t in found), digest_size=8)
    print(name, digest.hexdigest())

def same(x, w):
    return ops.conv(x, w, padding="same")

def show_pooled(name, image, weights):
    graph = Graph(samples=5, concrete=True)
    shapes = ((5, *image), weights, weights[-1:])
    with recording(graph):
        leaves = [graph.add_input(f"x{i}", Spec(shape)) for i, shape in enumerate(shapes)]
        x, w, bias = leaves
        output = ops.max_pool(ops.relu(ops.bias_add(ops.conv(x, w), bias)), 2)
    seed = graph.constant(rng.normal(size=output.spec.concrete(5)).astype(np.float32))
    found = gradients(graph, [(output, seed)], leaves)
    program = Program(graph, WeightLayout([], []), Results(outputs=(output, *found)), 5)
    assert program.nodes[0].op.name == "pooled_convolution"
    bound = program.bind(5, np.zeros(0, np.float32), None)
    for i, shape in enumerate(shapes):
        bound.inputs[f"x{i}"][:] = rng.normal(size=shape)
    bound.run()
    digest = hashlib.blake2b(b"".join(array.tobytes() for array in bound.outputs), digest_size=8)
    print(name, digest.hexdigest())

show("winograd", same, (5, 13, 11, 32), (3, 3, 32, 48))
show("winograd of many channels", same, (5, 8, 8, 128), (3, 3, 128, 80))
show("patches of few channels", same, (5, 13, 11, 3), (3, 3, 3, 20))
show("patches with strides", lambda x, w: ops.conv(x, w, 2), (5, 9, 11, 40), (5, 5, 40, 33))
show("patches in groups", lambda x, w: ops.conv(x, w, dilation_rate=2), (5, 9, 6), (3, 2, 9))
show("transposed", lambda x, w: ops.conv_transpose(x, w, 2, "same"), (5, 5, 6, 7), (4, 4, 9, 7))
show("depthwise", ops.depthwise_conv, (5, 9, 11, 37), (3, 3, 37, 1))
show("max pool", lambda x: ops.max_pool(x, 3, 2, "same"), (5, 9, 11, 37))
show_pooled("pooled by winograd", (13, 11, 32), (3, 3, 32, 48))
show_pooled("pooled by patches", (13, 11, 1), (3, 3, 1, 20))
show("average pool", lambda x: ops.average_pool(x, 3, 2, "same"), (5, 9, 11, 37))
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="about compiled code")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for an x86-64 CPU")
def test_images_give_the_same_bytes_with_avx2(tmp_path: Path) -> None:
    def run(**environment: str) -> list[str]:
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONPATH": str(root), **environment},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    here = run()
    haswell = run(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="", DISTNN_CACHE_DIR=str(tmp_path / "haswell"))
    assert len(here) == 11
    assert haswell == here
