"""How windows slide over images: what convolutions and pooling have in common.

Images have three spatial axes here; one or two are given sizes of 1 in front. A window at output place `o`
reads, for tap `k` of an axis, the input at `o * stride + k * dilation - before`, which is zero (for a
convolution) or left out (for pooling) where it lies outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

AXES = 3
Sizes = tuple[int, ...]
Slices = tuple[slice, ...]


def _three(values: Sequence[int], filler: int) -> Sizes:
    return (filler,) * (AXES - len(values)) + tuple(int(value) for value in values)


@dataclass(frozen=True)
class Windows:
    """Sizes along three axes: of the image, the window, its steps, the padding before, the result."""

    inputs: Sizes
    kernel: Sizes
    strides: Sizes
    dilation: Sizes
    before: Sizes
    outputs: Sizes

    @property
    def taps(self) -> int:
        """Places that a window has."""
        return math.prod(self.kernel)

    @property
    def places(self) -> int:
        """Windows in an image."""
        return math.prod(self.outputs)

    @property
    def apartness(self) -> int:
        """1 if no two windows meet, 2 if, besides, each input is in one; else 0."""
        if any(taps > stride for taps, stride in zip(self.kernel, self.strides, strict=True)):
            return 0
        covered = tuple(taps * count for taps, count in zip(self.kernel, self.outputs, strict=True))
        return 2 if covered == self.inputs and self.kernel == self.strides else 1

    @property
    def sizes(self) -> Sizes:
        """All numbers in a row, as kernels read them: three each of the fields in turn."""
        both = (*self.inputs, *self.kernel, *self.strides)
        return (*both, *self.dilation, *self.before, *self.outputs)

    def parts(self) -> Iterator[tuple[Sizes, Slices, Slices]]:
        """For each tap: where it is, the outputs that it serves, and the inputs that they read."""
        for tap in _indices(self.kernel):
            outputs, inputs = [], []
            for axis in range(AXES):
                offset = tap[axis] * self.dilation[axis] - self.before[axis]
                stride = self.strides[axis]
                first = max(0, -(offset // stride))
                last = min(self.outputs[axis], (self.inputs[axis] - 1 - offset) // stride + 1)
                count = max(0, last - first)
                start = first * stride + offset if count else 0
                outputs.append(slice(first, first + count))
                inputs.append(slice(start, start + (count - 1) * stride + 1 if count else start, stride))
            yield tap, tuple(outputs), tuple(inputs)


def _indices(sizes: Sizes) -> Iterator[Sizes]:
    for i in range(math.prod(sizes)):
        rest, index = i, []
        for size in reversed(sizes):
            index.append(rest % size)
            rest //= size
        yield tuple(reversed(index))


def make_windows(
    inputs: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
) -> Windows:
    """Windows with Keras's padding "valid", "same" or "causal"; the result may be empty or less."""
    outputs, before = [], []
    for size, taps, stride, step in zip(inputs, kernel, strides, dilation, strict=True):
        reach = (taps - 1) * step + 1
        if padding == "valid":
            outputs.append((size - reach) // stride + 1)
            before.append(0)
            continue
        outputs.append((size - 1) // stride + 1)
        missing = max(0, (outputs[-1] - 1) * stride + reach - size)
        before.append(reach - 1 if padding == "causal" else missing // 2)
    return Windows(
        _three(inputs, 1),
        _three(kernel, 1),
        _three(strides, 1),
        _three(dilation, 1),
        _three(before, 0),
        _three(outputs, 1),
    )


def make_transposed_windows(
    inputs: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
    output_padding: Sequence[int] | None,
) -> Windows:
    """Windows of the convolution whose input gradient is Keras's transposed convolution of `inputs`.

    So `outputs` are the sizes given, and `inputs` those of the transposed convolution's result.
    """
    sizes, before = [], []
    for axis, (size, taps, stride, step) in enumerate(zip(inputs, kernel, strides, dilation, strict=True)):
        reach = (taps - 1) * step + 1
        extra = None if output_padding is None else output_padding[axis]
        if padding == "valid":
            sizes.append((size - 1) * stride + (max(reach, stride) if extra is None else reach + extra))
            before.append(0)
            continue
        if extra is None:
            total = stride + reach - 2
            sizes.append(size * stride)
        else:
            total = reach + reach % 2 - 2 + extra
            sizes.append((size - 1) * stride + reach % 2 + extra)
        before.append(reach - 1 - min(total // 2 + total % 2, reach - 1))
    return Windows(
        _three(sizes, 1),
        _three(kernel, 1),
        _three(strides, 1),
        _three(dilation, 1),
        _three(before, 0),
        _three(inputs, 1),
    )
