"""Objects as bytes between our own processes, code of the main program included; never from a file.

Ray's pickling is used, the only one that can send what was defined in a notebook or a script.
"""

from __future__ import annotations

from typing import Any


def pack(value: Any) -> bytes:
    """`value` as bytes.

    Raises:
        Exception: whatever says that it cannot be pickled.
    """
    from cluster.ray_import import ray

    return bytes(ray.cloudpickle.dumps(value))


def unpack(packed: bytes) -> Any:
    """What `pack` was given. Its arrays can be written, unlike those in Ray's object store."""
    from cluster.ray_import import ray

    return ray.cloudpickle.loads(packed)
