from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distnn.data import load_source, source_files
from distnn.data.python_loader import LoaderOptionError
from distnn.data.sources import SourceOptions
from distnn.errors import DataError


def fails(source: str, base_dir: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_source(source, base_dir=base_dir, options=SourceOptions(**options))
    return str(caught.value)


def test_builtin_digits(tmp_path: Path) -> None:
    loaded = load_source("builtin:digits", base_dir=tmp_path)
    assert loaded.train.x[0].shape == (1797, 64) and loaded.train.x[0].dtype == np.uint8
    assert loaded.train.y[0].shape == (1797,) and loaded.test is None
    assert fails("builtin:digit", tmp_path).endswith(
        "no builtin data set 'digit': expected one of digits. Did you mean 'digits'?"
    )


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2)), y=np.arange(3), sample_weight=np.ones(3))
    loaded = load_source("a.npz", base_dir=tmp_path)
    assert loaded.train.x[0].dtype == np.float64 and loaded.train.sample_weight is not None
    np.savez(
        tmp_path / "b.npz", x_train=np.ones((3, 2)), y_train=np.arange(3), x_test=np.ones((1, 2)), y_test=[1]
    )
    loaded = load_source(str(tmp_path / "b.npz"), base_dir=Path("/"))
    assert loaded.test is not None and loaded.test.num_samples == 1


def test_npz_refusals(tmp_path: Path) -> None:
    np.savez(tmp_path / "keys.npz", data=np.ones(3), labels=np.ones(3))
    message = fails("keys.npz", tmp_path)
    assert str(tmp_path / "keys.npz") in message and "['data', 'labels']: expected x and y" in message
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], object), y=np.ones(1))
    assert "array 'x' cannot be read: it holds Python objects (pickle), which are never read" in fails(
        "pickle.npz", tmp_path
    )
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    assert "cannot be read as .npz" in fails("broken.npz", tmp_path)
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "cannot be read as .npz" in fails("empty.npz", tmp_path)
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.ones(2))
    assert "is not a .npz archive" in fails("single.npz", tmp_path)
    np.savez(tmp_path / "nan.npz", x=np.array([[1.0], [np.nan]]), y=np.ones(2))
    assert "nan.npz: x has a value that is not finite (nan) at row 1, column 0" in fails("nan.npz", tmp_path)
    np.savez(tmp_path / "short.npz", x=np.ones(3), y=np.ones(2))
    assert "Data cardinality is ambiguous" in fails("short.npz", tmp_path)
    whole = (tmp_path / "short.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(b"NUMPY") + 40] ^= 255
    (tmp_path / "crc.npz").write_bytes(damaged)
    assert "array 'x' cannot be read" in fails("crc.npz", tmp_path)


def test_npy_pair(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 2), np.float32))
    np.save(tmp_path / "y.npy", np.arange(3))
    options = SourceOptions(labels="y.npy")
    assert load_source("x.npy", base_dir=tmp_path, options=options).train.num_samples == 3
    assert source_files("x.npy", base_dir=tmp_path, options=options) == (
        tmp_path / "x.npy",
        tmp_path / "y.npy",
    )
    assert "set `labels`" in fails("x.npy", tmp_path)
    assert "no such file. Did you mean 'y.npy'?" in fails("x.npy", tmp_path, labels="yy.npy")
    np.save(tmp_path / "o.npy", np.array([None]), allow_pickle=True)
    assert "it holds Python objects (pickle)" in fails("o.npy", tmp_path, labels="y.npy")


