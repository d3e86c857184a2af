"""The arguments of `compile`, checked where they are written, not at the first batch."""

from __future__ import annotations

from typing import Any

from distnn import losses, metrics
from distnn.structure import leaves, mapped


def compiled_arguments(
    loss: Any, metrics_given: Any, loss_weights: Any, weighted_metrics: Any, run_eagerly: bool
) -> dict[str, Any]:
    """What a model keeps of `compile`.

    Raises:
        ValueError: for a name that is not known, or a loss that leaves no single number.
    """
    for argument, given in (("metrics", metrics_given), ("weighted_metrics", weighted_metrics)):
        _check_metrics(given, argument)
    if isinstance(loss, list | tuple) and len(loss) == 1:
        loss = loss[0]
    if isinstance(loss_weights, list | tuple) and len(loss_weights) == 1:
        loss_weights = loss_weights[0]
    return {
        "loss": mapped(lambda one: None if one is None else _trainable_loss(losses.get(one)), loss),
        "metrics": [] if metrics_given is None else metrics_given,
        "loss_weights": mapped(_weight, loss_weights),
        "weighted_metrics": [] if weighted_metrics is None else weighted_metrics,
        "run_eagerly": bool(run_eagerly),
    }


def _weight(given: Any) -> float | None:
    if given is not None and not isinstance(given, int | float):
        raise ValueError(f"`loss_weights` takes a number for each output. Received: {given!r}")
    return None if given is None else float(given)


def _trainable_loss(loss: losses.Loss) -> losses.Loss:
    if loss.reduction == "none":
        raise ValueError(
            f"the loss '{loss.name}' has reduction='none', which leaves no single number to minimise: "
            "use 'sum_over_batch_size' or 'sum'"
        )
    return loss


def _check_metrics(given: Any, argument: str) -> None:
    if given is None:
        return
    if isinstance(given, str) or not isinstance(given, list | tuple | dict):
        raise ValueError(
            f"Expected `{argument}` argument to be a list, tuple, or dict. "
            f"Received instead: {argument}={given} of type {type(given)}"
        )
    for identifier in leaves(given):
        if identifier is not None:
            metrics.check(identifier)
