"""Exceptions raised while a shard was computed, as text and values that can travel.

Frames of ray, numba, distnn and cluster are left out: what remains is the user's own code, if any was
involved. Called by workers.
"""

from __future__ import annotations

import copy
import importlib.util
import sysconfig
import traceback
from functools import cache
from pathlib import Path

from cluster.crew import Failure
from distnn.errors import FaultPlace

_OWN_PACKAGES = ("distnn", "cluster", "jobs")
_OTHER_MACHINERY = ("ray", "numba")
_LIBRARY = sysconfig.get_path("stdlib") + "/"
_INSTALLED = (f"{_LIBRARY}site-packages/", f"{_LIBRARY}dist-packages/")


@cache
def _machinery_folders() -> tuple[str, ...]:
    home = Path(__file__).resolve().parent.parent
    folders = [str(home / name) + "/" for name in _OWN_PACKAGES]
    for name in _OTHER_MACHINERY:
        spec = importlib.util.find_spec(name)
        folders += [f"{place}/" for place in (spec.submodule_search_locations or ())] if spec else []
    return tuple(folders)


def is_machinery(file_name: str) -> bool:
    """Whether a frame's file is not the user's: ours, ray's, Cython's or the import system's."""
    is_hidden = file_name.endswith(".pyx") or file_name.startswith("<frozen importlib")
    return is_hidden or file_name.startswith(_machinery_folders())


def _is_library(file_name: str) -> bool:
    """Whether a file is Python's own: a frame there is the user's if he called it, ours if we did."""
    return file_name.startswith(_LIBRARY) and not file_name.startswith(_INSTALLED)


def describe(error: BaseException, place: FaultPlace | None = None) -> Failure:
    """All that the coordinator needs to tell the user about `error`.

    Args:
        error: as caught, with its traceback.
        place: which shard was computed; the coordinator puts the worker's number in.
    """
    told = traceback.TracebackException.from_exception(error)
    whole = "".join(told.format())
    _keep_user_frames(told)
    has_user_frames = any(not _is_library(frame.filename) for cause in _chain(told) for frame in cause.stack)
    return Failure(
        summary="".join(told.format_exception_only()).strip().splitlines()[0],
        user_traceback="".join(told.format()) if has_user_frames else "",
        traceback=whole,
        error=None if has_user_frames else _travelling(error),
        place=place,
    )


def _chain(told: traceback.TracebackException) -> list[traceback.TracebackException]:
    """The exception and those it came from."""
    chain = []
    current: traceback.TracebackException | None = told
    while current is not None:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _keep_user_frames(told: traceback.TracebackException) -> None:
    for one in _chain(told):
        kept = [frame for frame in one.stack if not is_machinery(frame.filename)]
        one.stack = traceback.StackSummary.from_list(kept)


def _travelling(error: BaseException) -> Exception | None:
    """A copy of `error`, if its class is known everywhere and it can be taken apart for the journey."""
    module = type(error).__module__
    is_known = module == "builtins" or module.startswith(("distnn.", "cluster."))
    if not isinstance(error, Exception) or not is_known:
        return None
    try:
        twin = copy.deepcopy(error)
    except Exception:
        return None
    twin.__traceback__ = None
    return twin if isinstance(twin, type(error)) else None
