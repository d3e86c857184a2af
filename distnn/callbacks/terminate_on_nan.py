"""`TerminateOnNaN`: end the training at the first loss that is no number."""

from __future__ import annotations

import math

from distnn.callbacks.callback import Callback, Logs


class TerminateOnNaN(Callback):
    """End the training in good order at the first batch with NaN or infinity, where `fit` would raise.

    The engines look for these at every step, so this costs nothing. The model keeps the weights from before
    that batch; in the history the epoch's loss is NaN (or infinity). With `fit(on_nonfinite="skip")` there
    is nothing left for it to see.

    Args:
        raise_error: raise RuntimeError at once, rather than end the training in good order.
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def wants_batches(self) -> bool:
        """No: it is called for such a batch in any case."""
        return False

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
