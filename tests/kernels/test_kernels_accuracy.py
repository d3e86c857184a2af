"""What `benchmarks/accuracy.py` shows of each kernel stays below the limits it names."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from distnn.kernels.products import products_kind

pytestmark = pytest.mark.skipif(products_kind() != "tiles", reason="judges the register tiles' kernels")
ACCURACY = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "accuracy.py"))


def by_name(cases: list[Any]) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in cases]


@pytest.mark.parametrize("case", by_name(ACCURACY["FUNCTIONS"]))
def test_functions_are_exact_to_some_last_places(case: Any) -> None:
    error = ACCURACY["function_error"](case)
    assert 0 < error.largest <= case.limit


@pytest.mark.parametrize("case", by_name(ACCURACY["SUMS"]))
def test_sums_are_exact_to_a_part_of_their_size(case: Any) -> None:
    errors = ACCURACY["sum_errors"](case)
    assert [error.result for error in errors] == list(case.results)
    assert max(error.largest for error in errors) <= case.limit


@pytest.mark.parametrize("case", by_name(ACCURACY["UPDATES"]))
def test_updates_are_exact_to_a_part_of_their_size(case: Any) -> None:
    errors = ACCURACY["update_errors"](case)
    assert len(errors) == 1 + case.slots
    assert 0 < max(error.largest for error in errors) <= case.limit
