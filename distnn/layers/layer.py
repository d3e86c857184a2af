"""The base of all layers: weights, sublayers, names, and the call that builds and records.

Users subclass `Layer` as in Keras (`build`, `call`, `add_weight`); the gradient comes from the ops that
`call` uses. A layer holds no array of a step.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from distnn import constraints, initializers, ops, regularizers
from distnn.graph import current_graph, recording
from distnn.layers.array_calls import call_on_arrays
from distnn.layers.input_spec import check_inputs
from distnn.layers.keras_arguments import without_defaults
from distnn.layers.probing import probe
from distnn.masks import fill_masks, pass_masks_on
from distnn.naming import Numbered, snake_case
from distnn.network import FUNCTIONAL, call_layer
from distnn.ops.op import as_tensor
from distnn.own_configs import Constructed
from distnn.rng import draw_seed, stream_key
from distnn.structure import leaves, mapped
from distnn.tensor import Array, Batch, Shape, Spec, Tensor, keras_shape, symbolic_shape
from distnn.variable import Aggregation, Variable


class Layer:
    """A callable with weights.

    Args:
        name: unique in its model; by default the class's name in snake case, numbered by the model.
        trainable: whether its weights are trained.
        input_shape: shape of a sample, for the first layer of a Sequential.
        input_dim: `input_shape=(input_dim,)`.
        dtype: only "float32".
        activity_regularizer: penalty on the outputs of a sample, of which the mean is added to the loss.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
        dtype: str | None = None,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs = without_defaults(type(self).__name__, kwargs)
        if kwargs:
            raise ValueError(
                f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}. "
                f"Allowed: {', '.join(_parameters(type(self)))}."
            )
        if dtype not in (None, "float32"):
            raise ValueError(f"{type(self).__name__} computes in float32. Received: dtype={dtype!r}")
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"`name` must be a non-empty string without '/'. Received: name={name!r}")
        self._own_weights: list[Variable] = []
        self._given_name = name
        self.name: str = name or snake_case(type(self).__name__)
        self._trainable = bool(trainable)
        self.built = False
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.sample_shape: tuple[int, ...] | None = None
        if input_dim is not None:
            self.sample_shape = (int(input_dim),)
        if input_shape is not None:
            self.sample_shape = tuple(int(dim) for dim in input_shape)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        if not cls.__module__.startswith("distnn."):
            made.__dict__["_constructed"] = Constructed(args, kwargs)
        return made

    couples_samples: ClassVar[bool] = False
    """Whether, in training, what becomes of a sample depends on the others of its shard."""

    input_spec: Any = None
    """What the first argument must be: an `InputSpec`, or a structure of them; checked at each call."""

    supports_masking: bool = False
    """Whether the layer passes a mask of time steps on (see `compute_mask`)."""

    def __getattr__(self, name: str) -> Any:
        if name in ("_own_weights", "_given_name", "_trainable", "built", "sample_shape"):
            raise RuntimeError(
                f"In layer {type(self).__name__}, you forgot to call `super().__init__()` as the first "
                "statement in the `__init__()` method."
            )
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    # What subclasses define

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of `input_shape` (batch axis `None`). Called once."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's output, computed with `distnn.ops` and other layers."""
        raise NotImplementedError(f"{type(self).__name__} must define `call(self, inputs)`")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.sample_shape is not None:
            config["input_shape"] = list(self.sample_shape)
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        return cls(**config)

    # Weights and sublayers

    def add_weight(
        self,
        shape: Sequence[int] | int = (),
        initializer: Any = None,
        dtype: str | None = None,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: Aggregation = "mean",
        name: str | None = None,
    ) -> Variable:
        """Create a weight of this layer; `glorot_uniform` by default, as in Keras."""
        if dtype not in (None, "float32"):
            raise ValueError(f"weights are float32. Received: dtype={dtype!r}")
        full_shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if any(not isinstance(dim, int | np.integer) or dim < 0 for dim in full_shape):
            raise ValueError(
                f"every dimension of a weight must be a known, non-negative integer. Received: shape={shape} "
                f"for a weight of layer '{self.name}'"
            )
        constraint = constraints.get(constraint)
        if isinstance(constraint, constraints.NormConstraint):
            constraint.places(full_shape)
        variable = Variable(
            tuple(int(dim) for dim in full_shape),
            initializers.get(initializer) or initializers.GlorotUniform(),
            name=name or "weight",
            trainable=trainable,
            regularizer=regularizers.get(regularizer),
            constraint=constraint,
            aggregation=aggregation,
        )
        self._own_weights.append(variable)
        return variable

    def sublayers(self) -> list[tuple[str, Layer]]:
        """Layers held by attributes (also in lists, tuples and dicts), in the order they were set."""
        found: dict[int, tuple[str, Layer]] = {}
        for attribute, value in self.__dict__.items():
            # Each call of a model asks; most attributes are plain settings and are passed over quickly.
            if type(value) in _NO_LAYERS or attribute == "_own_weights":
                continue
            for key, layer in _layers_in(attribute, value):
                found.setdefault(id(layer), (key, layer))
        return list(found.values())

    @property
    def trainable(self) -> bool:
        """Whether the weights are trained; setting it sets it for all layers inside, as in Keras."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for _, layer in self.sublayers():
            layer.trainable = value

    @property
    def variables(self) -> list[Variable]:
        """Own weights (trainable first), then the sublayers'; each once."""
        found = dict.fromkeys(sorted(self._own_weights, key=lambda variable: not variable.trainable))
        for _, layer in self.sublayers():
            found.update(dict.fromkeys(layer.variables))
        return list(found)

    @property
    def weights(self) -> list[Variable]:
        return self.variables

    @property
    def trainable_variables(self) -> list[Variable]:
        trainable = dict.fromkeys(self._trainable_now())
        return [variable for variable in self.variables if variable in trainable]

    def _trainable_now(self) -> list[Variable]:
        if not self.trainable:
            return []
        found = [variable for variable in self._own_weights if variable.trainable]
        for _, layer in self.sublayers():
            found += layer._trainable_now()
        return found

    @property
    def non_trainable_variables(self) -> list[Variable]:
        trainable = set(self._trainable_now())
        return [variable for variable in self.variables if variable not in trainable]

    trainable_weights = trainable_variables
    non_trainable_weights = non_trainable_variables

    def count_params(self) -> int:
        """Number of values in all weights."""
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built."
            )
        return sum(variable.size for variable in self.variables)

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in the order of `weights`."""
        self.ensure_initialized()
        return [variable.numpy() for variable in self.variables]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights from arrays in the order of `weights`; all or none."""
        variables = self.variables
        if len(weights) != len(variables):
            raise ValueError(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of length "
                f"{len(weights)}, but the layer was expecting {len(variables)} weights."
            )
        arrays = [np.asarray(weight, dtype=np.float32) for weight in weights]
        for variable, array in zip(variables, arrays, strict=True):
            if variable.shape != array.shape:
                raise ValueError(
                    f"Layer {self.name} weight shape {variable.shape} is not compatible with provided weight "
                    f"shape {array.shape}."
                )
        self.ensure_initialized()
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def ensure_initialized(self, seed: int | None = None) -> None:
        """Give a layer used outside a model its own values; a model does so for all its layers."""
        fresh = [variable for variable in self.variables if not variable.is_initialized]
        if fresh:
            drawn = draw_seed() if seed is None else seed
            for i, variable in enumerate(fresh):
                variable.hold(variable.initial_value(stream_key(drawn, "init", i, variable.path)))

    # Names

    def name_parts(self, path: str) -> None:
        """Name sublayers and weights by their place under `path`; called when a model is complete."""
        prefix = f"{path}/" if path else ""
        layers = [layer for _, layer in self.sublayers()]
        given = {layer._given_name for layer in layers if layer._given_name}
        numbered = Numbered(given)
        for variable in self._own_weights:
            variable.path = prefix + numbered(variable.name)
        for layer in layers:
            layer.name = layer._given_name or numbered(snake_case(type(layer).__name__))
            layer.name_parts(prefix + layer.name)

    # Calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record the layer on tensors; on arrays compute at once, with its current weights."""
        tensors = (leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor))
        graph = next((tensor.graph for tensor in tensors), current_graph())
        if graph is None:
            return call_on_arrays(self, args, kwargs)
        if graph is FUNCTIONAL:
            return call_layer(self, args, kwargs)
        if self.input_spec is not None and args:
            check_inputs(self.input_spec, args[0], self.name)
        self._build_once(_shapes(args[0]) if args else None)
        training = kwargs.pop("training", None)
        if training is None:
            training = graph.training
        if "training" in inspect.signature(self.call).parameters:
            kwargs["training"] = training
        with recording(graph), graph.scope(self.name), graph.in_training(bool(training)):
            masks = fill_masks(self, args, kwargs)
            outputs = self.call(*args, **kwargs)
            if self.activity_regularizer is not None:
                self._penalise(outputs, self.activity_regularizer)
            pass_masks_on(self, args[0] if args else None, outputs, masks)
            return outputs

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs, by that of the inputs; what `supports_masking` layers pass on."""
        return previous_mask

    def add_loss(self, loss: Any) -> None:
        """Add to the loss, in `call`: a number (taken for the mean over the samples it was computed from), or
        values, which are summed over the batch.

        Raises:
            ValueError: outside `call`.
        """
        graph = current_graph()
        if graph is None or graph is FUNCTIONAL:
            raise ValueError(
                f"`add_loss` of layer '{self.name}' was called outside of a layer's `call`: call it there, "
                "on what `call` computes"
            )
        for value in loss if isinstance(loss, list | tuple) else [loss]:
            tensor = as_tensor(value, graph)
            is_sum = tensor.spec.rank > 0
            graph.added_losses.append((ops.sum(tensor) if is_sum else tensor, is_sum))

    def _penalise(self, outputs: Any, regularizer: regularizers.Regularizer) -> None:
        if not regularizer.is_of_single_values:
            for output in leaves(outputs):
                self.add_loss(ops.divide(regularizer(output), ops.shape(output)[0]))
            return
        l1, l2 = regularizer.factors()
        for output in leaves(outputs):
            others = tuple(range(1, len(output.shape)))
            for factor, sizes in ((l1, ops.abs), (l2, ops.square)):
                if factor:
                    by_sample = ops.sum(sizes(output), axis=others) if others else sizes(output)
                    self.add_loss(ops.mean(by_sample) * factor)

    def _build_once(self, input_shape: Any) -> None:
        if not self.built:
            self.build(input_shape)
            self.built = True

    def output_spec(self, *inputs: Spec) -> Spec:
        """The spec of the layer's output for such inputs; builds the layer.

        Raises:
            ValueError: if it has several outputs.
        """
        found = self.output_structure(inputs, {})
        if not isinstance(found, Spec):
            raise ValueError(
                f"layer '{self.name}' must return one tensor here. Received: {type(found).__name__} of "
                f"{len(list(leaves(found)))} tensors"
            )
        return found

    def output_structure(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Specs of what a call returns, in its structure; builds the layer.

        Args:
            args, kwargs: of the call, with specs or tensors for its tensors.
        """
        return probe(self, args, kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output's shape for an input's (or a list of them), batch axis `None`."""
        is_list = bool(input_shape) and isinstance(input_shape[0], list | tuple)
        shapes = input_shape if is_list else [input_shape]
        specs = [Spec(symbolic_shape(shape)) for shape in shapes]
        found = self.output_structure([specs if is_list else specs[0]], {})
        return mapped(lambda spec: keras_shape(spec.shape), found)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def first_axis_shape(sample_shape: Sequence[int], batch_size: int | None = None) -> Shape:
    """The symbolic shape of a batch of samples."""
    return (Batch(1, batch_size), *(int(dim) for dim in sample_shape))


def _shapes(argument: Any) -> Any:
    """The Keras shape of a tensor, or a list of shapes for a list of tensors."""
    if isinstance(argument, Tensor):
        shape = keras_shape(argument.spec.shape)
        return (None, *shape[1:]) if shape else shape
    if isinstance(argument, list | tuple):
        return [_shapes(part) for part in argument]
    return tuple(np.shape(argument))


def _layers_in(attribute: str, value: Any) -> Iterator[tuple[str, Layer]]:
    if isinstance(value, Layer):
        yield attribute, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            if type(item) not in _NO_LAYERS:
                yield from _layers_in(f"{attribute}_{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if type(item) not in _NO_LAYERS:
                yield from _layers_in(f"{attribute}_{key}", item)
    else:
        _NO_LAYERS.add(type(value))


_NO_LAYERS: set[type] = set()
"""Classes of values that are no layers and hold none, as they are met."""


def _parameters(layer_class: type) -> list[str]:
    """Names of the constructor's arguments, the base class's included."""
    own = [p.name for p in inspect.signature(layer_class).parameters.values() if p.kind != p.VAR_KEYWORD]
    base = [p.name for p in inspect.signature(Layer).parameters.values() if p.kind != p.VAR_KEYWORD]
    return sorted({*own, *base} - {"self"})
