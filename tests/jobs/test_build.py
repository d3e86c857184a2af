"""From a spec to data, model and fit arguments; what does not fit together is refused before a run begins."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from distnn.data import Preprocessor
from distnn.engine import EXCHANGES
from distnn.errors import UserCodeError
from distnn.models.fitting import FitArguments, engine_options
from jobs import cli
from jobs.build import Job, Placement, build_job
from jobs.errors import SpecError
from jobs.identity import decisive
from jobs.spec import ClusterSpec
from jobs.specfile import load_spec

TABLE = "size,colour,kind\n" + "".join(
    f"{i / 10},{'red' if i % 3 else 'blue'},{'cat' if i % 2 else 'dog'}\n" for i in range(40)
)

TABLE_JOB = """\
name = "table"
seed = 1
[data]
source = "pets.csv"
target = "kind"
validation_fraction = 0.25
normalize = "minmax"
[model]
layers = [{type = "Dense", units = 2, activation = "softmax"}]
[training]
loss = "sparse_categorical_crossentropy"
epochs = 1
"""

USER_MODULE = """\
import numpy as np
from distnn.layers import Dense, Layer
from distnn.models import Sequential

def build():
    return Sequential([Dense(3, activation="softmax")])

def broken():
    return {}["nothing"]

class Bad(Layer):
    def call(self, x):
        raise KeyError("my own mistake")

def bad():
    return Sequential([Bad(), Dense(3)])

def number():
    return 5

def load():
    return np.arange(60.0).reshape(20, 3), np.arange(20) % 3

def load_from(folder, rows=20):
    if folder == "nowhere":
        raise SystemExit("there is no data in nowhere. Get them from example.org")
    return np.zeros((rows, 3)), np.arange(rows) % 3
