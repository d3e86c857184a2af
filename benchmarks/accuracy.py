"""How exact the float32 kernels are: each beside its float64 twin on the same values.

    python benchmarks/accuracy.py [--only convolution ...]

Functions of one value: the largest error over their range, in units of float32's last place and relative.
Sums (products, convolutions, statistics, recurrences, attention): the largest and the root mean square error
of outputs and of each gradient, divided by the root mean square of the exact values. float64 goes through
NumPy's BLAS, libm and plain loops, so the twin shares no arithmetic with what it judges. `limit` is what
tests/kernels/test_kernels_accuracy.py holds the larger figure of a case below.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from timing import machine, table  # noqa: E402

from distnn import ops  # noqa: E402
from distnn.autodiff import gradients  # noqa: E402
from distnn.graph import Graph, recording  # noqa: E402
from distnn.kernels import update  # noqa: E402
from distnn.kernels.recurrent_steps import GRU, LSTM, SIMPLE  # noqa: E402
from distnn.ops.recurrence import Recurrence  # noqa: E402
from distnn.tensor import Spec  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class FunctionCase:
    """A function of one value over a range; `limit` in units of the last place."""

    name: str
    function: Callable[[Any], Any]
    values: Array
    limit: float


@dataclass(frozen=True)
class SumCase:
    """An op whose results are sums; its inputs' shapes, and the limit of the largest error of any result."""

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    results: tuple[str, ...]
    limit: float


@dataclass(frozen=True)
class Error:
    """Of one result: as the module says."""

    result: str
    largest: float
    rms: float


def _spread_out(low: float, high: float) -> Array:
    """Values of every size up to the ends of a range, and evenly over it."""
    rng = np.random.default_rng(0)
    even = rng.uniform(low, high, 200_000)
    sizes = 10 ** rng.uniform(-9, np.log10(max(abs(low), high)), 50_000)
    both = np.concatenate([even, sizes, -sizes])
    return both[(both >= low) & (both <= high)].astype(np.float32)


FUNCTIONS = [
    FunctionCase("exp", ops.exp, _spread_out(-87, 88), 1.2),
    FunctionCase("expm1", ops.expm1, _spread_out(-87, 88), 2.0),
    FunctionCase("log", ops.log, _spread_out(1e-30, 1e30), 1.0),
    FunctionCase("log1p", ops.log1p, _spread_out(-0.999, 1e6), 2.0),
    FunctionCase("tanh", ops.tanh, _spread_out(-20, 20), 5.0),
    FunctionCase("sigmoid", ops.sigmoid, _spread_out(-80, 80), 3.0),
    FunctionCase("erf", ops.erf, _spread_out(-10, 10), 6.5),
    FunctionCase("softplus", ops.softplus, _spread_out(-80, 80), 2.5),
    FunctionCase("silu", ops.silu, _spread_out(-80, 80), 3.5),
    FunctionCase("sin", ops.sin, _spread_out(-1000, 1000), 0.51),
    FunctionCase("cos", ops.cos, _spread_out(-1000, 1000), 0.51),
    FunctionCase("arctan", ops.arctan, _spread_out(-1000, 1000), 0.51),
    FunctionCase("square root", ops.sqrt, _spread_out(0, 1e30), 0.51),
]


def _recurrence(kind: int) -> Callable[..., Any]:
    return lambda *inputs: Recurrence(kind, return_sequences=True)(*inputs)[0]


def _attention(is_causal: bool) -> Callable[..., Any]:
    return lambda q, k, v: ops.attend(q, k, v, num_heads=4, scale=32**-0.5, is_causal=is_causal)


def _conv(**options: Any) -> Callable[..., Any]:
    return lambda x, w: ops.conv(x, w, **options)


def _crossentropy(logits: Any) -> Any:
    labels = np.arange(logits.spec.shape[0], dtype=np.int32) * 7 % logits.spec.shape[1]
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def _batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return ops.batch_norm_training(x, gamma, beta, 1e-5)[0]


_WEIGHTS, _STATISTICS = ("y", "dx", "dw"), ("y", "dx", "dgamma", "dbeta")
_ONE_STATE, _TWO_STATES = ((32, 64),), ((32, 64), (32, 64))
_OF_CELL = ("y", "dx", "dkernel", "drecurrent", "dh")

