"""What callbacks that watch a number share: which way is better, and by how much."""

from __future__ import annotations

import warnings

from distnn.callbacks.callback import Callback

MODES = ("auto", "min", "max")


class Monitor(Callback):
    """Watches one name of the logs.

    Args:
        monitor: the name.
        mode: "min", "max", or "auto": as the name says ("loss"), or the metric.
        baseline: what the first value must be better than; None for nothing.
        min_delta: a change of less than this is no improvement.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0.0,
    ) -> None:
        if mode not in MODES:
            warnings.warn(
                f"{type(self).__name__} mode '{mode}' is unknown, fallback to auto mode.", stacklevel=3
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`; anything is, than None."""
        if reference is None:
            return True
        if self.direction() == "min":
            return value + self.min_delta < reference
        return value - self.min_delta > reference

    def direction(self) -> str:
        """ "min" or "max".

        Raises:
            ValueError: the mode is "auto", and what the name stands for does not say.
        """
        if self.mode != "auto":
            return self.mode
        name = self.monitor.removeprefix("val_")
        known = (self.params or {}).get("directions", {})
        if name == "loss" or name in known:
            return "min" if name == "loss" else str(known[name])
        raise ValueError(
            f"{type(self).__name__} callback received monitor={self.monitor}, but distnn isn't able to "
            "automatically determine whether that metric should be maximized or minimized. Pass `mode='max'` "
            "in order to monitor based on the highest metric value, or pass `mode='min'` in order to use the "
            "lowest value."
        )
