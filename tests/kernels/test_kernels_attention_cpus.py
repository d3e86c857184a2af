"""Attention and noise give the same bytes compiled for AVX2 and for this machine."""

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
from distnn.kernels import activations, attention, noise, trigonometry

rng = np.random.default_rng(0)

def show(name, *arrays):
    print(name, hashlib.blake2b(b"".join(a.tobytes() for a in arrays), digest_size=8).hexdigest())

for causal, queries, keys in ((False, 21, 37), (True, 50, 50)):
    q, k, v, do = (rng.normal(size=(2, n, 30)).astype(np.float32) for n in (queries, keys, keys, queries))
    o, p = np.empty_like(do), np.empty((2, 3, queries, keys), np.float32)
    found = tuple(np.empty_like(part) for part in (q, k, v))
    attention.bind_attention(q, k, v, np.zeros((0, 0, 0), np.bool_), 0.3, causal, o, p)()
    attention.bind_attention_gradient((q, k, v, p, do), 0.3, causal, found)()
    show("attention", o, p, *found)
x = (rng.normal(size=1001) * 4).astype(np.float32)
y, slope = np.empty_like(x), np.empty_like(x)
noise.normal_noise(np.arange(8), 5, 0.7, y)
show("noise", y)
noise.gamma_noise(np.arange(8), 5, np.abs(x) + 0.1, y)
show("gamma", y)
activations.gelu_with_slope(x, y, slope)
show("gelu_with_slope", y, slope)
trigonometry.sin_forward(x, y)
show("sin", y)
trigonometry.arctan_forward(x, y)
show("arctan", y)
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="about compiled code")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for an x86-64 CPU")
def test_attention_and_noise_give_the_same_bytes_with_avx2(tmp_path: Path) -> None:
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
    assert len(here) == 7
    assert haswell == here
