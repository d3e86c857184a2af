"""The errors that callers of distnn may want to tell apart.

Callers' mistakes are `ValueError`s; what a user's own code raised inside a worker is a `UserCodeError`.
Every one can be pickled, so that it crosses processes whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class DataError(ValueError):
    """The data given cannot be trained on; the message names file, row and column where it can."""


class UnknownNameError(ValueError):
    """A name stands for nothing that is known here.

    Args:
        message: what is wrong.
        name: the one that is not known.
        kind: what it was to be, such as `layer`.
    """

    def __init__(self, message: str, name: object, kind: str) -> None:
        super().__init__(message, name, kind)
        self.name = name
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class CheckpointError(ValueError):
    """A checkpoint or model file is damaged, foreign, or of another model."""


class RunDirectoryError(ValueError):
    """A run directory holds another run, or not what was expected in it."""


class EngineError(RuntimeError):
    """The machinery under a run (processes, cluster) failed; not the user's model or data."""


class ClusterUnreachableError(EngineError):
    """No Ray cluster answered at the address given."""


@dataclass(frozen=True)
class FaultPlace:
    """Where in a run a shard's computation failed."""

    worker: int
    step: int
    shard: int

    def __str__(self) -> str:
        return f"worker {self.worker}, step {self.step}, shard {self.shard}"


class UserCodeError(RuntimeError):
    """An exception raised by user code (a layer, a loss, a loader) while a shard was computed.

    Args:
        summary: `ExceptionType: message`, one line.
        place: worker, step and shard, if known.
        user_traceback: the traceback from the user's code on, as text; printed once.
    """

    def __init__(self, summary: str, place: FaultPlace | None, user_traceback: str) -> None:
        super().__init__(summary, place, user_traceback)
        self.summary = summary
        self.place = place
        self.user_traceback = user_traceback

    def __str__(self) -> str:
        where = f" in {self.place}" if self.place is not None else ""
        return f"{self.user_traceback.rstrip()}\nuser code failed{where}: {self.summary}"


@dataclass(frozen=True)
class Trouble:
    """Where a step came to a value that is not finite.

    Args:
        step: committed steps before it.
        what: `forward`, `loss`, `gradient`; `update` if all of these are finite; `weights` if they were not
            finite before the step; `unknown` if the step is finite when it is computed again.
        shard: the first that has it.
        layer: of the model, or the loss, or the weights.
        op: in the layer.
        sample: the first that has it: its index in the training data; None where samples are summed up.
        value: as text, such as `nan`.
        learning_rate: of the step.
    """

    step: int
    what: str
    shard: int | None = None
    layer: str = ""
    op: str = ""
    sample: int | None = None
    value: str = ""
    learning_rate: float = 0.0

    def facts(self) -> dict[str, Any]:
        """What an event tells of it, beside the step."""
        kept = {"what": self.what, "shard": self.shard, "layer": self.layer, "op": self.op}
        return {**kept, "sample": self.sample, "value": self.value, "learning_rate": self.learning_rate}

    def __str__(self) -> str:
        place = f"step {self.step}" if self.shard is None else f"step {self.step}, shard {self.shard}"
        op = f" ({self.op})" if self.op else ""
        sample = "" if self.sample is None else f", first for sample {self.sample} of the training data"
        layer = f"'{self.layer}'"
        texts = {
            "forward": f"the output of layer {layer}{op} is {self.value}{sample}",
            "loss": f"the loss {layer}{op} is {self.value}{sample}",
            "gradient": f"the gradient of {layer}{op} is {self.value}{sample}, the loss is finite",
            "update": f"loss and gradient are finite, and the update makes {self.layer} {self.value}",
            "weights": f"the weights {layer} hold {self.value} already",
        }
        again = (
            "a value was not finite, and all are when the step is computed again: code of your own that is "
            "not deterministic, or a faulty machine"
        )
        return f"{place}: {texts.get(self.what, again)} (learning rate {self.learning_rate:g})"


class NonFiniteError(ArithmeticError):
    """A step came to a loss, a gradient or weights that are not finite; nothing of it has been kept.

    Args:
        trouble: where.
        hint: what to do, a sentence.
    """

    def __init__(self, trouble: Trouble, hint: str) -> None:
        super().__init__(trouble, hint)
        self.trouble = trouble
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.trouble}. {self.hint}"


class ResumeMismatchError(RuntimeError):
    """Steps of a run, computed again, did not come to the bytes that were recorded; the run is as it was."""
