"""`History`: what `fit` returns."""

from __future__ import annotations

from distnn.callbacks.callback import Callback, Logs, sorted_logs


class History(Callback):
    """Loss and metrics of each epoch; `fit` returns one.

    Attributes:
        history: a list of floats for each loss and metric, training's names first, each group sorted.
        epoch: the epochs' numbers.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in sorted_logs(logs or {}).items():
            self.history.setdefault(name, []).append(value)
        if self.model is not None:
            self.model.history = self

    def __repr__(self) -> str:
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history)}>"