SUMS = [
    SumCase("product 128 x 512 x 256", ops.matmul, ((128, 512), (512, 256)), ("y", "da", "db"), 6e-6),
    SumCase("product 8 x 2048 x 1000", ops.matmul, ((8, 2048), (2048, 1000)), ("y", "da", "db"), 1.2e-5),
    SumCase(
        "convolution 3 x 3 by Winograd, 64 to 64",
        _conv(padding="same"),
        ((8, 16, 16, 64), (3, 3, 64, 64)),
        _WEIGHTS,
        2e-5,
    ),
    SumCase(
        "convolution 3 x 3 by patches, 3 to 32",
        _conv(padding="same"),
        ((8, 32, 32, 3), (3, 3, 3, 32)),
        _WEIGHTS,
        3e-6,
    ),
    SumCase(
        "convolution 5 x 5, stride 2, 32 to 48",
        _conv(strides=2, padding="same"),
        ((8, 17, 17, 32), (5, 5, 32, 48)),
        _WEIGHTS,
        1e-5,
    ),
    SumCase(
        "depthwise convolution 3 x 3", ops.depthwise_conv, ((8, 16, 16, 64), (3, 3, 64, 1)), _WEIGHTS, 3e-6
    ),
    SumCase("max pooling 2", lambda x: ops.max_pool(x, 2), ((8, 16, 16, 64),), ("y", "dx"), 0.0),
    SumCase("average pooling 3", lambda x: ops.average_pool(x, 3), ((8, 15, 15, 64),), ("y", "dx"), 1e-6),
    SumCase("batch norm, 8192 rows", _batch_norm, ((8192, 64), (64,), (64,)), _STATISTICS, 2e-6),
    SumCase("layer norm", ops.layer_norm, ((1024, 128), (128,), (128,)), _STATISTICS, 5e-6),
    SumCase("softmax of 1000", ops.softmax, ((64, 1000),), ("y", "dx"), 2e-6),
    SumCase("softmax cross-entropy of 65", _crossentropy, ((2048, 65),), ("y", "dx"), 4e-6),
    SumCase("gelu", lambda x: ops.gelu(x, approximate=False), ((256, 512),), ("y", "dx"), 1.2e-6),
    SumCase("gelu by tanh", ops.gelu, ((256, 512),), ("y", "dx"), 1.5e-6),
    SumCase(
        "simple recurrence, 64 steps",
        _recurrence(SIMPLE),
        ((32, 64, 32), (32, 64), (64, 64), *_ONE_STATE, (64,)),
        (*_OF_CELL, "dbias"),
        1.5e-5,
    ),
    SumCase(
        "LSTM, 64 steps",
        _recurrence(LSTM),
        ((32, 64, 32), (32, 256), (64, 256), *_TWO_STATES, (256,)),
        (*_OF_CELL, "dc", "dbias"),
        4e-5,
    ),
    SumCase(
        "GRU, 64 steps",
        _recurrence(GRU),
        ((32, 64, 32), (32, 192), (64, 192), *_ONE_STATE, (2, 192)),
        (*_OF_CELL, "dbias"),
        4e-5,
    ),
    SumCase("attention of 4 heads", _attention(False), ((8, 64, 128),) * 3, ("y", "dq", "dk", "dv"), 1e-5),
    SumCase("attention, causal", _attention(True), ((8, 64, 128),) * 3, ("y", "dq", "dk", "dv"), 1e-5),
]


def function_error(case: FunctionCase) -> Error:
    """The largest error in units of the last place, and relative."""
    exact = case.function(case.values.astype(np.float64))
    is_normal = np.abs(exact) > 1.2e-38
    found, exact = case.function(case.values)[is_normal].astype(np.float64), exact[is_normal]
    errors = np.abs(found - exact)
    last_place = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    return Error("y", float((errors / last_place).max()), float((errors / np.abs(exact)).max()))


