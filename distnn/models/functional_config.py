"""A functional model as JSON, and back: its layers once each, and the calls of layers and ops in order.

Tensors are numbers in the order in which they come to be: inputs, constants, results of calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distnn import layers as layer_registry
from distnn import ops  # noqa: F401  (so that all ops are known)
from distnn.graph import Node
from distnn.network import FUNCTIONAL, LayerCall, Network, input_tensor, made_node
from distnn.ops.op import Op
from distnn.structure import leaves
from distnn.tensor import Batch, Spec, Tensor, batch_size_of


def network_config(network: Network) -> dict[str, Any]:
    """What `restored_network` needs.

    Raises:
        ValueError: for layers of the user's own that are not registered, and what JSON cannot hold.
    """
    tensors = [*network.input_tensors, *network.values, *(t for node in network.nodes for t in node.outputs)]
    places = {tensor: number for number, tensor in enumerate(tensors)}
    numbers = {id(layer): number for number, layer in enumerate(network.layers)}
    return {
        "input_specs": [spec_config(t.spec) | {"name": t.name} for t in network.input_tensors],
        "constants": [_constant_config(t, value) for t, value in network.values.items()],
        "layers": [layer_registry.serialize(layer) for layer in network.layers],
        "calls": [_call_config(node, places, numbers) for node in network.nodes],
        "inputs": _plain(network.inputs, places),
        "outputs": _plain(network.outputs, places),
    }


def restored_network(config: Mapping[str, Any]) -> Network:
    """The network that `network_config` described, with new layers."""
    found = [layer_registry.deserialize(entry) for entry in config["layers"]]
    tensors: list[Tensor] = [
        input_tensor(restored_spec(entry), entry["name"]) for entry in config["input_specs"]
    ]
    for entry in config["constants"]:
        tensors.append(FUNCTIONAL.constant(np.array(entry["value"]), entry["dtype"]))
    for entry in config["calls"]:
        if "layer" in entry:
            args, kwargs = _restored(entry["args"], tensors), _restored(entry["kwargs"], tensors)
            tensors += leaves(found[entry["layer"]](*args, **kwargs))
        else:
            op = _restored_op(entry)
            inputs = [tensors[number] for number in entry["inputs"]]
            tensors += made_node(op, op.name, inputs, op.output_specs(*(t.spec for t in inputs)))
    return Network(_restored(config["inputs"], tensors), _restored(config["outputs"], tensors))


def _call_config(node: Node, places: Mapping[Tensor, int], numbers: Mapping[int, int]) -> dict[str, Any]:
    call: Any = node.op
    if isinstance(call, LayerCall):
        return {
            "layer": numbers[id(call.layer)],
            "args": _plain(list(call.args), places),
            "kwargs": _plain(call.kwargs, places),
        }
    attributes = {key: _plain(value, places) for key, value in sorted(vars(call).items())}
    inputs = [places[tensor] for tensor in node.inputs]
    return {"op": type(call).__name__, "attributes": attributes, "inputs": inputs}


def _constant_config(tensor: Tensor, value: Any) -> dict[str, Any]:
    if not isinstance(value, np.ndarray):
        raise ValueError(
            f"the functional model uses the variable '{tensor.name}' of a layer outside of that layer, which "
            "cannot be written down: build it in code and use load_weights"
        )
    return {"dtype": tensor.spec.dtype, "value": value.tolist()}


def spec_config(spec: Spec) -> dict[str, Any]:
    """Shape (batch axis `None`), dtype, and batch size where it is fixed."""
    size = batch_size_of(spec)
    shape = [None if isinstance(dim, Batch) else dim for dim in spec.shape]
    return {"shape": shape, "dtype": spec.dtype, **({} if size is None else {"batch_size": size})}


def restored_spec(entry: Mapping[str, Any]) -> Spec:
    """The spec that `spec_config` described."""
    batch = Batch(1, entry.get("batch_size"))
    return Spec(tuple(batch if dim is None else int(dim) for dim in entry["shape"]), entry["dtype"])


# Arguments: JSON knows neither tensors nor tuples


def _plain(value: Any, places: Mapping[Tensor, int]) -> Any:
    if isinstance(value, Tensor):
        return {"class_name": "Tensor", "number": places[value]}
    if isinstance(value, Batch):
        return {"class_name": "Batch", "multiple": value.multiple}
    if isinstance(value, tuple):
        return {"class_name": "tuple", "items": [_plain(part, places) for part in value]}
    if isinstance(value, list):
        return [_plain(part, places) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part, places) for key, part in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"a functional model that was given {value!r} (of type {type(value).__name__}) in a call cannot be "
        "written down: build it in code and use load_weights"
    )


def _restored(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, dict) and "class_name" in value:
        if value["class_name"] == "Tensor":
            return tensors[value["number"]]
        if value["class_name"] == "Batch":
            return Batch(value["multiple"])
        return tuple(_restored(part, tensors) for part in value["items"])
    if isinstance(value, list):
        return [_restored(part, tensors) for part in value]
    if isinstance(value, dict):
        return {key: _restored(part, tensors) for key, part in value.items()}
    return value


def _op_classes(base: type[Op] = Op) -> Iterator[type[Op]]:
    for op_class in base.__subclasses__():
        if op_class.__module__.startswith("distnn."):
            yield op_class
        yield from _op_classes(op_class)


def _restored_op(entry: Mapping[str, Any]) -> Op:
    found = {op_class.__name__: op_class for op_class in _op_classes()}
    if entry["op"] not in found:
        raise ValueError(f"the model uses the op {entry['op']!r}, which this version of distnn does not know")
    op = found[entry["op"]].__new__(found[entry["op"]])
    op.__dict__.update({key: _restored(value, ()) for key, value in entry["attributes"].items()})
    return op


def shape_texts(network: Network) -> dict[int, str]:
    """Output shapes of each layer's first call, by the layer's id, as a summary shows them."""
    found: dict[int, str] = {}
    for node in network.nodes:
        call: Any = node.op
        if isinstance(call, LayerCall):
            shapes = [str(tensor.shape) for tensor in node.outputs]
            found.setdefault(id(call.layer), shapes[0] if len(shapes) == 1 else f"[{', '.join(shapes)}]")
    return found
