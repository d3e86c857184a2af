"""A worker's copy of the model that `Model.map` calls functions with; it stays, and so do its programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.transport import pack, unpack
from distnn.threads import limited_cores

if TYPE_CHECKING:
    from distnn.models.model import Model


class MappedModel:
    """The copy, and how many items it has been called for."""

    def __init__(self) -> None:
        self.finished = 0
        self._version: int | None = None
        self._model: Model | None = None

    def run(
        self,
        search_path: Sequence[str],
        version: int,
        description: bytes,
        weights: bytes,
        function: bytes,
        items: bytes,
    ) -> bytes:
        """Packed results of `function(model, item)` for the packed items.

        Args:
            search_path: the coordinator's `sys.path`, where the user's modules are found.
            version: of the model; another one is taken from `description`.
            description: the model without its weights.
            weights: as `Model.get_weights` gives them.
        """
        sys.path.extend(path for path in search_path if path not in sys.path)
        if self._model is None or self._version != version:
            self._model, self._version = unpack(description), version
        self._model.set_weights(unpack(weights))
        call, results = unpack(function), []
        with limited_cores(1):  # the others belong to other workers
            for item in unpack(items):
                results.append(call(self._model, item))
                self.finished += 1
        return pack(results)