def _results(case: SumCase, dtype: Any) -> list[Array]:
    """The output, and the gradient of a random sum of it by each input."""
    rng = np.random.default_rng(0)
    inputs = [_values(rng, shape) for shape in case.shapes]
    graph = Graph(eager=True, dtype=dtype, training=True)
    with recording(graph):
        tensors = [
            graph.add_input(f"x{i}", Spec(array.shape), array.astype(dtype)) for i, array in enumerate(inputs)
        ]
        y = case.call(*tensors)
        seed = graph.constant(rng.normal(size=y.spec.shape).astype(np.float32))
        found = gradients(graph, [(y, seed)], tensors)
    return [y.numpy(), *(gradient.numpy() for gradient in found if gradient is not None)]


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Noise; weights (all but the first, large input) as an initializer would have them."""
    scale = 1.0 if len(shape) != 2 or shape[0] > 256 else shape[0] ** -0.5
    return (scale * rng.normal(size=shape)).astype(np.float32)


def sum_errors(case: SumCase) -> list[Error]:
    """Of each result."""
    found = []
    pairs = zip(case.results, _results(case, np.float32), _results(case, np.float64), strict=True)
    for name, single, double in pairs:
        size = np.sqrt(np.mean(double**2))
        errors = np.abs(single.astype(np.float64) - double)
        found.append(Error(name, float(errors.max() / size), float(np.sqrt(np.mean(errors**2)) / size)))
    return found


def _adam(w: Array, g: Array, m: Array, v: Array) -> tuple[Array, ...]:
    new_m, new_v = m + (g - m) * (1 - 0.9), v + (g * g - v) * (1 - 0.999)
    return w - 0.01 * new_m / (np.sqrt(new_v) + 1e-7), new_m, new_v


def _momentum(w: Array, g: Array, m: Array) -> tuple[Array, ...]:
    new_m = 0.9 * m - 0.01 * g
    return w + new_m, new_m


@dataclass(frozen=True)
class UpdateCase:
    """An optimizer's kernel, its formula for float64, and the limit of the largest error."""

    name: str
    kernel: Callable[..., Any]
    formula: Callable[..., tuple[Array, ...]]
    slots: int
    limit: float


UPDATES = [
    UpdateCase("SGD with momentum", update.sgd_momentum, _momentum, 1, 6e-7),
    UpdateCase("Adam", update.adam, _adam, 2, 5e-7),
]


def update_errors(case: UpdateCase) -> list[Error]:
    """Of the new weights and slots."""
    rng = np.random.default_rng(0)
    size = 100_000
    w, g = (rng.normal(size=size).astype(np.float32) for _ in range(2))
    slots = np.abs(rng.normal(size=(case.slots, size))).astype(np.float32)
    scalars = np.zeros(update.NUM_SCALARS)
    scalars[update.GRADIENT_SCALE], scalars[update.CLIP_VALUE] = 1.0, np.inf
    scalars[update.LEARNING_RATE] = scalars[update.ALPHA] = 0.01
    scalars[update.MOMENTUM], scalars[update.BETA_1], scalars[update.BETA_2] = 0.9, 0.9, 0.999
    scalars[update.EPSILON] = 1e-7
    new_w, new_slots = np.empty_like(w), np.empty_like(slots)
    case.kernel(w, g, slots, new_w, new_slots, scalars, 0, size)
    exact = case.formula(*(array.astype(np.float64) for array in (w, g, *slots)))
    found = []
    for name, single, double in zip(("w", "slot", "slot 2"), (new_w, *new_slots), exact, strict=False):
        rms = np.sqrt(np.mean(double**2))
        errors = np.abs(single - double)
        found.append(Error(name, float(errors.max() / rms), float(np.sqrt(np.mean(errors**2)) / rms)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names")
    options = parser.parse_args()

    def is_wanted(case: FunctionCase | SumCase | UpdateCase) -> bool:
        return any(part in case.name for part in options.only)

    rows = [
        [case.name, f"{(error := function_error(case)).largest:.2f}", f"{error.rms:.1e}"]
        for case in filter(is_wanted, FUNCTIONS)
    ]
    print(table(["function", "largest error, last places", "largest, relative"], rows), end="\n\n")
    measured = [(case.name, sum_errors(case)) for case in filter(is_wanted, SUMS)]
    measured += [(case.name, update_errors(case)) for case in filter(is_wanted, UPDATES)]
    rows = [
        [name, ", ".join(f"{error.result} {error.largest:.1e}" for error in errors)]
        + [", ".join(f"{error.result} {error.rms:.1e}" for error in errors)]
        for name, errors in measured
    ]
    print(table(["sums", "largest error / rms of the exact", "rms error / rms of the exact"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
