"""What `compile` was given, output by output: one loss for all, a list in their order, or a dict by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn import losses, metrics
from distnn.naming import did_you_mean
from distnn.objective import Objective
from distnn.tensor import Spec


def per_output(given: Any, names: Sequence[str], argument: str) -> list[Any]:
    """The entry of each output; None where a dict has none.

    Raises:
        ValueError: for a name that no output has, or another number of entries than outputs.
    """
    if isinstance(given, dict):
        for name in given:
            if name not in names:
                raise ValueError(
                    f"`{argument}` names '{name}', but the model's outputs are called "
                    f"{', '.join(map(repr, names))}.{did_you_mean(str(name), names)}"
                )
        return [given.get(name) for name in names]
    if isinstance(given, list | tuple):
        if len(given) != len(names):
            raise ValueError(
                f"`{argument}` as a list has as many entries as the model has outputs ({len(names)}: "
                f"{', '.join(map(repr, names))}). Received: {len(given)} entries"
            )
        return list(given)
    return [given] * len(names)


def check_compiled(compiled: dict[str, Any], names: Sequence[str]) -> None:
    """Refuse what does not fit a model with these outputs.

    Raises:
        ValueError: naming the argument.
    """
    for argument in ("loss", "loss_weights"):
        per_output(compiled[argument], names, argument)
    for argument in ("metrics", "weighted_metrics"):
        _metrics(compiled[argument], names, argument)


def supervised(compiled: dict[str, Any], names: Sequence[str]) -> list[int]:
    """Numbers of the outputs that have a loss, and so a target."""
    return [i for i, loss in enumerate(per_output(compiled["loss"], names, "loss")) if loss is not None]


def make_objective(
    compiled: dict[str, Any], names: Sequence[str], targets: Sequence[Spec], outputs: Sequence[Spec]
) -> Objective:
    """Losses and metrics for such targets and outputs.

    Args:
        compiled: what `compile` was given.
        names: of the outputs; logs name them if there are several.
        targets: of the outputs that have a loss.
        outputs: all of the model's.

    Raises:
        ValueError: if they do not fit what was compiled.
    """
    if compiled["loss"] is None:
        raise ValueError("No loss to compute. Provide a `loss` argument in `compile()`.")
    places = supervised(compiled, names)
    if len(targets) != len(places):
        raise ValueError(
            f"the model needs a target for each of its outputs with a loss ({len(places)}: "
            f"{', '.join(repr(names[place]) for place in places)}). Received: {len(targets)} targets"
        )
    found = per_output(compiled["loss"], names, "loss")
    weights = per_output(compiled["loss_weights"], names, "loss_weights")
    groups = [
        [
            [metrics.resolve(one, target, outputs[place]) for one in entries[place]]
            for target, place in zip(targets, places, strict=True)
        ]
        for entries in (_metrics(compiled[key], names, key) for key in ("metrics", "weighted_metrics"))
    ]
    return Objective(
        [found[place] for place in places],
        [1.0 if weights[place] is None else weights[place] for place in places],
        *groups,
        places=places,
        output_names=[names[place] for place in places] if len(names) > 1 else None,
    )


def _metrics(given: Any, names: Sequence[str], key: str) -> list[list[Any]]:
    """The metrics of each output, as lists."""
    if len(names) == 1 and not isinstance(given, dict):
        given = [given if not (len(given) == 1 and isinstance(given[0], list | tuple)) else given[0]]
    if not given:
        given = [None] * len(names)
    entries = per_output(given, names, key)
    return [
        [] if entry is None else list(entry) if isinstance(entry, list | tuple) else [entry]
        for entry in entries
    ]


def ignored_classes(compiled: dict[str, Any], names: Sequence[str]) -> list[int | None]:
    """For each output with a loss, the label that it leaves out, if any."""
    found = per_output(compiled["loss"], names, "loss")
    return [getattr(loss, "ignore_class", None) for loss in found if loss is not None]


def sparse_outputs(compiled: dict[str, Any], names: Sequence[str]) -> list[bool]:
    """For each output with a loss, whether its targets are class numbers."""
    found = per_output(compiled["loss"], names, "loss")
    return [losses.is_sparse(loss) for loss in found if loss is not None]
