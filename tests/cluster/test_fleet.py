"""Machines that are not alike are refused or named."""

from __future__ import annotations

import re

from cluster.fleet import mixed_fleet_message, other_version_message, package_digest
from distnn.recipe import arithmetic_facts


def test_equal_machines_give_no_warning() -> None:
    facts = arithmetic_facts()
    assert mixed_fleet_message(facts, {"a": facts, "b": arithmetic_facts()}) is None


def test_a_mixed_fleet_is_named_with_what_differs() -> None:
    facts = {"numpy": "2.0", "blas": [{"architecture": "SkylakeX"}]}
    other = {"numpy": "2.0", "blas": [{"architecture": "Haswell"}]}
    message = mixed_fleet_message(facts, {"left": facts, "right": other})
    assert message is not None
    assert "right: blas" in message and "Haswell" in message and "left" not in message


def test_another_version_names_the_hosts_once() -> None:
    assert "is installed on a, b than here" in other_version_message(["b", "a", "b"])
    assert re.fullmatch("[0-9a-f]{32}", package_digest())
