"""`ProgbarLogger`: Keras's name for the progress that `fit` shows anyway."""

from __future__ import annotations

from distnn.callbacks.callback import Callback


class ProgbarLogger(Callback):
    """Given or not, progress is shown as `verbose` says, as in Keras."""
