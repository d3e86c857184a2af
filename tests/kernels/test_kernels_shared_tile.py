"""The one compiled tile that convolutions call: the bytes of a product."""

from __future__ import annotations

import numpy as np
import pytest

from distnn.kernels.instructions import HAS_TILES
from distnn.kernels.products import matmul
from distnn.kernels.shared_tile import multiply_panel
from distnn.kernels.tiles import PANEL, TILE_ROWS
from distnn.weights import aligned_zeros


@pytest.mark.skipif(not HAS_TILES, reason="needs a CPU with AVX2 and FMA")
@pytest.mark.parametrize("rows", [1, 3, TILE_ROWS, 2 * TILE_ROWS + 3])
@pytest.mark.parametrize("columns", [1, PANEL // 2, PANEL - 1, PANEL])
def test_multiply_panel_is_a_product(rows: int, columns: int, rng: np.random.Generator) -> None:
    inner = 19
    a = rng.normal(size=(rows, inner)).astype(np.float32)
    panel = aligned_zeros(inner * PANEL).reshape(inner, PANEL)
    panel[:, :columns] = rng.normal(size=(inner, columns))
    found, expected = np.full((rows, PANEL), np.nan, np.float32), np.zeros((rows, columns), np.float32)
    strides = a.strides[0], a.strides[1], panel.ctypes.data, 4 * PANEL, found.ctypes.data, 4 * PANEL
    multiply_panel(a.ctypes.data, *strides, rows, columns, inner)
    matmul(a, np.ascontiguousarray(panel[:, :columns]), expected)
    assert found[:, :columns].tobytes() == expected.tobytes()
    assert np.isnan(found[:, columns:]).all(), "nothing is written beyond"