"""


@pytest.fixture
def table_job(tmp_path: Path) -> Path:
    (tmp_path / "pets.csv").write_text(TABLE)
    path = tmp_path / "table.toml"
    path.write_text(TABLE_JOB)
    return path


@pytest.fixture
def user_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = f"user_module_{secrets.token_hex(4)}"
    (tmp_path / f"{module}.py").write_text(USER_MODULE)
    path = tmp_path / "user.toml"
    path.write_text(
        f'name = "user"\n[data]\nsource = "python:{module}:load"\n[model]\nfactory = "{module}:build"\n'
        '[training]\nloss = "sparse_categorical_crossentropy"\nepochs = 1\n'
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    return path


def build(path: Path, *overrides: str, placement: Placement | None = None) -> Job:
    return build_job(load_spec(path, overrides), placement)


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        build(path, *overrides)
    (line,) = caught.value.problems
    return line.replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("overrides", "placement", "shards", "workers"),
    [
        ((), Placement(), 4, 2),
        ((), Placement("ray", 3), 4, 3),
        (("training={loss='mse', epochs=1, batch_size=64}", "data.one_hot=true"), Placement(workers=4), 2, 4),
        (("cluster.workers={min=1, max=8}", "training.batch_size=40"), Placement("threads", 1), 4, 1),
    ],
)
def test_shards_come_from_the_spec_and_never_from_the_command_line(
    small_job: Path, overrides: tuple[str, ...], placement: Placement, shards: int, workers: int
) -> None:
    spec = build(small_job, *overrides, placement=placement).spec
    assert spec.training.shards == shards
    assert spec.cluster.workers is not None and spec.cluster.workers.max == workers


def test_the_exchange_reaches_the_engine_and_never_the_recipe(small_job: Path) -> None:
    job = build(small_job, "cluster.exchange='object_store'")
    assert job.fit_arguments()["exchange"] == "object_store"
    assert engine_options(FitArguments(**job.fit_arguments()), 1).exchange == "object_store"
    other = build(small_job, "cluster.exchange='object_store'", placement=Placement(exchange="hierarchical"))
    assert other.spec.cluster.exchange == other.engine_arguments()["exchange"] == "hierarchical"
    assert build(small_job).engine_arguments()["exchange"] == "auto"
    assert "exchange" not in decisive(other.spec.to_plain())


def test_the_exchanges_of_specs_and_command_line_are_the_engines() -> None:
    assert get_args(ClusterSpec.model_fields["exchange"].annotation) == EXCHANGES
    for command in (cli.run, cli.resume):
        (option,) = [one for one in command.params if one.name == "exchange"]
        assert tuple(option.type.choices) == EXCHANGES  # type: ignore[attr-defined]


def test_default_shards_hold_sixteen_samples(small_job: Path) -> None:
    training = "training={loss='mse', epochs=1, batch_size=40}"
    spec = build(small_job, training, "data.one_hot=true", "cluster.workers=8").spec
    assert spec.training.shards == 3


def test_everything_open_is_settled(small_job: Path) -> None:
    text = small_job.read_text().replace("seed = 3\n", "").replace("[cluster]\nworkers = 2\n", "")
    small_job.write_text(text)
    job = build(small_job)
    assert job.spec.seed is not None
    assert job.spec.cluster.threads == 1
    assert job.workers_used == 1
    again = build_job(load_spec(small_job), seed=job.spec.seed)
    assert again.spec == job.spec
    np.testing.assert_array_equal(again.data.train.x[0], job.data.train.x[0])


def test_preprocessing_is_fitted_on_the_training_part_and_kept_with_the_model(small_job: Path) -> None:
    job = build(small_job)
    assert job.data.validation is not None
    assert (job.data.train.num_samples, job.data.validation.num_samples) == (1438, 359)
    np.testing.assert_allclose(job.data.train.x[0].mean(), 0.0, atol=1e-6)
    assert abs(job.data.validation.x[0].mean()) > 1e-6
    config = job.model.preprocessor_config
    assert config is not None
    kept = Preprocessor.from_config(config)
    assert kept.to_config() == job.data.preprocessor.to_config()


def test_a_table_is_read_and_its_path_made_absolute(table_job: Path) -> None:
    job = build(table_job)
    assert job.data.train.x[0].shape == (30, 3)
    assert job.data.preprocessor.class_names == ("cat", "dog")
    assert job.spec.data.source == str(table_job.with_name("pets.csv"))


def test_class_weights_by_name_or_number(table_job: Path) -> None:
    job = build(table_job, 'training.class_weight={cat=1.0, "1"=2.0}')
    assert job.fit_arguments()["class_weight"] == {0: 1.0, 1: 2.0}
    line = refusal(table_job, "training.class_weight={bird=1.0}")
    assert line.endswith("'bird' is no class: expected a class number or one of cat, dog.")


def test_a_second_file_is_the_validation(table_job: Path) -> None:
    (table_job.parent / "more.csv").write_text("kind,colour,size\ncat,red,0.5\ndog,blue,0.1\n")
    text = table_job.read_text().replace("validation_fraction = 0.25", 'validation = "more.csv"')
    table_job.write_text(text)
    job = build(table_job)
    assert job.data.validation is not None
    assert (job.data.train.num_samples, job.data.validation.num_samples) == (40, 2)
    (table_job.parent / "more.csv").write_text("kind,colour,size\nbird,red,0.5\n")
    assert refusal(table_job).startswith("table.toml:6: data.validation: more.csv: line 2, column 'kind'")


def test_a_sources_own_test_part_is_held_out(tmp_path: Path, small_job: Path) -> None:
    x, y = np.ones((30, 4), np.float32), np.arange(30) % 10
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x[:7], y_test=y[:7])
    job = build(small_job, "data.source=own.npz")
    assert job.data.held_out is not None
    name, part = job.data.held_out
    assert (name, part.num_samples) == ("test", 7)
    assert job.data.validation is not None and job.data.validation.num_samples == 6


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "data.source=missing.npz",
            "--set data.source=missing.npz: data.source: missing.npz: no such file.",
        ),
        (
            "data.source=builtin:digitz",
            "--set data.source=builtin:digitz: data.source: there is no builtin data set 'digitz': expected "
            "one of digits. Did you mean 'digits'?",
        ),
        (
            "training.loss=mae",
            "--set training.loss=mae: training: `y_true` and `y_pred` must have the same shape. "
            "Received: y_true.shape=(None,), y_pred.shape=(None, 10)",
        ),
        (
            "data.one_hot=5",
            "--set data.one_hot=5: data.one_hot: y has label 5 at row 3: expected 0 to 4, for 5 classes",
        ),
        (
            'model.layers=[{type="Reshape", target_shape=[3, 3]}]',
            '--set model.layers=[{type="Reshape", target_shape=[3, 3]}]: model.layers: does not fit '
            "samples of shape (64): The total size of the tensor must be unchanged. Received: "
            "input_shape=(64,), target_shape=(3, 3)",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(small_job: Path, override: str, line: str) -> None:
    assert refusal(small_job, override) == line


def test_labels_outside_the_classes_are_refused(small_job: Path) -> None:
    line = refusal(small_job, 'model.layers=[{type="Dense", units=5}]')
    assert "label 5 at row" in line and "is outside the model's 5 classes (0 to 4)" in line


def test_user_modules_beside_the_spec_are_found(user_job: Path) -> None:
    job = build(user_job)
    assert job.model.count_params() == 12
    assert job.data.train.num_samples == 20


def test_options_of_the_data_are_the_loaders_arguments(user_job: Path) -> None:
    source = load_spec(user_job).spec.data.source
    loader = f"data.source={source}_from"
    job = build(user_job, loader, "data.options.folder=here", "data.options.rows=30")
    assert job.data.train.num_samples == 30
    assert job.spec.to_plain()["data"]["options"] == {"folder": "here", "rows": 30}
    assert "options" not in decisive(job.spec.to_plain())["data"]
    assert refusal(user_job, loader).endswith(
        f": data.options.folder: the option 'folder' is required by {source}_from and not given"
    )
    wrong = refusal(user_job, loader, "data.options.foldr=here")
    assert wrong == (
        f"--set data.options.foldr=here: data.options.foldr: {source}_from has no option 'foldr'. "
        "Did you mean 'folder'? It takes: folder, rows"
    )
    missing = refusal(user_job, loader, "data.options.folder=nowhere")
    assert missing.endswith(
        f"data.source: {source}_from: there is no data in nowhere. Get them from example.org"
    )
    assert "data.options.folder: input was not a valid JSON value" in refusal(
        user_job, loader, "data.options.folder=2020-01-01"
    )


def test_unknown_factory_is_refused_with_what_there_is(user_job: Path) -> None:
    module = load_spec(user_job).spec.model.factory
    assert module is not None
    name = module.partition(":")[0]
    line = refusal(user_job, f"model.factory={name}:buld")
    assert f"module '{name}' has no function 'buld'. Did you mean 'build'?" in line
    assert "there is no module 'nowhere'" in refusal(user_job, "model.factory=nowhere:build")
    assert "returned a int, expected a model" in refusal(user_job, f"model.factory={name}:number")


@pytest.mark.parametrize("function", ["broken", "bad"])
def test_errors_of_user_code_carry_the_users_frames_only(user_job: Path, function: str) -> None:
    factory = load_spec(user_job).spec.model.factory
    assert factory is not None
    with pytest.raises(UserCodeError) as caught:
        build(user_job, f"model.factory={factory.partition(':')[0]}:{function}")
    assert "KeyError" in caught.value.summary
    assert caught.value.user_traceback.count("File ") == 1
    assert f"in {'call' if function == 'bad' else function}" in caught.value.user_traceback
