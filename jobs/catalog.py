"""From names and parameters in a spec to layers, losses, metrics and optimizers, with every mistake placed.

A table `{type = "Dense", units = 64}` is held against the class's signature before the class is called, so
that an error names the key, what was given and what is allowed.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distnn.naming import did_you_mean
from jobs.problems import Problem, key_of, shown, unknown_key
from jobs.spec import JobSpec, NamedObject

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Kind:
    """A family of classes: what a spec calls it, its module and its base class."""

    word: str
    module: str
    base: str

    def load(self) -> Any:
        return importlib.import_module(self.module)


LAYER = Kind("layer", "distnn.layers", "Layer")
LOSS = Kind("loss", "distnn.losses", "Loss")
METRIC = Kind("metric", "distnn.metrics", "Metric")
OPTIMIZER = Kind("optimizer", "distnn.optimizers", "Optimizer")
SCHEDULE = Kind("learning-rate schedule", "distnn.schedules", "LearningRateSchedule")
REGULARIZER = Kind("regularizer", "distnn.regularizers", "Regularizer")
CONSTRAINT = Kind("constraint", "distnn.constraints", "Constraint")
CALLBACK = Kind("callback", "distnn.callbacks", "Callback")
INITIALIZER = Kind("initializer", "distnn.initializers", "Initializer")

_HIDDEN = (
    *("InputLayer", "Wrapper", "FunctionLoss", "FunctionMetric", "MeanMetricWrapper", "FunctionInitializer"),
    "NormConstraint",
)
_STEERING = ("EarlyStopping", "ReduceLROnPlateau", "TerminateOnNaN", "RemoteMonitor")
"""The callbacks for specs: a run directory needs none that write files; functions cannot stand in a spec."""
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Parts:
    """What a spec's names stand for, ready for use. `layers` is None if a factory makes the model."""

    layers: tuple[Any, ...] | None
    loss: Any
    optimizer: Any
    metrics: tuple[Any, ...]
    callbacks: tuple[Any, ...]


def make_parts(spec: JobSpec) -> tuple[Parts, list[Problem]]:
    """Make all that the spec names; the parts are complete only if there are no problems."""
    maker = _Maker()
    layers = None
    if spec.model.layers is not None:
        layers = tuple(
            maker.make(LAYER, layer, ("model", "layers", i)) for i, layer in enumerate(spec.model.layers)
        )
    training = spec.training
    parts = Parts(
        layers,
        maker.make(LOSS, training.loss, ("training", "loss")),
        maker.make(OPTIMIZER, training.optimizer, ("training", "optimizer")),
        tuple(
            maker.make(METRIC, metric, ("training", "metrics", i))
            for i, metric in enumerate(training.metrics)
        ),
        tuple(
            maker.make(CALLBACK, callback, ("training", "callbacks", i))
            for i, callback in enumerate(training.callbacks)
        ),
    )
    return parts, maker.problems


def class_names(kind: Kind) -> list[str]:
    """The class names of a kind."""
    return sorted(_classes(kind))


