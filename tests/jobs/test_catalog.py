"""Names and parameters in a spec: every mistake as one line with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distnn.constraints import NonNeg
from distnn.layers import Dense
from distnn.optimizers import Adam
from distnn.regularizers import L2
from distnn.schedules import CosineDecay
from jobs.catalog import LAYER, class_names, make_parts
from jobs.problems import key_of
from jobs.specfile import load_spec

TRAINING = 'loss = "mse"\nepochs = 1\n'
DENSE = "units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer"


def problems(tmp_path: Path, layers: str = '["Flatten"]', training: str = TRAINING) -> list[tuple[str, str]]:
    path = tmp_path / "spec.toml"
    path.write_text(
        f'name = "x"\n[data]\nsource = "builtin:digits"\n[model]\nlayers = {layers}\n[training]\n{training}'
    )
    return [(key_of(p.path), p.message) for p in make_parts(load_spec(path).spec)[1]]


@pytest.mark.parametrize(
    ("layers", "key", "message"),
    [
        ('["Dens"]', "model.layers[0]", "there is no layer 'Dens'. Did you mean 'Dense'?"),
        (
            '["Flatten", {type = "dense", units = 3}]',
            "model.layers[1].type",
            "there is no layer 'dense'. Did you mean 'Dense'?",
        ),
        (
            '[{type = "Dense", unit = 3}]',
            "model.layers[0].unit",
            "unknown key. Did you mean 'units'? Allowed",
        ),
        (
            '[{type = "Dense", size = 3, units = 3}]',
            "model.layers[0].size",
            f"unknown key. Allowed here: {DENSE}",
        ),
        ('["Dense"]', "model.layers[0].units", "is required by Dense and not given"),
        (
            '[{type = "Dense", units = "many"}]',
            "model.layers[0].units",
            "expected a whole number, received 'many'",
        ),
        (
            '[{type = "Dense", units = true}]',
            "model.layers[0].units",
            "expected a whole number, received true",
        ),
        (
            '[{type = "Dense", units = 3, use_bias = 1}]',
            "model.layers[0].use_bias",
            "expected true or false, received 1",
        ),
        (
            '[{type = "Dense", units = -3}]',
            "model.layers[0]",
            "Dense: Received an invalid value for `units`, expected a positive integer. Received: units=-3",
        ),
        (
            '[{type = "Dense", units = 3, activation = "rellu"}]',
            "model.layers[0].activation",
            "there is no activation 'rellu'. Did you mean 'relu' or 'relu6'?",
        ),
        (
            '[{type = "Dense", units = 3, kernel_initializer = "he_norml"}]',
            "model.layers[0].kernel_initializer",
            "there is no initializer 'he_norml'. Did you mean 'HeNormal'?",
        ),
        (
            '[{type = "Dense", units = 3, kernel_regularizer = {type = "L3"}}]',
            "model.layers[0].kernel_regularizer",
            "there is no regularizer 'L3'.",
        ),
        (
            '[{type = "Dense", units = 3, kernel_regularizer = {l2 = 0.1}}]',
            "model.layers[0].kernel_regularizer",
            "expected a regularizer as a table with a `type`, received a table with l2",
        ),
        (
            '[{type = "Dense", units = 3, kernel_constraint = "maxnorms"}]',
            "model.layers[0].kernel_constraint",
            "there is no constraint 'maxnorms'. Did you mean 'MaxNorm'?",
        ),
        (
            '[{type = "Dense", units = {a = 3}}]',
            "model.layers[0].units",
            "expected a whole number, received a table with a",
        ),
        (
            '[{type = "Dropout", rate = 2.0}]',
            "model.layers[0]",
            "Dropout: Invalid value received for argument",
        ),
    ],
)
def test_bad_layer_is_told(tmp_path: Path, layers: str, key: str, message: str) -> None:
    ((found_key, found),) = problems(tmp_path, layers)
    assert found_key == key
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("training", "key", "message"),
    [
        (
            'loss = "sparse_categorical_crosentropy"\nepochs = 1',
            "training.loss",
            "there is no loss 'sparse_categorical_crosentropy'. "
            "Did you mean 'sparse_categorical_crossentropy'?",
        ),
        (
            'loss = {type = "Huber", delta = "x"}\nepochs = 1',
            "training.loss.delta",
            "expected a number, received 'x'",
        ),
        (
            TRAINING + 'optimizer = "adm"',
            "training.optimizer",
            "there is no optimizer 'adm'. Did you mean 'Adam'?",
        ),
        (
            TRAINING + 'optimizer = {type = "SGD", momentun = 0.9}',
            "training.optimizer.momentun",
            "unknown key. Did you mean 'momentum'? Allowed here: learning_rate, momentum",
        ),
        (
            TRAINING + 'optimizer = {type = "SGD", momentum = "much"}',
            "training.optimizer.momentum",
            "expected a number, received 'much'",
        ),
        (
            TRAINING + 'optimizer = {type = "SGD", learning_rate = {type = "Cosine"}}',
            "training.optimizer.learning_rate",
            "there is no learning-rate schedule 'Cosine'. Did you mean 'CosineDecay'?",
        ),
        (
            TRAINING + 'optimizer = {type = "SGD", learning_rate = {type = "CosineDecay", decay_steps = 3}}',
            "training.optimizer.learning_rate.initial_learning_rate",
            "is required by CosineDecay and not given",
        ),
        (
            TRAINING + 'metrics = ["accuracy", "acuracy"]',
            "training.metrics[1]",
            "there is no metric 'acuracy'. Did you mean 'accuracy'?",
        ),
        (
            TRAINING + 'metrics = [{type = "TopKCategoricalAccuracy", kk = 3}]',
            "training.metrics[0].kk",
            "unknown key. Did you mean 'k'?",
        ),
    ],
)
def test_bad_training_is_told(tmp_path: Path, training: str, key: str, message: str) -> None:
    ((found_key, found),) = problems(tmp_path, training=training)
    assert found_key == key
    assert found.startswith(message)


def test_layers_over_images_need_no_more_than_keras_asks_for(tmp_path: Path) -> None:
    given = {
        "Conv": "filters = 2, kernel_size = 1",
        "Convolution": "filters = 2, kernel_size = 1",
        "SeparableConv": "filters = 2, kernel_size = 1",
        "SeparableConvolution": "filters = 2, kernel_size = 1",
        "DepthwiseConv": "kernel_size = 1",
        "AveragePooling": "pool_size = 2",
        "AvgPool": "pool_size = 2",
        "MaxPooling": "",
        "MaxPool": "",
    }
    names = [name for name in class_names(LAYER) if name.rstrip("123D") in given]
    names += [name for name in class_names(LAYER) if name.endswith("DTranspose")]
    assert len(names) > 25
    for name in names:
        stem = name.removesuffix("Transpose").rstrip("123D")
        assert problems(tmp_path, f'[{{type = "{name}", {given[stem]}}}]'.replace(", }", "}")) == []
    assert problems(tmp_path, '["Conv2D"]') == [
        ("model.layers[0].filters", "is required by Conv2D and not given"),
        ("model.layers[0].kernel_size", "is required by Conv2D and not given"),
    ]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, '["Dens", {type = "Dense", unit = 3}]', 'loss = "mze"\nepochs = 1')
    assert [key for key, _ in found] == ["model.layers[0]", "model.layers[1].unit", "training.loss"]


def test_all_names_are_listed_where_none_is_near_and_once(tmp_path: Path) -> None:
    layers = '["Qqq", "Dens", {type = "Zzz", x = 1}, {type = "Dense", units = 1, activation = "0"}]'
    found = dict(problems(tmp_path, layers))
    assert found["model.layers[0]"] == f"there is no layer 'Qqq'. Known: {', '.join(class_names(LAYER))}"
    assert found["model.layers[1]"] == "there is no layer 'Dens'. Did you mean 'Dense'?"
    assert found["model.layers[2].type"] == "there is no layer 'Zzz'. Known: see model.layers[0]"
    assert found["model.layers[3].activation"].startswith("there is no activation '0'. Known: celu, elu, ")


def test_parts_are_made(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        'name = "x"\n[data]\nsource = "builtin:digits"\n'
        '[model]\nlayers = [{type = "Dense", units = 3, kernel_regularizer = {type = "l2", l2 = 0.5}, '
        'kernel_constraint = {type = "MaxNorm", max_value = 3.0}, bias_constraint = "non_neg"}]\n'
        '[training]\nloss = "mse"\nepochs = 1\nmetrics = ["accuracy", "mae"]\n'
        'optimizer = {type = "adam", learning_rate = '
        '{type = "CosineDecay", initial_learning_rate = 0.1, decay_steps = 5}}\n'
    )
    parts, found = make_parts(load_spec(path).spec)
    assert not found
    assert parts.layers is not None
    layer: Any = parts.layers[0]
    assert isinstance(layer, Dense) and layer.units == 3
    assert isinstance(layer.kernel_regularizer, L2)
    assert layer.kernel_constraint.get_config() == {"max_value": 3.0, "axis": 0}
    assert isinstance(layer.bias_constraint, NonNeg)
    assert isinstance(parts.optimizer, Adam)
    assert isinstance(parts.optimizer.get_config()["learning_rate"], dict | CosineDecay)
    assert parts.loss == "mse"
    assert parts.metrics == ("accuracy", "mae")
