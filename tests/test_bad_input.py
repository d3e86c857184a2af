"""What cannot be done is said in one message, with what was given and what is allowed; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import classification, weight_bytes

from distnn.layers import Dense, Dropout, Input, Layer
from distnn.models import Model, Sequential
from distnn.optimizers import SGD

X, Y = classification(50)
ONE_HOT = np.eye(3)[Y]
SPARSE, CATEGORICAL = "sparse_categorical_crossentropy", "categorical_crossentropy"


def built() -> Sequential:
    return Sequential([Input((6,)), Dense(3, "softmax")])


def compiled(loss: Any = SPARSE, optimizer: Any = "sgd", **options: Any) -> Sequential:
    model = built()
    model.compile(optimizer, loss, **options)
    return model


def with_nan(array: Any, *place: int) -> Any:
    changed = np.array(array, np.float32)
    changed[place] = np.nan
    return changed


COMPILE: list[tuple[Callable[[], Any], str]] = [
    (lambda: compiled(optimizer="admn"), "Could not interpret optimizer identifier: admn.*Did you mean 'ada"),
    (lambda: compiled(optimizer=3), "Could not interpret optimizer identifier: 3"),
    (lambda: compiled("mze"), "Could not interpret loss identifier: 'mze'. Did you mean 'mse'"),
    (lambda: compiled(metrics=["acuracy"]), "metric identifier: 'acuracy'. Did you mean 'accuracy'"),
    (
        lambda: compiled(metrics="accuracy"),
        "Expected `metrics` argument to be a list, tuple, or dict. Received inst",
    ),
    (lambda: compiled(weighted_metrics=["maa"]), "Could not interpret metric identifier: 'maa'"),
    (
        lambda: compiled(loss_weights=[0.5, 0.5]),
        r"`loss_weights` as a list has as many .* Received: 2 entries",
    ),
    (lambda: compiled(loss=["mse", "mae"]), r"`loss` as a list has as many .* Received: 2 entries"),
    (lambda: built().fit(X, Y), r"You must call `compile\(\)` before using the model"),
    (lambda: built().evaluate(X, Y), r"You must call `compile\(\)` before using the model"),
    (lambda: built().train_on_batch(X, Y), r"You must call `compile\(\)` before using the model"),
    (lambda: compiled(None).fit(X, Y), r"No loss to compute. Provide a `loss` argument in `compile\(\)`"),
]

ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"backend": "thread"}, "Unknown backend: 'thread'.*'local', 'threads', 'ray'.*Did you mean 'threads'"),
    ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: batch_size=0"),
    ({"batch_size": 2.5}, "`batch_size` must be a positive integer. Received: batch_size=2.5"),
    ({"epochs": 0}, "`epochs` must be a positive integer. Received: epochs=0"),
    ({"workers": -1}, "`workers` must be a positive integer. Received: workers=-1"),
    ({"shards": True}, "`shards` must be a positive integer. Received: shards=True"),
    ({"initial_epoch": -1}, "`initial_epoch` must not be negative. Received: -1"),
    ({"verbose": 7}, '`verbose` must be 0, 1, 2 or "auto". Received: verbose=7'),
    ({"callbacks": [print]}, "`callbacks` must be .*Callback` objects. Received: <built-in function print>"),
    ({"validation_split": 1.5}, "validation_split"),
    (
        {"validation_data": X},
        r"`validation_data` must be a tuple \(x, y\) or \(x, y, sample_weight\).*ndarray",
    ),
    ({"validation_data": (X,)}, "`validation_data` must be a tuple.*tuple of length 1"),
    ({"validation_data": (X[:, :4], Y)}, r"expected shape \(None, 6\), received \(50, 4\)"),
    ({"validation_data": (X, Y + 1)}, "validation data: label 3 at row"),
    ({"validation_freq": 0}, "`validation_freq` must be a positive integer. Received: validation_freq=0"),
    ({"sample_weight": np.ones(7)}, "Data cardinality is ambiguous.*'sample_weight' sizes: 7"),
    (
        {"sample_weight": np.ones((50, 2))},
        r"`sample_weight` has shape \(None, 2\), and the loss '.*' has values",
    ),
    ({"run_dir": "a", "recorder": object()}, "give `run_dir` or `recorder`, not both"),
]

DATA: list[tuple[Any, Any, str]] = [
    (None, Y, "no data: `x` is None"),
    (X, None, "no targets: `y` is None"),
    (
        X,
        Y[:7],
        "Data cardinality is ambiguous. Make sure all arrays contain the same number of samples.*50.*7",
    ),
    (X[:0], Y[:0], "no samples|empty"),
    (X[:, :4], Y, r"x does not fit the model: expected shape \(None, 6\), received \(50, 4\)"),
    ([X, X], Y, r"the model has 1 input\(s\), but 2 arrays were given as x"),
    ({"a": X}, Y, "x is a dict"),
    (
        iter(X),
        Y,
        "When providing `x` as a generator, `y` should not be passed|x is a .*iterator: expected",
    ),
    (
        with_nan(X, 31, 4),
        Y,
        r"x has a value that is not finite \(nan\) at row 31, column 4 \(1 such value in",
    ),
    (X * np.inf, Y, "x has a value that is not finite .* row 0, column 0 .300 such values in all"),
    (X, with_nan(Y, 9), "y has a value that is not finite .nan. at row 9"),
    (
        X,
        Y + 1,
        r"(training|evaluation) data: label 3 at row \d+ is outside the model's 3 classes \(0 to 2\)",
    ),
    (X, -Y, r"label -[12] at row \d+ is outside the model's 3 classes"),
    (X, Y + 0.5, "takes class numbers; y at row 0 is .*5. For one-hot targets use categorical_crossentropy"),
    (X, ONE_HOT, "one class number per prediction"),
    (X.astype(str), Y, "x holds text"),
    ([[1.0] * 6, [2.0]], [0, 1], "x is not a rectangular array: its rows have different lengths"),
]


@pytest.mark.parametrize("call, message", COMPILE, ids=[message[:40] for _, message in COMPILE])
def test_compile_names_what_it_does_not_know(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("arguments, message", ARGUMENTS, ids=[m[:40] for _, m in ARGUMENTS])
def test_fit_refuses_arguments(arguments: dict[str, Any], message: str) -> None:
    model = compiled()
    model.ensure_initialized(1)
    before = weight_bytes(model)
    with pytest.raises(ValueError, match=message):
        model.fit(**{"x": X, "y": Y, "verbose": 0, **arguments})
    assert weight_bytes(model) == before and model.optimizer.iterations == 0


@pytest.mark.parametrize("x, y, message", DATA, ids=[message[:40] for *_, message in DATA])
def test_data_that_do_not_fit_are_refused(x: Any, y: Any, message: str) -> None:
    model = compiled()
    for use in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(ValueError, match=message):
            use(x, y)  # type: ignore[operator]
    assert model.optimizer.iterations == 0


def test_data_that_do_not_fit_leave_the_model_usable() -> None:
    model = compiled()
    for x, y, _ in DATA:
        with pytest.raises(ValueError):
            model.fit(x, y, verbose=0)
    assert len(model.fit(X, Y, verbose=0).history["loss"]) == 1


OTHERS: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: compiled("mse").fit(X, X[:, 0] + 0.5, class_weight={0: 1.0}),
        "`class_weight` needs targets that are class numbers or one-hot",
    ),
    (lambda: compiled(CATEGORICAL).fit(X, Y), "for integer labels use sparse_categorical_crossentropy"),
    (lambda: compiled("mse").fit(X, X[:, :2]), r"y_true.shape=\(None, 2\), y_pred.shape=\(None, 3\)"),
    (lambda: compiled().predict(X[:, :4]), r"expected shape \(None, 6\), received \(50, 4\)"),
    (lambda: compiled().predict(X[:0]), "no samples|empty"),
    (lambda: compiled().predict(X, backend="rai"), "Unknown backend: 'rai'.*Did you mean 'ray'"),
    (lambda: Sequential().fit(X, Y), r"You must call `compile\(\)`"),
    (lambda: Sequential([Dense(3)]).summary() or Sequential().pop(), "There are no layers in the model"),
    (lambda: Sequential([3]), "Only instances of `distnn.layers.Layer` can be added.*Received: 3 .of type"),  # type: ignore[list-item]
    (lambda: Sequential([Dense(3), Input((6,))]), "Input must be the first entry of a Sequential"),
    (
        lambda: Sequential([Dense(3, name="a"), Dense(3, name="a")]),
        "should have unique names.*Name 'a' is already the name of a layer in this model",
    ),
    (lambda: Sequential([Input((6,)), Dense(3)]).add(dense_of_rank_1()), "expected min_ndim=2, found ndim=1"),
    (lambda: Sequential([Dense(3)]).build(), "cannot be built without an input shape"),
    (lambda: built().get_layer("dens"), r"No such layer: dens. Existing layers are: \['dense'\]"),
    (lambda: built().get_layer(index=4), "retrieve layer at index 4 but model only has 1 layers"),
    (lambda: built().get_layer(), "Provide either a layer name or layer index at `get_layer`"),
    (
        lambda: built().set_weights([np.zeros(3)]),
        "on layer 'sequential' with a weight list of length 1, but the layer was expecting 2 weights",
    ),
    (
        lambda: built().set_weights([np.zeros((6, 3)), np.zeros(4)]),
        r"Layer sequential weight shape \(3,\) is not compatible with provided weight shape \(4,\)",
    ),
    (lambda: Model().fit(X, Y), r"You must call `compile\(\)`"),
    (lambda: compiled_subclass().fit(X, Y), r"define `call\(self, inputs\)`"),
    (lambda: Dropout(0.5).add_weight((2, None)), "every dimension of a weight must be a known"),  # type: ignore[arg-type]
]


def dense_of_rank_1() -> Layer:
    class Flat(Layer):
        def call(self, inputs: Any) -> Any:
            from distnn import ops

            return Dense(2)(ops.mean(inputs, axis=-1))

    return Flat()


def compiled_subclass() -> Model:
    model = Model()
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("call, message", OTHERS, ids=[message[:40] for _, message in OTHERS])
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        call()


def test_a_failed_fit_can_be_tried_again() -> None:
    model = compiled(optimizer=SGD(0.1))
    with pytest.raises(ValueError):
        model.fit(X, Y, backend="nowhere")
    with pytest.raises(ValueError):
        model.add(3)  # type: ignore[arg-type]
    model.fit(X, Y, verbose=0)
