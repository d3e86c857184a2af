"""Specs: round trips, and every refusal as exactly one line that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import SpecError
from jobs.spec import JobSpec
from jobs.specfile import load_spec

GOOD = """\
name = "digits"
seed = 7

[data]
source = "builtin:digits"
validation_fraction = 0.2
normalize = "standard"

[model]
layers = [
  {type = "Dense", units = 64, activation = "relu"},
  {type = "Dropout", rate = 0.1},
  "Flatten",
  {type = "Dense", units = 10, activation = "softmax"},
]

[training]
loss = "sparse_categorical_crossentropy"
optimizer = {type = "SGD", learning_rate = {type = "CosineDecay", decay_steps = 9}}
metrics = ["accuracy"]
epochs = 20
batch_size = 64
shards = 4
class_weight = {0 = 1.0, 1 = 2}

[cluster]
backend = "ray"
workers = {min = 1, max = 2}

[checkpoint]
every_steps = 30
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "digits.toml"
    path.write_text(GOOD)
    return path


def problems_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    folder = f"{path.parent}/"
    return [line.replace(folder, "") for line in caught.value.problems]


def test_spec_survives_json_and_back(spec_file: Path) -> None:
    spec = load_spec(spec_file).spec
    text = json.dumps(spec.to_plain())
    assert JobSpec.model_validate(json.loads(text)) == spec
    copy = spec_file.with_suffix(".json")
    copy.write_text(text)
    assert load_spec(copy).spec == spec


def test_spec_reads_what_was_written(spec_file: Path) -> None:
    spec = load_spec(spec_file).spec
    assert spec.model.layers is not None
    assert [layer.type for layer in spec.model.layers] == ["Dense", "Dropout", "Flatten", "Dense"]
    assert spec.model.layers[0].params == {"units": 64, "activation": "relu"}
    assert spec.cluster.workers is not None
    assert (spec.cluster.workers.min, spec.cluster.workers.max) == (1, 2)
    assert spec.training.class_weight == {"0": 1.0, "1": 2.0}


def test_spec_is_frozen(spec_file: Path) -> None:
    spec = load_spec(spec_file).spec
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 8


def test_plain_number_of_workers_is_the_most_and_one_the_least(spec_file: Path) -> None:
    spec = load_spec(spec_file, ["cluster.workers=3"]).spec
    assert spec.cluster.workers is not None
    assert (spec.cluster.workers.min, spec.cluster.workers.max) == (1, 3)
    assert spec.to_plain()["cluster"]["workers"] == 3


def test_a_range_of_workers_survives(spec_file: Path) -> None:
    spec = load_spec(spec_file, ["cluster.workers={min=3, max=3}"]).spec
    assert spec.to_plain()["cluster"]["workers"] == {"min": 3, "max": 3}
    assert JobSpec.model_validate(spec.to_plain()) == spec


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.epochs=3", ("training", "epochs"), 3),
        ("training.loss=mse", ("training", "loss"), "mse"),
        ("name=other", ("name",), "other"),
        ('data.drop=["a", "b"]', ("data", "drop"), ["a", "b"]),
        ("model.layers.0.units=32", ("model", "layers", 0, "units"), 32),
        ("training.optimizer.learning_rate=0.5", ("training", "optimizer", "learning_rate"), 0.5),
        ("training.optimizer=adam", ("training", "optimizer"), "adam"),
        ("data.validation_fraction=0.25", ("data", "validation_fraction"), 0.25),
    ],
)
def test_override_sets_a_value(spec_file: Path, override: str, path: tuple[Any, ...], value: Any) -> None:
    plain: Any = load_spec(spec_file, [override]).spec.to_plain()
    for part in path:
        plain = plain[part]
    assert plain == value