def test_csv(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,u\n2,v\n")
    loaded = load_source("t.csv", base_dir=tmp_path, options=SourceOptions(target="y"))
    assert loaded.columns is not None and loaded.columns.class_names == ("u", "v")
    assert "`labels` names the targets of a .npy source" in fails("t.csv", tmp_path, labels="y.npy")
    assert "are for .csv sources" in fails("builtin:digits", tmp_path, target="y")


def test_unknown_source(tmp_path: Path) -> None:
    assert "data source 'data.txt' is not known: expected 'builtin:NAME' (digits)" in fails(
        "data.txt", tmp_path
    )
    assert "no such file" in fails("none.npz", tmp_path)
    (tmp_path / "folder.npz").mkdir()
    assert "is a folder" in fails("folder.npz", tmp_path)


LOADERS = """
import numpy as np
import helper_of_loaders
def pair(): return np.ones((2, 3)), np.arange(2)
def weighted(): return np.ones((2, 3)), np.arange(2), np.ones(2)
def parts(): return (np.ones((2, 3)), np.arange(2)), (np.ones((1, 3)), np.arange(1))
def several(): return [np.ones((2, 3)), np.ones((2, 1))], np.arange(2)
def breaks(): return 1 / 0
def nothing(): return None
def short(): return np.ones(2), np.ones(3)
def made(rows, value=0.0): return np.full((rows, 3), value), np.arange(rows)
def any_option(**options): return np.full((1, 1), options["value"]), np.arange(1)
def gives_up(): raise SystemExit("there is no a.npz in /data. Get it from example.org")
not_callable = 3
"""


@pytest.fixture
def loaders(tmp_path: Path) -> Any:
    (tmp_path / "loaders_of_test.py").write_text(LOADERS)
    (tmp_path / "helper_of_loaders.py").write_text("")
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in ("loaders_of_test", "helper_of_loaders"):
        sys.modules.pop(name, None)


def test_python_loaders(loaders: Path) -> None:
    def load(name: str) -> Any:
        return load_source(f"python:loaders_of_test:{name}", base_dir=loaders)

    assert load("pair").train.x[0].shape == (2, 3)
    assert load("weighted").train.sample_weight is not None
    assert load("parts").test.num_samples == 1
    assert len(load("several").train.x) == 2
    assert source_files("python:loaders_of_test:pair", base_dir=loaders) == (loaders / "loaders_of_test.py",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("breaks", "the loader failed: ZeroDivisionError: division by zero"),
        ("nothing", "the loader returned None: expected (x, y)"),
        (
            "pairr",
            "has no function 'pairr'. Did you mean 'pair'? It has: any_option, breaks, gives_up",
        ),
        ("not_callable", "has no function 'not_callable'"),
        ("short", "python:loaders_of_test:short: Data cardinality is ambiguous"),
        ("gives_up", "python:loaders_of_test:gives_up: there is no a.npz in /data. Get it from example.org"),
    ],
)
def test_python_loader_refusals(loaders: Path, name: str, message: str) -> None:
    assert message in fails(f"python:loaders_of_test:{name}", loaders)


def test_options_are_the_loaders_keyword_arguments(loaders: Path) -> None:
    def load(name: str, **options: Any) -> Any:
        options_of = SourceOptions(loader=options)
        return load_source(f"python:loaders_of_test:{name}", base_dir=loaders, options=options_of).train.x[0]

    assert load("made", rows=2).tolist() == [[0.0] * 3] * 2
    assert load("made", rows=1, value=5.0).tolist() == [[5.0] * 3]
    assert load("any_option", value=7.0).tolist() == [[7.0]]


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({}, "rows", "the option 'rows' is required by python:loaders_of_test:made and not given"),
        (
            {"rows": 2, "valu": 1},
            "valu",
            "python:loaders_of_test:made has no option 'valu'. Did you mean 'value'? It takes: rows, value",
        ),
    ],
)
def test_options_that_the_loader_does_not_take_are_named(
    loaders: Path, options: dict[str, Any], option: str, message: str
) -> None:
    with pytest.raises(LoaderOptionError) as caught:
        load_source("python:loaders_of_test:made", base_dir=loaders, options=SourceOptions(loader=options))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.option, str(copy)) == (option, message)


def test_options_are_for_python_sources(tmp_path: Path) -> None:
    message = fails("builtin:digits", tmp_path, loader={"folder": "data"})
    assert message.startswith(
        "`options` are for 'python:MODULE:FUNCTION' sources. Received: source = 'builtin"
    )


def test_python_module_refusals(loaders: Path) -> None:
    assert f"there is no module 'no_such_mod' (looked in {loaders}" in fails("python:no_such_mod:f", loaders)
    assert "expected 'python:MODULE:FUNCTION'" in fails("python:loaders_of_test", loaders)
    (loaders / "helper_of_loaders.py").write_text("import missing_thing")
    sys.modules.pop("loaders_of_test", None)
    sys.modules.pop("helper_of_loaders", None)
    assert fails("python:loaders_of_test:pair", loaders).endswith("there is no module 'missing_thing'")
    (loaders / "helper_of_loaders.py").write_text("x = (")
    assert "importing 'loaders_of_test' failed: SyntaxError" in fails("python:loaders_of_test:pair", loaders)


def test_a_namesake_in_another_folder_is_not_taken(loaders: Path, tmp_path: Path) -> None:
    load_source("python:loaders_of_test:pair", base_dir=loaders)
    other = tmp_path / "other"
    other.mkdir()
    (other / "loaders_of_test.py").write_text("def pair(): return [[7.0]], [1]")
    assert load_source("python:loaders_of_test:pair", base_dir=other).train.x[0].tolist() == [[7.0]]
