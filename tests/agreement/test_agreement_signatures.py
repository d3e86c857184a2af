"""Every public name that Keras 3 has too takes the same arguments, in the same order, with the same defaults.

What differs stands in the tables of this file, and in docs/coming-from-keras.md where users meet it.
"""

from __future__ import annotations

import importlib
import inspect
import os
from typing import Any

import pytest

from distnn.layers.keras_arguments import _DEFAULTS
from distnn.optimizers.base import _WITHOUT_EFFECT, Options

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")

MODULES = (
    *("layers", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks", "initializers"),
    *("regularizers", "constraints", "activations", "ops", "saving"),
    *("datasets.mnist", "datasets.fashion_mnist", "datasets.cifar10", "datasets.cifar100", "datasets.imdb"),
    *("datasets.reuters", "datasets.boston_housing", "datasets.california_housing", "preprocessing.image"),
)
BY_BASE = {
    "layers": {"name", "dtype", "trainable", "activity_regularizer", *_DEFAULTS},
    "optimizers": {*Options.__annotations__, *_WITHOUT_EFFECT},
    "callbacks": set(),
}
"""Arguments that `**kwargs` hands to a base class."""
LEFT_OUT: dict[str, set[str]] = {
    "layers": {"tensor", "input_tensor", "optional", "custom_objects"},
    "losses": {"dtype"},
    "metrics": {"dtype", "ignore_class", "from_sorted_ids"},
    "initializers": {"input_axes", "output_axes"},
    "saving": {"skip_mismatch", "max_shard_size"},
    "ops": {
        *("sparse", "ragged", "dtype", "sorted", "retstep", "synchronized", "initial", "posinf", "neginf"),
        *("flash_attention", "attn_logits_soft_cap"),
    },
}
"""Arguments that nothing here takes."""
DIFFERENT: dict[str, set[str]] = {
    "layers.Discretization": {"epsilon"},
    "layers.RandomContrast": {"value_range"},
    "layers.IntegerLookup": {"oov_token"},  # the same token; None stands for it
    "layers.StringLookup": {"oov_token"},
    "losses.binary_crossentropy": {"axis"},
    "losses.binary_focal_crossentropy": {"axis"},
    "losses.sparse_categorical_crossentropy": {"ignore_class"},
    "metrics.binary_crossentropy": {"axis"},
    "metrics.binary_focal_crossentropy": {"axis"},
    "callbacks.CallbackList": {"add_history", "add_progbar"},
    "ops.convert_to_tensor": {"sparse"},
    "ops.cross": {"axisa", "axisb", "axisc", "axis"},
    "ops.diagonal": {"offset", "axis1", "axis2"},
    "ops.trace": {"offset", "axis1", "axis2"},
    "ops.linspace": {"axis"},
    "ops.one_hot": {"axis"},
    "ops.where": {"x1", "x2"},  # of a condition alone there are places, as many as there happen to be
    "ops.arange": {"step"},  # None and 1 are the same steps
    "ops.normalize": {"epsilon"},
    "ops.rms_normalization": {"scale", "epsilon"},
    "ops.segment_sum": {"num_segments"},
    "ops.eye": {"dtype"},
    "ops.identity": {"dtype"},
    "ops.ones": {"dtype"},
    "ops.tri": {"dtype"},
    "ops.zeros": {"dtype"},
}
"""Arguments of single names that are missing or have another default."""
SAME_VALUE = {("Zeros", "zeros")}


def arguments(function: Any) -> tuple[dict[str, Any], bool] | None:
    """Names with their defaults, in order, and whether any others are taken."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind for parameter in found}
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = {parameter.name: parameter.default for parameter in found if parameter.kind not in variable}
    return named, inspect.Parameter.VAR_KEYWORD in kinds


def pairs(module: str) -> list[tuple[str, Any, Any]]:
    theirs = importlib.import_module(f"keras.{module}")
    ours = importlib.import_module(f"distnn.{module}")
    names = [name for name in dir(theirs) if not name.startswith("_") and hasattr(ours, name)]
    found = [(name, getattr(theirs, name), getattr(ours, name)) for name in names]
    return [(name, its, mine) for name, its, mine in found if callable(its) and not inspect.ismodule(its)]


@pytest.mark.parametrize("module", MODULES)
def test_arguments_are_keras_ones(module: str) -> None:
    problems = []
    for name, theirs, ours in pairs(module):
        its, mine = arguments(theirs), arguments(ours)
        if its is None or mine is None or isinstance(ours, dict):
            continue
        excused = LEFT_OUT.get(module, set()) | DIFFERENT.get(f"{module}.{name}", set())
        given, takes_more = mine
        through_base = BY_BASE.get(module, set()) if takes_more else set()
        if module == "layers" and takes_more and name.endswith("Cell"):
            through_base = through_base | set(its[0])  # the base of all cells takes them
        if name == "LambdaCallback":
            through_base = set(its[0])
        missing = set(its[0]) - set(given) - excused - through_base
        if missing:
            problems.append(f"{name} lacks {sorted(missing)}")
        both = [key for key in its[0] if key in given]
        if both != [key for key in given if key in its[0]]:
            problems.append(f"{name} has another order: {[key for key in given if key in its[0]]} for {both}")
        for key in both:
            if key not in excused and not same(its[0][key], given[key]) and not is_own_name(name, key, given):
                problems.append(f"{name}({key}={given[key]!r}) for {its[0][key]!r}")
    assert not problems, "\n".join(problems)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    return bool(one == other) or (one, other) in SAME_VALUE or (other, one) in SAME_VALUE


def is_own_name(name: str, key: str, given: dict[str, Any]) -> bool:
    """`name=None` stands for the class's name in snake case, which Keras writes out."""
    return key == "name" and given[key] is None


@pytest.mark.parametrize("module", ["losses", "metrics", "optimizers"])
def test_names_by_default_are_keras_ones(module: str) -> None:
    for name, theirs, ours in pairs(module):
        if inspect.isclass(theirs) and name not in ("Loss", "Metric", "Optimizer", "LossScaleOptimizer"):
            try:
                its = theirs()
            except TypeError:
                continue
            assert ours().name == its.name or its.name.rsplit("_", 1)[0] == ours().name, name


NOT_THERE: dict[str, set[str]] = {
    "losses": set(),
    "metrics": set(),
    "optimizers": {
        "LossScaleOptimizer",
        "MultiOptimizer",
        "Muon",
        "OptimizerMap",
        "ScheduleFreeAdamW",
        "legacy",
    },
    "optimizers.schedules": set(),
    "callbacks": {"OrbaxCheckpoint", "SwapEMAWeights"},
    "initializers": {"STFT", "STFTInitializer", "stft"},
    "regularizers": set(),
    "constraints": set(),
    "activations": set(),
}


@pytest.mark.parametrize("module", NOT_THERE)
def test_what_keras_has_and_is_not_here_is_known(module: str) -> None:
    theirs, ours = (importlib.import_module(f"{kit}.{module}") for kit in ("keras", "distnn"))
    names = {name for name in dir(theirs) if not name.startswith("_")}
    assert {name for name in names if not hasattr(ours, name)} <= NOT_THERE[module]


USED = """
Activation Add Attention Average AveragePooling2D BatchNormalization Bidirectional Concatenate Conv1D
Conv1DTranspose Conv2D Conv2DTranspose Conv3D ConvLSTM2D Cropping2D Dense DepthwiseConv2D Dot Dropout ELU
Embedding Flatten GRU GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
GroupNormalization Input LSTM Lambda LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D Maximum
MultiHeadAttention Multiply Normalization PReLU Permute RNN RandomContrast RandomFlip RandomRotation
RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing SeparableConv2D SimpleRNN Softmax
SpatialDropout1D StringLookup IntegerLookup Subtract TextVectorization TimeDistributed UnitNormalization
UpSampling2D ZeroPadding2D CategoryEncoding Discretization GaussianNoise""".split()
"""Layers that published programs use."""


@pytest.mark.parametrize("name", USED)
def test_the_layers_of_published_programs_are_there(name: str) -> None:
    layers = importlib.import_module("distnn.layers")
    assert hasattr(layers, name) and hasattr(keras.layers, name)