class _Maker:
    """Makes objects and collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._listed_at: dict[str, Path] = {}

    def make(self, kind: Kind, item: NamedObject, path: Path) -> Any:
        if not item.params and kind not in (LAYER, CALLBACK):
            return self._by_short_name(kind, item.type, path)
        found = _find_class(kind, item.type)
        if found is None:
            self._unknown_name(kind, item.type, path if not item.params else (*path, "type"))
            return None
        return self._construct(found, item.params, path)

    def _fail(self, path: Path, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _unknown_name(self, kind: Kind, name: str, path: Path) -> None:
        self._not_known(kind.word, name, _known_names(kind), path)

    def _not_known(self, word: str, name: str, known: Sequence[str], path: Path) -> None:
        """With what is near, or once in a spec all that is known."""
        hint = did_you_mean(name, known)
        if not hint:
            listed_at = self._listed_at.setdefault(word, path)
            hint = f" Known: {', '.join(known) if listed_at is path else f'see {key_of(listed_at)}'}"
        self._fail(path, f"there is no {word} '{name}'.{hint}")

    def _by_short_name(self, kind: Kind, name: str, path: Path) -> Any:
        """A name without parameters goes on as it is (such as 'accuracy', which depends on shapes)."""
        try:
            _check_name(kind, name)
        except (ValueError, TypeError):
            found = _find_class(kind, name)
            if found is None:
                self._unknown_name(kind, name, path)
                return None
            return self._construct(found, {}, path)
        return name

    def _construct(self, cls: type[Any], params: Mapping[str, Any], path: Path) -> Any:
        before = len(self.problems)
        parameters = _parameters(cls)
        missing = [name for name, p in parameters.items() if p.default is p.empty and name not in params]
        strange = [key for key in params if key not in parameters]
        for key in strange:
            self._fail((*path, key), unknown_key(key, list(parameters)))
        for name in missing:
            if not any(did_you_mean(key, [name]) for key in strange):
                self._fail((*path, name), f"is required by {cls.__name__} and not given")
        hints = _hints(cls)
        arguments = {
            key: self._argument(key, value, hints.get(key, Any), (*path, key))
            for key, value in params.items()
            if key in parameters
        }
        if len(self.problems) > before:
            return None
        try:
            return cls(**arguments)
        except (ValueError, TypeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._fail(path, f"{cls.__name__}: {lines[0]}")
            return None

    def _argument(self, key: str, value: Any, hint: Any, path: Path) -> Any:
        kind = _nested_kind(key)
        if kind is not None and isinstance(value, dict):
            if not isinstance(value.get("type"), str):
                self._fail(path, f"expected a {kind.word} as a table with a `type`, received {shown(value)}")
                return None
            return self.make(kind, NamedObject.model_validate(value), path)
        if isinstance(value, dict):
            self._fail(path, f"expected {_hint_words(hint) or 'a plain value'}, received {shown(value)}")
            return None
        if isinstance(value, str) and kind not in (None, SCHEDULE):
            assert kind is not None
            return self._by_short_name(kind, value, path)
        if key == "activation" and isinstance(value, str):
            return self._activation(value, path)
        if not _fits(value, hint):
            self._fail(path, f"expected {_hint_words(hint)}, received {shown(value)}")
        return value

    def _activation(self, name: str, path: Path) -> str:
        from distnn import activations

        try:
            activations.get(name)
        except ValueError:
            self._not_known("activation", name, activations.names(), path)
        return name


def _check_name(kind: Kind, name: str) -> None:
    """Raise ValueError unless the kind's module takes the name as it is."""
    module = kind.load()
    check = getattr(module, "check", None) or getattr(module, "get", None)
    if check is None:
        raise ValueError(name)
    check(name)


def _classes(kind: Kind) -> dict[str, type[Any]]:
    module = kind.load()
    base = getattr(module, kind.base)
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value is not base
        and name[:1].isupper()
        and name not in _HIDDEN
        and (kind is not CALLBACK or name in _STEERING)
    }


def _find_class(kind: Kind, name: str) -> type[Any] | None:
    """By class name, or by its spelling in lower case with or without underscores ('adam')."""
    classes = _classes(kind)
    if name in classes:
        return classes[name]
    plain = {found.lower(): cls for found, cls in classes.items()}
    return None if kind is LAYER else plain.get(name.replace("_", "").lower())


def _known_names(kind: Kind) -> list[str]:
    module = kind.load()
    names = getattr(module, "names", None)
    if kind is LAYER or names is None:
        return class_names(kind)
    return [name for name in names() if name not in _HIDDEN]


def _nested_kind(key: str) -> Kind | None:
    if key == "learning_rate":
        return SCHEDULE
    if key.endswith("_regularizer"):
        return REGULARIZER
    if key.endswith("_constraint"):
        return CONSTRAINT
    return INITIALIZER if key.endswith("_initializer") else None


def _parameters(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """The named parameters of a class, through `**kwargs` to the optional ones of its bases.

    What a base requires and the class does not name, such as a convolution's rank, the class gives by itself.
    """
    found: dict[str, inspect.Parameter] = {}
    is_own = True
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if base is object or init is None:
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        for parameter in parameters:
            is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if is_named and (is_own or parameter.default is not parameter.empty):
                found.setdefault(parameter.name, parameter)
        is_own = False
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _hints(cls: type[Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        init = base.__dict__.get("__init__")
        if base is object or init is None:
            continue
        try:
            hints |= typing.get_type_hints(init)
        except (NameError, TypeError):
            continue
    return hints


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value from a spec may stand for a parameter of this type; in doubt it may."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if hint is type(None):
        return value is None
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, (int, float))
    if hint in (int, bool, str):
        return isinstance(value, hint)
    if origin is not None and issubclass(origin, Sequence):
        inner = [arg for arg in typing.get_args(hint) if arg is not Ellipsis]
        return isinstance(value, list) and (len(inner) != 1 or all(_fits(item, inner[0]) for item in value))
    return True


def _hint_words(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        words = [_hint_words(option) for option in typing.get_args(hint) if option is not type(None)]
        return " or ".join(dict.fromkeys(word for word in words if word))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        return "a list"
    return _WORDS.get(hint, "")