REFUSALS = [
    (
        ("epochs = 20", "epochs = 2.5"),
        "digits.toml:21: training.epochs: expected a whole number, received 2.5",
    ),
    (
        ("epochs = 20", 'epochs = "many"'),
        "digits.toml:21: training.epochs: expected a whole number, received 'many'",
    ),
    (
        ("epochs = 20", "epochs = 0"),
        "digits.toml:21: training.epochs: expected a number above 0, received 0",
    ),
    (
        ("epochs = 20", "epoch = 20"),
        "digits.toml:21: training.epoch: unknown key. Did you mean 'epochs'? Allowed here: loss, optimizer, "
        "metrics, callbacks, epochs, batch_size, shards, shuffle, on_nonfinite, class_weight",
    ),
    (
        ("epochs = 20", ""),
        "digits.toml:17: training.epochs: is required and not given: Passes over the training samples",
    ),
    (
        ("seed = 7", "sed = 7"),
        "digits.toml:2: sed: unknown key. Did you mean 'seed'? Allowed here: name, seed, data, model, "
        "training, cluster, checkpoint",
    ),
    (
        ("seed = 7", "seed = true"),
        "digits.toml:2: seed: expected a whole number, received true",
    ),
    (
        ('name = "digits"', 'name = "../up"'),
        "digits.toml:1: name: expected a letter or digit, then up to 63 letters, digits, '.', '_' or '-', "
        "received '../up'",
    ),
    (
        ("validation_fraction = 0.2", "validation_fraction = 1.5"),
        "digits.toml:6: data.validation_fraction: expected a number below 1, received 1.5",
    ),
    (
        ("validation_fraction = 0.2", "validation_fraction = nan"),
        "digits.toml:6: data.validation_fraction: expected a number below 1, received nan",
    ),
    (
        ("validation_fraction = 0.2", 'validation_fraction = 0.2\nvalidation = "other.npz"'),
        "digits.toml:4: data: `validation` and `validation_fraction` are both given: keep one of them",
    ),
    (
        ('normalize = "standard"', 'normalize = "standart"'),
        "digits.toml:7: data.normalize: expected 'standard' or 'minmax', received 'standart'. "
        "Did you mean 'standard'?",
    ),
    (
        ('{type = "Dropout", rate = 0.1}', '{tpe = "Dropout", rate = 0.1}'),
        "digits.toml:12: model.layers[1].type: is required and not given (is 'tpe' meant to be it?): "
        "Name of the class, as in Keras; or a short name such as 'adam'",
    ),
    (
        ('"Flatten",', "5,"),
        "digits.toml:13: model.layers[2]: expected a name, or a table with a `type`, received 5",
    ),
    (
        ('backend = "ray"', 'backend = "rai"'),
        "digits.toml:27: cluster.backend: expected 'local', 'threads' or 'ray', received 'rai'. "
        "Did you mean 'ray'?",
    ),
    (
        ('backend = "ray"', 'exchange = "shared"'),
        "digits.toml:27: cluster.exchange: expected 'auto', 'shared_memory', 'hierarchical' or "
        "'object_store', received 'shared'. Did you mean 'shared_memory'?",
    ),
    (
        ("workers = {min = 1, max = 2}", "workers = 0"),
        "digits.toml:28: cluster.workers: expected a whole number above 0, received 0",
    ),
    (
        ("workers = {min = 1, max = 2}", "workers = {min = 3, max = 2}"),
        "digits.toml:28: cluster.workers: `min` is 3, above `max` 2, received a table with min, max",
    ),
    (
        ("every_steps = 30", "every_steps = 30\nevery_seconds = 3"),
        "digits.toml:30: checkpoint: `every_seconds` and `every_steps` are both given: keep one of them",
    ),
    (
        ('metrics = ["accuracy"]', 'metrics = "accuracy"'),
        "digits.toml:20: training.metrics: expected a list, received 'accuracy'",
    ),
    (
        ("shards = 4", 'shuffle = "yes"'),
        "digits.toml:23: training.shuffle: expected true or false, received 'yes'",
    ),
    (
        ("[model]", 'one_hot = "ten"\n[model]'),
        "digits.toml:9: data.one_hot: expected true, false, or the number of classes (above 1), "
        "received 'ten'",
    ),
    (
        ("[model]", '[model]\nfactory = "mine:build"'),
        "digits.toml:9: model: give either `layers` or `factory` (both are given)",
    ),
    (
        ("epochs = 20", "epochs = "),
        "digits.toml:21: is not valid TOML: Invalid value",
    ),
]


