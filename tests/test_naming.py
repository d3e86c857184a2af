"""The near names for a misspelt one."""

from __future__ import annotations

import pytest

from distnn import layers, losses
from distnn.naming import did_you_mean, did_you_mean_or_known, near


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("rellu", ["relu", "gelu", "tanh", "relu6"], ["relu", "relu6"]),
        ("MAXPOOL", ["MaxPool1D", "MaxPool2D", "MaxPool3D", "Max"], ["MaxPool3D", "MaxPool2D", "MaxPool1D"]),
        ("aaaa", ["aaab", "aaac", "aaad", "aaae"], ["aaae", "aaad", "aaac"]),
        ("he_norml", ["HeNormal", "he_normal", "zeros"], ["he_normal"]),
        ("HeNorml", ["HeNormal", "he_normal", "zeros"], ["HeNormal"]),
        ("xyz", ["relu", "gelu"], []),
        ("xyz", [], []),
    ],
)
def test_near_names_are_few_and_the_likest_first(name: str, options: list[str], expected: list[str]) -> None:
    assert near(name, options) == expected


def test_hint_names_up_to_three() -> None:
    assert did_you_mean("aaaa", ["aaab"]) == " Did you mean 'aaab'?"
    assert did_you_mean("aaaa", ["aaab", "aaac"]) == " Did you mean 'aaac' or 'aaab'?"
    assert did_you_mean("aaaa", ["aaab", "aaac", "aaad"]) == " Did you mean 'aaad', 'aaac' or 'aaab'?"
    assert did_you_mean(3, ["3"]) == did_you_mean("x", ["relu"]) == ""


def test_all_names_are_listed_only_where_none_is_near() -> None:
    assert did_you_mean_or_known("rellu", ["relu", "tanh"]) == " Did you mean 'relu'?"
    assert did_you_mean_or_known("x", ["relu", "tanh"]) == " Known: relu, tanh."
    with pytest.raises(ValueError, match=r"^Unknown layer: 'Dens'. Did you mean 'Dense'\?$"):
        layers.get_class("Dens")
    with pytest.raises(ValueError, match=r"^Could not interpret loss identifier: 3. Known: .*, tversky\.$"):
        losses.get(3)
