"""GF/s of the products of a training step, ours and NumPy's, side by side in one sitting.

    python benchmarks/products.py [--threads N] [--only NAME ...] [--seconds S] [--json FILE]

For each dense layer of the reference nets: forward x @ w, weight gradient x^T @ dy, input gradient dy @ w^T,
at the whole batch and at half of it (two shards); beside them products that fit a core's L2 cache. The sides
take turns in repeats of about 0.2 ms; the median of each and the median ratio are shown. With more than one
thread OpenBLAS's keep spinning for a while after a product, at our expense: read such figures with care.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from models import MLPS  # noqa: E402

from distnn.kernels.products import bind_matmul, product_settings, products_kind  # noqa: E402
from distnn.threads import product_threads  # noqa: E402
from distnn.weights import aligned_zeros  # noqa: E402

REPEAT_S = 2e-4


@dataclass(frozen=True)
class Case:
    """One product: rows x inner x columns, of operands that lie transposed or not."""

    name: str
    rows: int
    inner: int
    columns: int
    transpose_a: bool = False
    transpose_b: bool = False

    @property
    def kind(self) -> str:
        if self.transpose_a:
            return "weight gradient"
        return "input gradient" if self.transpose_b else "forward"

    @property
    def gigaflops(self) -> float:
        return 2e-9 * self.rows * self.inner * self.columns


def cases() -> Iterator[Case]:
    for rows in (8, 16, 32, 64, 128):
        yield Case("fits L2", rows, 256, 256)
        yield Case("fits L2", rows, 512, 256)
    for name, mlp in MLPS.items():
        sizes = (mlp.inputs, *mlp.units)
        for batch in (mlp.batch_size, mlp.batch_size // 2):
            for layer, (inputs, units) in enumerate(zip(sizes, sizes[1:], strict=False)):
                yield Case(name, batch, inputs, units)
                yield Case(name, inputs, batch, units, transpose_a=True)
                if layer:
                    yield Case(name, batch, units, inputs, transpose_b=True)
    for batch in (64, 128, 256):
        yield Case("2048 x 2048", batch, 2048, 2048)
        yield Case("2048 x 2048", 2048, batch, 2048, transpose_a=True)
        yield Case("2048 x 2048", batch, 2048, 2048, transpose_b=True)


def matrix(rows: int, columns: int, seed: int) -> np.ndarray:
    """Aligned as the buffers of a program are."""
    values = aligned_zeros(rows * columns)
    values[:] = np.random.default_rng(seed).normal(size=rows * columns)
    return values.reshape(rows, columns)


def both_sides(case: Case) -> list[Callable[[], object]]:
    a = matrix(*((case.inner, case.rows) if case.transpose_a else (case.rows, case.inner)), seed=1)
    b = matrix(*((case.columns, case.inner) if case.transpose_b else (case.inner, case.columns)), seed=2)
    turns = {"transpose_a": case.transpose_a, "transpose_b": case.transpose_b}
    calls = [bind_matmul(a, b, matrix(case.rows, case.columns, 3), **turns)]
    with product_settings(kind="blas"):
        calls.append(bind_matmul(a, b, matrix(case.rows, case.columns, 4), **turns))
    return calls


def alternate(calls: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Seconds a call of each side, repeat by repeat."""
    counts = []
    for call in calls:
        call()
        began = time.perf_counter()
        call()
        counts.append(max(1, round(REPEAT_S / (time.perf_counter() - began))))
    times: list[list[float]] = [[] for _ in calls]
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times[0]) < 7:
        for call, count, found in zip(calls, counts, times, strict=True):
            began = time.perf_counter()
            for _ in range(count):
                call()
            found.append((time.perf_counter() - began) / count)
    return times


def measure(case: Case, seconds: float) -> dict[str, float]:
    ours, numpys = alternate(both_sides(case), seconds)
    ratios = [theirs / mine for mine, theirs in zip(ours, numpys, strict=True)]
    return {
        "ours": case.gigaflops / statistics.median(ours),
        "numpy": case.gigaflops / statistics.median(numpys),
        "ours_best": case.gigaflops / min(ours),
        "numpy_best": case.gigaflops / min(numpys),
        "ratio": statistics.median(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", help="names of nets, or 'fits L2', '2048 x 2048'")
    parser.add_argument("--seconds", type=float, default=0.3, help="per product, both sides together")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args()
    print(
        f"float32, {products_kind()} against NumPy's BLAS, {options.threads} thread(s); GF/s: median (best)\n"
    )
    print(
        "| net | product | rows x inner x columns | ours | NumPy | times faster |\n|---|---|---|---|---|---|"
    )
    rows = []
    for case in cases():
        if options.only and case.name not in options.only:
            continue
        with product_threads(options.threads):
            found = measure(case, options.seconds)
        rows.append({"name": case.name, "kind": case.kind, **vars(case), **found})
        print(
            f"| {case.name} | {case.kind} | {case.rows} x {case.inner} x {case.columns} "
            f"| {found['ours']:.0f} ({found['ours_best']:.0f}) "
            f"| {found['numpy']:.0f} ({found['numpy_best']:.0f}) | {found['ratio']:.2f} |",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
