"""`Model.map`: a function called with the model for each of many items, by whichever workers there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from distnn.models.fitting import engine_options, resolve_threads
from distnn.models.prediction import Pass

if TYPE_CHECKING:
    from distnn.models.model import Model


def map_model(
    model: Model, function: Callable[[Any, Any], Any], items: Iterable[Any], how: Pass
) -> list[Any]:
    """`function(model, item)` of every item, in order; see `Model.map`.

    Raises:
        ValueError: for a function that cannot be called, or a model that has no weights yet.
    """
    if not callable(function):
        raise ValueError(f"`map` takes a function of (model, item). Received: {function!r}")
    if not model.built:
        raise ValueError(
            f"the model '{model.name}' has no weights yet: begin it with an `Input`, or call it on data first"
        )
    model.ensure_initialized()
    arguments = how.arguments()
    engine = model.engine_for(arguments.backend, engine_options(arguments, resolve_threads(arguments)))
    return engine.map(model, function, list(items))
