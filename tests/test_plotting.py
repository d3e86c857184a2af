"""Pictures of models: boxes and arrows, places, and the files."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn import ops
from distnn.layers import Add, Concatenate, Dense, Input
from distnn.models import Model, Sequential
from distnn.plotting.boxes import Shown, boxes_of
from distnn.plotting.layout import lay_out
from distnn.utils import model_to_dot, plot_model

SVG = "{http://www.w3.org/2000/svg}"
needs_pillow = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow writes pixels")


def model() -> Model:
    """Two inputs, a shared layer, an op between layers, a model inside, two outputs."""
    block = Sequential([Input((8,)), Dense(4, "relu"), Dense(8)], name="block")
    left, right = Input((4,), name="left"), Input((4,), name="right")
    shared = Dense(8, activation="tanh", name="shared")
    x = Concatenate(name="both")([shared(left), shared(right)])
    x = Dense(8, name="down", trainable=False)(x)
    y = Add(name="sum")([x, block(x)])
    return Model([left, right], [Dense(1, name="value")(y), Dense(3, name="classes")(ops.multiply(y, 0.5))])


def arrows(**shown: Any) -> set[tuple[str, str]]:
    found = boxes_of(model(), Shown(layer_names=True, **shown))
    titles = [box.title.split(" ")[0] for box in found.boxes]
    return {(titles[source], titles[target]) for source, target in found.arrows}


def test_every_layer_is_a_box_once() -> None:
    assert arrows() == {
        *(("left", "shared"), ("right", "shared"), ("shared", "both"), ("both", "down"), ("down", "sum")),
        *(
            ("down", "block"),
            ("block", "sum"),
            ("sum", "value"),
            ("sum", "Multiply"),
            ("Multiply", "classes"),
        ),
    }


def test_models_inside_are_opened() -> None:
    inside = {("down", "input_layer"), ("input_layer", "dense"), ("dense", "dense_1"), ("dense_1", "sum")}
    assert inside <= arrows(nested=True)
    found = boxes_of(model(), Shown(nested=True))
    assert [box.groups for box in found.boxes].count(("block",)) == 3


def test_boxes_tell_what_is_asked_for() -> None:
    plain = boxes_of(model(), Shown())
    assert {box.title for box in plain.boxes} >= {"InputLayer", "Dense", "Concatenate", "Multiply"}
    assert not any(box.rows for box in plain.boxes)
    shown = Shown(shapes=True, dtype=True, activations=True, trainable=True, layer_names=True)
    by_title = {box.title: box.rows for box in boxes_of(model(), shown).boxes}
    assert by_title["down (Dense)"] == [
        ["Activation: linear"],
        ["Input shape: (None, 16)", "Output shape: (None, 8)"],
        ["Output dtype: float32"],
        ["Trainable: False"],
    ]
    assert by_title["left (InputLayer)"] == [["Output shape: (None, 4)"], ["Output dtype: float32"]]


def test_sequential_models_and_subclasses() -> None:
    chain = boxes_of(Sequential([Input((3,)), Dense(2), Dense(1)]), Shown())
    assert chain.arrows == [(0, 1), (1, 2)]

    class Own(Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    assert [box.title for box in boxes_of(Own(), Shown()).boxes] == ["Own"]
    with pytest.raises(ValueError, match="This model has not yet been built"):
        boxes_of(Sequential([Dense(2)]), Shown())


GRAPHS = st.integers(1, 9).flatmap(
    lambda count: st.tuples(
        st.lists(st.tuples(st.integers(10, 90), st.integers(10, 40)), min_size=count, max_size=count),
        st.sets(
            st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda p: p[0] < p[1])
        ),
    )
)


@given(GRAPHS)
def test_no_box_lies_over_another_and_arrows_go_down(graph: Any) -> None:
    sizes, links = graph
    layout = lay_out(sizes, sorted(links), 5.0, 7.0)
    for i, (x, y) in enumerate(layout.centres):
        assert sizes[i][0] / 2 - 1e-6 <= x <= layout.width - sizes[i][0] / 2 + 1e-6
        assert sizes[i][1] / 2 - 1e-6 <= y <= layout.height - sizes[i][1] / 2 + 1e-6
        for j in range(i):
            apart_x = abs(x - layout.centres[j][0]) - (sizes[i][0] + sizes[j][0]) / 2
            apart_y = abs(y - layout.centres[j][1]) - (sizes[i][1] + sizes[j][1]) / 2
            assert max(apart_x, apart_y) > 4.9
    for (source, target), path in zip(sorted(links), layout.paths, strict=True):
        assert (path[0], path[-1]) == (layout.centres[source], layout.centres[target])
        heights = [y for _, y in path]
        assert heights == sorted(heights)


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_svg_has_every_box_inside(tmp_path: Path, rankdir: str) -> None:
    path = tmp_path / "model.svg"
    plot = plot_model(
        model(), path, show_shapes=True, show_layer_names=True, rankdir=rankdir, expand_nested=True
    )
    root = ElementTree.fromstring(path.read_text())
    assert plot._repr_svg_() == path.read_text()
    texts = {element.text: float(element.get("y", "0")) for element in root.iter(f"{SVG}text")}
    assert {"left (InputLayer)", "classes (Dense)", "Output shape: (None, 3)", "block"} <= set(texts)
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for box in list(root.iter(f"{SVG}rect"))[1:]:
        x, y, w, h = (float(box.get(name, "nan")) for name in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
    if rankdir in ("TB", "BT"):
        assert (texts["left (InputLayer)"] < texts["classes (Dense)"]) == (rankdir == "TB")


def test_dot_has_every_box_and_arrow(tmp_path: Path) -> None:
    plot_model(model(), str(tmp_path / "model.dot"), rankdir="LR", show_layer_names=True)
    text = (tmp_path / "model.dot").read_text()
    assert text == model_to_dot(model(), rankdir="LR")
    assert text.count(" -> ") == 10 and text.count("[label=") == 10 and "rankdir=LR;" in text
    assert 'label="block"' in model_to_dot(model(), expand_nested=True)
    layer = Dense(2, name='a"b|{c}')
    assert r'label="{a\"b\|\{c\} (Dense)}"' in model_to_dot(Sequential([Input((3,)), layer]))


@needs_pillow
@pytest.mark.parametrize("name", ["model.png", "model.jpg", "model.pdf"])
def test_pixels(tmp_path: Path, name: str) -> None:
    plot_model(model(), tmp_path / name, show_shapes=True, expand_nested=True, dpi=48)
    signature = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".pdf": b"%PDF"}[Path(name).suffix]
    assert (tmp_path / name).read_bytes().startswith(signature)


@needs_pillow
def test_dpi_scales_the_picture(tmp_path: Path) -> None:
    from PIL import Image

    for dpi in (48, 96):
        plot_model(model(), tmp_path / f"{dpi}.png", dpi=dpi)
    with Image.open(tmp_path / "48.png") as small, Image.open(tmp_path / "96.png") as large:
        assert abs(large.width - 2 * small.width) <= 2
        assert small.convert("L").getextrema() == (0, 255)


def test_without_pillow_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'distnn[images]'")):
        plot_model(model(), tmp_path / "model.png")
    assert not (tmp_path / "model.png").exists()


def test_nothing_is_written_unless_asked_for() -> None:
    assert plot_model(model(), None).svg.startswith("<svg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to_file": "model.bmp"}, "plot_model writes .svg, .dot.*Received: to_file='model.bmp'"),
        ({"to_file": None, "rankdir": "UP"}, "`rankdir` must be one of.*Received: rankdir='UP'"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_model(model(), **options)
