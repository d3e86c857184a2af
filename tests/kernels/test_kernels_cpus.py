"""The same bytes on another type of CPU: kernels compiled for AVX2 and for this machine."""

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
from distnn.kernels import activations, normalization, products, random, softmax, update
from distnn.kernels import recurrent_plans as plans
from distnn.ops.recurrence import Recurrence, RecurrenceGradient
from distnn.tensor import Spec

rng = np.random.default_rng(0)
x = (rng.normal(size=(41, 37)) * 4).astype(np.float32)
flat, vector = x.reshape(-1), x[0].copy()
y, per_row = np.empty_like(x), [np.empty(41, np.float32) for _ in range(2)]

def show(name, *arrays):
    print(name, hashlib.blake2b(b"".join(a.tobytes() for a in arrays), digest_size=8).hexdigest())

activations.gelu_gradient(flat, flat[::-1].copy(), y.reshape(-1))
show("gelu_gradient", y)
softmax.sparse_cross_entropy(x, np.arange(41, dtype=np.int32) % 37, per_row[0], y)
show("sparse_cross_entropy", per_row[0], y)
normalization.layer_norm(x, vector, vector, 1e-3, y, *per_row)
show("layer_norm", y, *per_row)
slots = np.abs(rng.normal(size=(2, flat.size))).astype(np.float32)
out, slots_out = np.empty_like(flat), np.empty_like(slots)
scalars = np.linspace(0.1, 0.9, update.NUM_SCALARS)
print("adam", update.adam(flat, flat[::-1].copy(), slots, out, slots_out, scalars, 0, flat.size))
mask = np.empty(flat.size, np.uint8)
random.dropout(flat, np.arange(8), 5, 1 << 31, 2.0, out, mask)
show("dropout", out, mask)
shapes = [(41, 300, 70, 0), (100, 37, 64, 1), (13, 64, 45, 2), (70, 90, 10, 3), (600, 20, 9, 1)]
shapes += [(1, 30, 300, 0), (3, 600, 150, 0), (8, 1100, 50, 2), (64, 540, 70, 2), (66, 530, 1024, 0)]
for rows, inner, columns, turns in shapes:
    a = rng.normal(size=(inner, rows) if turns & 1 else (rows, inner)).astype(np.float32)
    b = rng.normal(size=(columns, inner) if turns & 2 else (inner, columns)).astype(np.float32)
    c = np.empty((rows, columns), np.float32)
    products.bind_matmul(a, b, c, transpose_a=bool(turns & 1), transpose_b=bool(turns & 2))()
    show("product", c)
for kind in range(3):
    cell, units = plans.CellKind(kind), 37
    shapes = [(13, 5, 9), (9, cell.columns * units), (units, cell.columns * units)]
    shapes += [(13, units)] * (2 if kind == 1 else 1)
    given = [(0.5 * rng.normal(size=shape)).astype(np.float32) for shape in shapes]
    def run(op, inputs):
        specs = op.output_specs(*(Spec(a.shape, a.dtype.name) for a in inputs))
        outputs = [np.zeros(spec.concrete(1), spec.dtype) for spec in specs]
        op.bind(tuple(inputs), tuple(outputs), None)()
        return outputs
    outputs = run(Recurrence(kind, return_sequences=True, has_bias=False), given)
    show("recurrence", outputs[0], outputs[1])
    back = run(RecurrenceGradient(kind, 0, True, False, False), [given[2], *outputs[4:8], outputs[0]])
    show("recurrence_gradient", *back[:3])
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="about compiled code")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for an x86-64 CPU")
def test_kernels_give_the_same_bytes_with_avx2(tmp_path: Path) -> None:
    def run(**environment: str) -> list[str]:
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONPATH": str(root), **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    here = run()
    haswell = run(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="", DISTNN_CACHE_DIR=str(tmp_path / "haswell"))
    assert len(here) == 21
    assert haswell == here
