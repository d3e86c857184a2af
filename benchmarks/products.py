"""GF/s of the products of a training step, ours and NumPy's, side by side in one sitting.

    python benchmarks/products.py [--threads N] [--processes N] [--small-pages] [--only NAME ...]
        [--seconds S] [--json FILE]

For each dense layer of the reference nets: forward x @ w, weight gradient x^T @ dy, input gradient dy @
w^T, at the whole batch and at half of it (two shards); beside them products that fit a core's L2 cache, and
some of one to eight rows. The sides take turns in repeats of about 0.2 ms; the median of each and the
median ratio are shown. As workers find it: with `--processes` others compute the same product meanwhile,
each process on a core of its own, and with `--small-pages` the operands lie in pages of 4 KB, as shared
memory does. With more than one thread OpenBLAS's keep spinning for a while after a product, at our expense:
read such figures with care.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from models import MLPS  # noqa: E402

from distnn.kernels.products import bind_matmul, product_settings, products_kind  # noqa: E402
from distnn.threads import product_threads  # noqa: E402
from distnn.weights import aligned_zeros  # noqa: E402

REPEAT_S = 2e-4
COMPANY_STARTS_S = 1.5


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
        yield Case("fits L2", 256, rows, 256, transpose_a=True)
        yield Case("fits L2", rows, 256, 256, transpose_b=True)
    for rows in range(1, 9):
        yield Case("few rows", rows, 256, 256)
        yield Case("few rows", rows, 2048, 2048)
        yield Case("few rows", rows, 256, 256, transpose_b=True)
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


def matrix(rows: int, columns: int, seed: int, has_small_pages: bool) -> np.ndarray:
    """Aligned as the buffers of a program are."""
    if has_small_pages:
        memory = mmap.mmap(-1, 4 * rows * columns)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        values = np.frombuffer(memory, np.float32)
    else:
        values = aligned_zeros(rows * columns)
    values[:] = np.random.default_rng(seed).normal(size=rows * columns)
    return values.reshape(rows, columns)


def both_sides(case: Case, has_small_pages: bool) -> list[Callable[[], object]]:
    shapes = [(case.rows, case.inner), (case.inner, case.columns)]
    for place, is_turned in enumerate((case.transpose_a, case.transpose_b)):
        if is_turned:
            shapes[place] = shapes[place][::-1]
    shapes += [(case.rows, case.columns)] * 2
    a, b, ours, numpys = (matrix(*shape, seed, has_small_pages) for seed, shape in enumerate(shapes))
    turns = {"transpose_a": case.transpose_a, "transpose_b": case.transpose_b}
    calls = [bind_matmul(a, b, ours, **turns)]
    with product_settings(kind="blas"):
        calls.append(bind_matmul(a, b, numpys, **turns))
    return calls


def accompany(case: Case, options: argparse.Namespace, core: int) -> None:
    """What the other processes do: our side of the case, until they are ended."""
    os.sched_setaffinity(0, {core})
    call = both_sides(case, options.small_pages)[0]
    while True:
        call()


@contextmanager
def company(case: Case, options: argparse.Namespace, cores: list[int]) -> Iterator[None]:
    """Inside, one process for each core computes the case."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=accompany, args=(case, options, core), daemon=True) for core in cores]
    for other in others:
        other.start()
    if others:
        time.sleep(COMPANY_STARTS_S)
    try:
        yield
    finally:
        for other in others:
            other.terminate()
            other.join()


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


def measure(case: Case, options: argparse.Namespace, cores: list[int]) -> dict[str, float]:
    with company(case, options, cores[1:]):
        ours, numpys = alternate(both_sides(case, options.small_pages), options.seconds)
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
    parser.add_argument("--only", nargs="+", help="names of nets, or 'fits L2', 'few rows', '2048 x 2048'")
    parser.add_argument("--seconds", type=float, default=0.3, help="per product, both sides together")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="of which one is timed; a core for each")
    parser.add_argument("--small-pages", action="store_true", help="operands in pages of 4 KB")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: options.processes]
    if len(cores) < options.processes:
        parser.error(f"--processes {options.processes} needs as many cores; {len(cores)} may be used")
    if options.processes > 1:
        os.sched_setaffinity(0, {cores[0]})
    print(
        f"float32, {products_kind()} against NumPy's BLAS, {options.threads} thread(s), "
        f"{options.processes} process(es); GF/s: median (best)\n"
    )
    print(
        "| net | product | rows x inner x columns | ours | NumPy | times faster |\n|---|---|---|---|---|---|"
    )
    rows = []
    for case in cases():
        if options.only and case.name not in options.only:
            continue
        with product_threads(options.threads):
            found = measure(case, options, cores)
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
