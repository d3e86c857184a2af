"""Windows of a series as samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.data.dataset import ArrayDataset


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> ArrayDataset:
    """A sample for each window of `sequence_length` steps: `data[i], data[i + sampling_rate], ...`.

    Args:
        data: the series, time along axis 0.
        targets: `targets[i]` belongs to the window that begins at `data[i]`; or None.
        sequence_length: steps of a window.
        sequence_stride: steps between the beginnings of windows.
        sampling_rate: steps between the values of a window.
        batch_size: of the batches.
        shuffle: give the windows in an order from `seed`.
        seed: of that order.
        start_index, end_index: use only this part of the series.

    Returns:
        The windows, which hold copies of the values.
    """
    series = np.asarray(data)
    counts = {"sequence_length": sequence_length, "sequence_stride": sequence_stride}
    for name, value in {**counts, "sampling_rate": sampling_rate}.items():
        if value <= 0 or (name != "sequence_length" and value >= len(series)):
            raise ValueError(
                f"`{name}` must be higher than 0 and lower than the length of the data ({len(series)}). "
                f"Received: {name}={value}"
            )
    first, last = start_index or 0, len(series) if end_index is None else end_index
    if not 0 <= first < last <= len(series):
        raise ValueError(
            f"`start_index` and `end_index` must lie in the data (0 to {len(series)}), in this order. "
            f"Received: start_index={start_index}, end_index={end_index}"
        )
    windows = last - first - (sequence_length - 1) * sampling_rate
    if targets is not None:
        windows = min(windows, len(targets))
    starts = np.arange(0, max(0, windows), sequence_stride)
    if shuffle:
        starts = np.random.default_rng(seed).permutation(starts)
    indices = starts[:, None] + sampling_rate * np.arange(sequence_length)
    y = None if targets is None else np.asarray(targets)[first:last][starts]
    return ArrayDataset(series[first:last][indices], y, batch_size, shuffle)
