"""Starting Ray without what only clusters need; and a Ray that has no such parameters."""

from __future__ import annotations

import pytest
from ray._private import parameter

from cluster.lean_start import PARAMETERS, lean_start


def test_ray_is_started_with_them_and_then_as_before() -> None:
    before = parameter.RayParams
    with pytest.raises(ZeroDivisionError), lean_start():
        # None is made: that would settle for this process how Ray asks for tokens.
        assert parameter.RayParams.func is before
        assert parameter.RayParams.keywords == PARAMETERS
        raise ZeroDivisionError
    assert parameter.RayParams is before


def test_a_ray_without_such_parameters_is_started_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __init__(self, include_log_monitor: bool = True) -> None:
            pass

    monkeypatch.setattr(parameter, "RayParams", Other)
    with lean_start():
        assert parameter.RayParams is Other
    monkeypatch.delattr(parameter, "RayParams")
    with lean_start():
        assert not hasattr(parameter, "RayParams")