@pytest.mark.parametrize(("change", "line"), REFUSALS, ids=[line for _, line in REFUSALS])
def test_refusal_is_one_line_with_its_place(spec_file: Path, change: tuple[str, str], line: str) -> None:
    old, new = change
    assert old in GOOD
    spec_file.write_text(GOOD.replace(old, new))
    assert problems_of(spec_file) == [line]


def test_several_problems_come_in_the_order_of_the_file(spec_file: Path) -> None:
    text = GOOD.replace("seed = 7", "sed = 7").replace("epochs = 20", "epochs = 0")
    spec_file.write_text(text.replace('backend = "ray"', "backend = 1"))
    assert [line.split(": ")[0] for line in problems_of(spec_file)] == [
        "digits.toml:2",
        "digits.toml:21",
        "digits.toml:27",
    ]


def test_many_problems_are_cut_short(spec_file: Path) -> None:
    spec_file.write_text(GOOD.replace("seed = 7", "\n".join(f"a{i} = 1" for i in range(30))))
    lines = problems_of(spec_file)
    assert len(lines) == 11
    assert lines[-1] == "digits.toml: and 20 more"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("epochs", "--set epochs: expected KEY=VALUE, such as training.epochs=3"),
        ("=3", "--set =3: expected KEY=VALUE, such as training.epochs=3"),
        (
            "training.epochs=many",
            "--set training.epochs=many: training.epochs: expected a whole number, received 'many'",
        ),
        (
            "training.epoch=3",
            "--set training.epoch=3: training.epoch: unknown key. Did you mean 'epochs'? Allowed here: loss, "
            "optimizer, metrics, callbacks, epochs, batch_size, shards, shuffle, on_nonfinite, class_weight",
        ),
        (
            "model.layers.9.units=3",
            "--set model.layers.9.units=3: model.layers is a list: expected a number below 4, not '9'",
        ),
        ("name.first=x", "--set name.first=x: name is 'digits', which has no keys"),
    ],
)
def test_bad_override_is_named(spec_file: Path, override: str, line: str) -> None:
    assert problems_of(spec_file, override) == [line]


def test_missing_file_suggests_one_beside_it(spec_file: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(spec_file.with_name("digts.toml"))
    assert str(caught.value).endswith("digts.toml: no such file. Did you mean 'digits.toml'?")


@pytest.mark.parametrize(
    ("name", "data", "ending"),
    [
        ("spec.yaml", b"name: x", "spec.yaml: ends in '.yaml', expected a .toml or .json file"),
        ("spec", b"", "spec: has no ending, expected a .toml or .json file"),
        ("spec.toml", b"\xff\xfe", "spec.toml: is not UTF-8 text"),
        ("spec.json", b"[1]", "spec.json: expected a table at the top, received a list of 1"),
        ("spec.json", b'{"name": "x",\n "seed": }', "spec.json:2: is not valid JSON: Expecting value"),
        ("spec.json", b"[" * 100_000, "spec.json: is nested too deeply"),
    ],
)
def test_unreadable_file_is_one_line(tmp_path: Path, name: str, data: bytes, ending: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / name)
    assert str(caught.value).endswith(ending)
    assert len(str(caught.value).splitlines()) == 1


def test_json_problem_names_its_line(spec_file: Path) -> None:
    plain = load_spec(spec_file).spec.to_plain()
    plain["model"]["layers"][1] = {"tpe": "Dropout"}
    path = spec_file.with_name("spec.json")
    path.write_text(json.dumps(plain, indent=2))
    number = 1 + path.read_text().splitlines().index('        "tpe": "Dropout"') - 1
    assert problems_of(path)[0].startswith(f"spec.json:{number}: model.layers[1].type: is required")


def test_schema_accepts_what_the_models_accept(spec_file: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = JobSpec.model_json_schema()
    jsonschema.validate(load_spec(spec_file).spec.to_plain(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x"}, schema)


def test_every_field_is_described() -> None:
    schema = JobSpec.model_json_schema()
    for name, part in {**schema["$defs"], "JobSpec": schema}.items():
        for field, entry in part.get("properties", {}).items():
            described = "description" in entry or "$ref" in entry
            assert described, f"{name}.{field} has no description"
