"""The arguments of `compile`, checked where they are written, not at the first batch."""

from __future__ import annotations

from typing import Any

from distnn import losses, metrics


def compiled_arguments(
    loss: Any, metrics_given: Any, loss_weights: Any, weighted_metrics: Any, run_eagerly: bool
) -> dict[str, Any]:
    """What a model keeps of `compile`.

    Raises:
        ValueError: for a name that is not known, or a loss that leaves no single number.
    """
    for given in (metrics_given, weighted_metrics):
        _check_metrics(given)
    if isinstance(loss, list | tuple) and len(loss) == 1:
        loss = loss[0]
    if isinstance(loss_weights, list | tuple):
        loss_weights = loss_weights[0] if len(loss_weights) == 1 else loss_weights
    if loss_weights is not None and not isinstance(loss_weights, int | float):
        raise ValueError(
            f"a model with one output takes one number as `loss_weights`. Received: {loss_weights!r}"
        )
    return {
        "loss": None if loss is None else _trainable_loss(losses.get(loss)),
        "metrics": list(metrics_given or ()),
        "loss_weight": 1.0 if loss_weights is None else float(loss_weights),
        "weighted_metrics": list(weighted_metrics or ()),
        "run_eagerly": bool(run_eagerly),
    }


def _trainable_loss(loss: losses.Loss) -> losses.Loss:
    if loss.reduction == "none":
        raise ValueError(
            f"the loss '{loss.name}' has reduction='none', which leaves no single number to minimise: "
            "use 'sum_over_batch_size' or 'sum'"
        )
    return loss


def _check_metrics(given: Any) -> None:
    if given is None:
        return
    if isinstance(given, str) or not isinstance(given, list | tuple):
        raise ValueError(
            "Expected `metrics` argument to be a list or tuple. "
            f"Received instead: metrics={given} of type {type(given)}"
        )
    for identifier in given:
        metrics.check(identifier)
