"""`TerminateOnNaN`: end the training at the first loss that is no number."""

from __future__ import annotations

import math

from distnn.callbacks.callback import Callback, Logs


class TerminateOnNaN(Callback):
    """Look at the loss after every batch, and stop if it is NaN or infinite.

    As it looks at every batch, segments of steps are one step long.

    Args:
        raise_error: raise RuntimeError at once, rather than end the training in good order.
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. "
                "Terminating training immediately."
            )
        self.say(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
