"""Models of images: the same bytes anywhere, no array made in a step, mistakes named, shapes as in Keras."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import Array, Outcome, step_sums, train

from distnn import layers, ops
from distnn.layers import Input
from distnn.models import Sequential
from distnn.optimizers import SGD, Adam

SHAPE = (10, 9, 1)


def pictures(samples: int = 29) -> tuple[Array, Array]:
    """Noise with a bright corner, and which corner it is."""
    rng = np.random.default_rng(samples)
    x = rng.normal(size=(samples, *SHAPE)).astype(np.float32)
    y = rng.integers(0, 4, samples).astype(np.int32)
    for image, corner in zip(x, y, strict=True):
        image[slice(0, 4) if corner & 1 else slice(6, 10), slice(0, 4) if corner & 2 else slice(5, 9)] += 2
    return x, y


def classifier(*middle: Callable[[], Any]) -> Callable[[], Sequential]:
    def make() -> Sequential:
        made = [layer() for layer in middle]
        ending = [layers.Flatten(), layers.Dense(4, "softmax")]
        model = Sequential([Input(SHAPE), *made, *ending])
        model.compile(Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
        return model

    return make


MODELS: dict[str, Callable[[], Sequential]] = {
    "convolutions by Winograd": classifier(
        lambda: layers.Conv2D(16, 3, activation="relu"),
        lambda: layers.Conv2D(32, 3, padding="same"),
        layers.BatchNormalization,
        lambda: layers.Activation("relu"),
        layers.MaxPooling2D,
        lambda: layers.Conv2D(16, 3, padding="same", activation="tanh"),
    ),
    "strides and groups": classifier(
        lambda: layers.Conv2D(6, 3, strides=2, padding="same"),
        lambda: layers.Conv2D(4, 2, groups=2, activation="relu"),
        lambda: layers.AveragePooling2D(2, 1),
    ),
    "separable and transposed": classifier(
        lambda: layers.SeparableConv2D(5, 3, activation="relu"),
        lambda: layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        layers.GlobalMaxPooling2D,
    ),
    "padded and cut": classifier(
        layers.ZeroPadding2D,
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        lambda: layers.Cropping2D(((1, 0), (0, 2))),
        layers.UpSampling2D,
        lambda: layers.GlobalAveragePooling2D(keepdims=True),
    ),
}
OPTIONS: dict[str, Any] = {"batch_size": 11, "shards": 3, "epochs": 2}
few = pytest.mark.filterwarnings("ignore:BatchNormalization")


def outcome(name: str, **place: Any) -> Outcome:
    return train(MODELS[name], *pictures(), **OPTIONS, **place)


@few
@pytest.mark.parametrize("name", MODELS)
def test_uneven_shards_give_the_same_bytes_anywhere(name: str) -> None:
    expected = outcome(name)
    assert len(set(expected.fingerprints)) == len(expected.fingerprints), "every step changes something"
    for workers in (1, 2, 3):
        assert outcome(name, backend="threads", workers=workers) == expected, workers


@few
@pytest.mark.parametrize("name", MODELS)
def test_eager_runs_give_the_same_bytes(name: str) -> None:
    def eager() -> Sequential:
        model = MODELS[name]()
        model._compiled["run_eagerly"] = True  # type: ignore[index]
        return model

    assert train(eager, *pictures(), **OPTIONS) == outcome(name)


@pytest.mark.parametrize("name", [name for name in MODELS if "Winograd" not in name])
@pytest.mark.parametrize("shards", [2, 5])
def test_shards_add_up_to_the_batch(name: str, shards: int) -> None:
    x, y = pictures(13)
    whole = step_sums(MODELS[name](), x.astype(np.float64), y, 1)
    parts = step_sums(MODELS[name](), x.astype(np.float64), y, shards)
    np.testing.assert_allclose(parts.gradient, whole.gradient, rtol=1e-9, atol=1e-11)


@few
def test_a_model_of_images_learns() -> None:
    x, y = pictures(200)
    model = MODELS["convolutions by Winograd"]()
    history = model.fit(x, y, batch_size=20, shards=2, epochs=3, verbose=0, seed=1).history
    assert history["accuracy"][-1] > 0.9


@few
def test_steps_allocate_no_array() -> None:
    """Every op over images runs in memory planned before."""
    x, y = pictures(512)
    model = Sequential([Input(SHAPE)])
    for layer in (
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(16, 3, padding="same"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.SeparableConv2D(16, 3, padding="same"),
        layers.Conv2DTranspose(8, 3, strides=2, padding="same"),
        layers.AveragePooling2D(2),
        layers.UpSampling2D(),
        layers.ZeroPadding2D(),
        layers.Cropping2D(2),
        layers.Conv2D(8, 3, strides=2),
        layers.GlobalMaxPooling2D(),
        layers.Dense(4, "softmax"),
    ):
        model.add(layer)
    model.compile(SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=128, shards=2, steps_per_epoch=20, verbose=0, seed=1)
    engine = model.engines["local"]
    gc.collect()
    engine.run_segment(10)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        engine.run_segment(40)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 16384, (
        f"{peak} bytes; the smallest activations of a shard have {64 * 8 * 4}, most 50 times that"
    )


def test_a_model_of_images_is_on_one_tape() -> None:
    """No call of Python between its kernels."""
    model = MODELS["convolutions by Winograd"]()
    x, y = pictures(64)
    model.fit(x, y, batch_size=32, shards=2, steps_per_epoch=2, verbose=0, seed=1)
    engine = model.engines["local"]
    tapes = [kept[0] for runner in engine._now.runners for kept in runner._tapes.values()]
    assert tapes and all(tape.whole is not None for tape in tapes)


def called(layer: Any, *shape: int) -> Any:
    return layer(np.zeros(shape, np.float32))


MESSAGES = [
    (lambda: layers.Conv2D(0, 3), r"Invalid value for argument `filters`. Expected a strictly positive"),
    (
        lambda: layers.Conv2D(2, (3, 3, 3)),
        r"The `kernel_size` argument must be a tuple of 2 integers. Received kernel_size=\(3, 3, 3\)",
    ),
    (
        lambda: layers.Conv2D(2, 0),
        "must be a tuple of 2 integers. Received kernel_size=0, including values \\{0\\} that do not satisfy "
        "`value > 0`",
    ),
    (lambda: layers.Conv2D(2, 3, padding="full"), r"`padding` argument must be one of .*padding='full'"),
    (lambda: layers.Conv2D(2, 3, padding="causal"), "padding='causal'"),
    (lambda: layers.Conv2D(2, 3, data_format="channels_first"), "must be 'channels_last'.*channels_first"),
    (
        lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2),
        r"`strides > 1` not supported in conjunction with `dilation_rate > 1`. Received: strides=\(2, 2\)",
    ),
    (lambda: layers.Conv2D(3, 3, groups=2), "evenly divisible by the number of groups. Received: groups=2"),
    (lambda: layers.Conv2D(2, 3, groups=0), "The number of groups must be a positive integer"),
    (lambda: layers.Conv2D(2, 3, kernel=3), "Unrecognized keyword arguments passed to Conv2D"),
    (
        lambda: called(layers.Conv2D(2, 3, groups=2), 1, 5, 5, 3),
        r"Received groups=2, but the input has 3 channels \(full input shape is \(None, 5, 5, 3\)\)",
    ),
    (
        lambda: called(layers.Conv2D(2, 3), 1, 5, 5),
        r"Input 0 of layer 'conv2d' is incompatible with the layer: expected min_ndim=4, found ndim=3. Full "
        r"shape received: \(None, 5, 5\)",
    ),
    (
        lambda: called(layers.Conv2D(2, 3), 1, 2, 5, 1),
        r"Computed output size would be zero or negative. Received `inputs shape=\(None, 2, 5, 1\)`",
    ),
    (
        lambda: called(layers.MaxPooling2D(3), 1, 2, 5, 1),
        r"Computed output size would be zero or negative. Received: `inputs.shape=\(None, 2, 5, 1\)`",
    ),
    (lambda: called(layers.MaxPooling2D(), 1, 2, 5), "expected ndim=4, found ndim=3"),
    (lambda: called(layers.GlobalAveragePooling1D(), 1, 2), "expected ndim=3, found ndim=2"),
    (lambda: layers.MaxPooling2D(padding="causal"), "padding='causal'"),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "Received depth_multiplier=0"),
    (
        lambda: layers.Conv2DTranspose(1, 3, strides=2, output_padding=2),
        "`output_padding` must be strictly less than `strides` for all dimensions. At dimension 0",
    ),
    (lambda: layers.UpSampling1D(0), "Argument `size` should be a positive integer. Received: size=0"),
    (lambda: layers.UpSampling2D(interpolation="bicubic"), "'nearest' or 'bilinear'.*'bicubic'"),
    (lambda: layers.ZeroPadding2D((1, 2, 3)), r"`padding` should have two elements. Received: padding=\(1,"),
    (lambda: layers.ZeroPadding2D(1.5), "`padding` should be either an int, a tuple of 2 ints"),
    (lambda: layers.Cropping2D(-1), "`cropping` cannot be negative"),
    (
        lambda: called(layers.Cropping1D((2, 3)), 1, 5, 2),
        "`cropping` parameter of `Cropping1D` layer must be smaller than the input length",
    ),
    (lambda: called(layers.Cropping2D(2), 1, 4, 5, 2), "should be smaller than the corresponding spatial"),
    (lambda: layers.get_class("Conv2d"), "Did you mean 'Conv"),
    (lambda: ops.conv(np.zeros((1, 5, 3)), np.zeros((2, 2, 4))), "must be a multiple of the kernel's"),
    (lambda: ops.conv(np.zeros((1, 5, 3)), np.zeros((2, 4))), "Kernel shape must have the same length"),
    (lambda: ops.depthwise_conv(np.zeros((1, 5, 3)), np.zeros((2, 4, 1))), "filters for each input channel"),
    (lambda: ops.conv_transpose(np.zeros((1, 5, 3)), np.zeros((2, 3, 4))), "kernel is .*filters, channels"),
    (lambda: ops.pad(np.zeros((2, 3)), 1, mode="reflect"), "`mode` must be 'constant'.*'reflect'"),
    (lambda: ops.pad(np.zeros((2, 3)), ((1, 1), (1, -1))), "non-negative integers for each of 2 axes"),
]


@pytest.mark.parametrize("call, message", MESSAGES, ids=[message[:50] for _, message in MESSAGES])
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_size_that_is_no_integer_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="Expected an integer value for `size`"):
        layers.UpSampling1D(1.5)  # type: ignore[arg-type]


def test_keras_other_names_are_the_same_layers() -> None:
    assert layers.MaxPool2D is layers.MaxPooling2D and layers.AvgPool1D is layers.AveragePooling1D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D
    assert layers.Convolution2D is layers.Conv2D
    assert layers.SeparableConvolution2D is layers.SeparableConv2D


def test_pad_puts_values_around() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(ops.pad(x, ((1, 0), (0, 2))), np.pad(x, ((1, 0), (0, 2))))
    np.testing.assert_array_equal(ops.pad(x, 1, constant_values=-2.5), np.pad(x, 1, constant_values=-2.5))


def test_bilinear_upsampling_keeps_centres_and_edges() -> None:
    x = np.array([0.0, 4.0], np.float32).reshape(1, 1, 2, 1)
    y = layers.UpSampling2D((1, 4), interpolation="bilinear")(x)
    np.testing.assert_allclose(y.reshape(-1), [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4])


def test_a_causal_convolution_sees_no_later_step() -> None:
    layer = layers.Conv1D(2, 3, padding="causal", dilation_rate=2)
    x = np.random.default_rng(0).normal(size=(1, 8, 2)).astype(np.float32)
    before = layer(x)
    x[0, 5] += 1
    changed = np.abs(layer(x) - before).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(changed, [False] * 5 + [True, False, True])
