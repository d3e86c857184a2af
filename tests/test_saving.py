"""Saved models: everything comes back, nothing of time or place is written, foreign files are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import classification, weight_bytes

from distnn import losses
from distnn.checkpoint import save_tensors
from distnn.errors import CheckpointError
from distnn.layers import BatchNormalization, Dense, Dropout, Input
from distnn.metrics import SparseTopKCategoricalAccuracy
from distnn.models import Model, Sequential, load_model
from distnn.optimizers import Adam
from distnn.optimizers.schedules import ExponentialDecay

X, Y = classification(50)


def whole() -> Sequential:
    model = Sequential(name="mine")
    model.add(Input((6,)))
    model.add(Dense(5, "gelu", kernel_regularizer="l2", kernel_initializer="he_normal"))
    model.add(Sequential([BatchNormalization(momentum=0.9), Dropout(0.2, seed=3)], name="inner"))
    model.add(Dense(3, name="last"))
    model.layers[0].trainable = False
    model.compile(
        Adam(ExponentialDecay(0.01, 10, 0.9), clipnorm=1.0),
        losses.SparseCategoricalCrossentropy(from_logits=True),
        ["accuracy", SparseTopKCategoricalAccuracy(k=2, name="top")],
        loss_weights=0.5,
    )
    return model


def fitted(make: Callable[[], Model], **options: Any) -> Model:
    model = make()
    model.fit(X, Y, verbose=0, seed=1, **options)
    model.close()
    return model


def test_everything_comes_back(tmp_path: Path) -> None:
    model = fitted(whole)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert isinstance(again, Sequential) and again.name == "mine"
    assert again.get_config() == model.get_config()
    assert weight_bytes(again) == weight_bytes(model)
    assert [v.path for v in again.trainable_variables] == [v.path for v in model.trainable_variables]
    assert again.optimizer.get_config() == model.optimizer.get_config()
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.evaluate(X, Y, verbose=0, return_dict=True) == model.evaluate(
        X, Y, verbose=0, return_dict=True
    )


def test_a_loaded_model_trains_on(tmp_path: Path) -> None:
    fitted(whole).save(tmp_path / "model.safetensors")
    outcomes = []
    for _ in range(2):
        model = load_model(tmp_path / "model.safetensors")
        model.fit(X, Y, verbose=0, seed=2)
        outcomes.append(weight_bytes(model))
    assert outcomes[0] == outcomes[1]


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fitted(whole).save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_without_compile(tmp_path: Path) -> None:
    fitted(whole).save(tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors", compile=False)
    with pytest.raises(ValueError, match=r"You must call `compile\(\)` before using the model"):
        model.evaluate(X, Y)
    assert model.predict(X).shape == (50, 3)


def test_a_model_built_by_its_data_comes_back(tmp_path: Path) -> None:
    def make() -> Sequential:
        model = Sequential([Dense(4, "relu"), Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    model = fitted(make)
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load_model(tmp_path / "model.safetensors").predict(X), model.predict(X))


def test_weights_alone(tmp_path: Path) -> None:
    model, other = fitted(whole), whole()
    model.save_weights(tmp_path / "weights.safetensors")
    other.load_weights(tmp_path / "weights.safetensors")
    assert weight_bytes(other) == weight_bytes(model)
    model.save(tmp_path / "model.safetensors")
    third = whole()
    third.load_weights(tmp_path / "model.safetensors")
    assert weight_bytes(third) == weight_bytes(model)
    with pytest.raises(CheckpointError, match="holds weights or a checkpoint, not a whole model"):
        load_model(tmp_path / "weights.safetensors")


# Refusals


def other(*sizes: int) -> Sequential:
    model = Sequential([Input((6,)), Dropout(0.1), *(Dense(size) for size in sizes)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    "sizes, message",
    [
        ((4, 1), r"lacks \['dense_1/bias', 'dense_1/kernel'\] and has none in addition"),
        ((), r"lacks none and has \['dense/bias', 'dense/kernel'\] in addition"),
        (
            (5,),
            r"'dense/bias' has shape \(4,\), the model's has \(5,\)|'dense/kernel' has shape \(6, 4\), the",
        ),
    ],
)
def test_weights_of_another_model_are_refused_whole(
    tmp_path: Path, sizes: tuple[int, ...], message: str
) -> None:
    path = tmp_path / "weights.safetensors"
    other(4).save_weights(path)
    model = other(*sizes)
    model.ensure_initialized(1)
    before = weight_bytes(model)
    with pytest.raises(CheckpointError, match=message):
        model.load_weights(path)
    assert weight_bytes(model) == before


def test_files_that_are_not_there_or_not_ours(tmp_path: Path) -> None:
    model = other(4)
    with pytest.raises((CheckpointError, OSError), match="missing.safetensors"):
        model.load_weights(tmp_path / "missing.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    model.save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x00")
    with pytest.raises(CheckpointError, match="damaged.safetensors"):
        load_model(damaged)
    foreign = tmp_path / "foreign.safetensors"
    save_tensors(foreign, {"a": np.zeros(3, np.float32)}, {"format": "other"})
    with pytest.raises(CheckpointError, match="not a whole model"):
        load_model(foreign)


def test_names_of_files(tmp_path: Path) -> None:
    model = other(4)
    for name in ("model.pt", "model"):
        with pytest.raises(ValueError, match=r"Invalid filepath extension for saving.*safetensors.*Received"):
            model.save(tmp_path / name)
    path = tmp_path / "model.safetensors"
    model.save(path)
    before = path.read_bytes()
    model.set_weights([np.ones_like(array) for array in model.get_weights()])
    with pytest.raises(ValueError, match="exists already; pass overwrite=True"):
        model.save(path, overwrite=False)
    assert path.read_bytes() == before
    model.save(str(path))
    assert path.read_bytes() != before


def test_names_that_keras_programs_use_hold_the_same_bytes(tmp_path: Path) -> None:
    model = other(4)
    for name in ("model.safetensors", "model.keras", "old.h5"):
        model.save(tmp_path / name)
        assert weight_bytes(load_model(tmp_path / name)) == weight_bytes(model)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    again = other(4)
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")
    assert weight_bytes(again) == weight_bytes(model)


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"], ids=["keras", "hdf5"])
def test_files_that_keras_wrote_are_named(tmp_path: Path, magic: bytes) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(magic + bytes(100))
    with pytest.raises(CheckpointError, match="not a .safetensors file of distnn: give a file that distnn s"):
        load_model(path)


def test_weights_for_a_model_that_is_not_built(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    other(4).save_weights(path)
    with pytest.raises(ValueError, match="no weights yet: build it first"):
        Sequential([Dense(4)]).load_weights(path)
