"""`plot_model`: a model's layers as boxes, written as SVG, DOT, PNG, JPEG or PDF. No program is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distnn.layers.layer import Layer
from distnn.plotting.boxes import Box, Boxes, Shown, boxes_of
from distnn.plotting.drawing import LETTER, Arrow, Drawing, Point, Rectangle, Text
from distnn.plotting.layout import lay_out

_SUFFIXES = (".svg", ".dot", ".png", ".jpg", ".jpeg", ".pdf")
_DIRECTIONS = ("TB", "BT", "LR", "RL")
_TITLE_SIZE, _ROW_SIZE, _PADDING = 16.0, 14.0, 10.0
_ROW_HEIGHT, _GAP, _RANK_GAP, _MARGIN = 30.0, 28.0, 36.0, 12.0
_GROUP_MARGIN = 12.0


@dataclass(frozen=True)
class Plot:
    """What `plot_model` returns: notebooks show it."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg


def plot_model(
    model: Layer,
    to_file: str | Path | None = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
) -> Plot:
    """Write a picture of a model, a box for each of its layers.

    Args:
        model: whose inputs' shape is known.
        to_file: .svg or .dot; .png, .jpg or .pdf with the extra `images` (Pillow); None to write nothing.
        show_shapes: of what each layer takes and gives.
        show_dtype: of what it gives.
        show_layer_names: beside their classes.
        rankdir: "TB" from top to bottom, "LR" from left to right; "BT", "RL" the other way.
        expand_nested: models inside show their layers, in a frame.
        dpi: pixels per inch.
        show_layer_activations: of layers that have an activation.
        show_trainable: of layers that have weights.
        splines: accepted for Keras's sake; arrows are straight.

    Returns:
        The picture, as notebooks show it.
    """
    path = None if to_file is None else Path(to_file)
    if path is not None and path.suffix.lower() not in _SUFFIXES:
        raise ValueError(
            f"plot_model writes {', '.join(_SUFFIXES)}, by the name's end. Received: to_file={str(to_file)!r}"
        )
    if rankdir not in _DIRECTIONS:
        raise ValueError(f"`rankdir` must be one of {_DIRECTIONS}. Received: rankdir={rankdir!r}")
    shown = Shown(
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable, expand_nested
    )
    boxes = boxes_of(model, shown)
    drawing = _drawing(boxes, rankdir)
    if path is not None and path.suffix.lower() == ".dot":
        path.write_text(_dot(boxes, rankdir, dpi))
    elif path is not None and path.suffix.lower() == ".svg":
        path.write_text(drawing.svg())
    elif path is not None:
        drawing.save_pixels(path, dpi)
    return Plot(drawing.svg())


def model_to_dot(
    model: Layer,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> str:
    """The same as text in the DOT language, for Graphviz; arguments as of `plot_model`."""
    shown = Shown(
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable, expand_nested
    )
    return _dot(boxes_of(model, shown), rankdir, dpi)


# Drawing


def _drawing(boxes: Boxes, rankdir: str) -> Drawing:
    sizes = [_size(box) for box in boxes.boxes]
    is_across = rankdir in ("LR", "RL")
    turned = [(height, width) for width, height in sizes] if is_across else sizes
    layout = lay_out(turned, boxes.arrows, _GAP, _RANK_GAP)
    frame = 2 * (_MARGIN + _GROUP_MARGIN * max((len(box.groups) for box in boxes.boxes), default=0))

    def placed(point: Point) -> Point:
        along = layout.height - point[1] if rankdir in ("BT", "RL") else point[1]
        x, y = (along, point[0]) if is_across else (point[0], along)
        return x + frame / 2, y + frame / 2

    size = (layout.height, layout.width) if is_across else (layout.width, layout.height)
    drawing = Drawing(size[0] + frame, size[1] + frame)
    centres = [placed(centre) for centre in layout.centres]
    drawing.parts += _frames(boxes.boxes, centres, sizes)
    for (source, target), path in zip(boxes.arrows, layout.paths, strict=True):
        points = [placed(point) for point in path]
        points[0] = _edge(points[0], points[1], sizes[source])
        points[-1] = _edge(points[-1], points[-2], sizes[target])
        drawing.parts.append(Arrow(tuple(points)))
    for box, centre, measure in zip(boxes.boxes, centres, sizes, strict=True):
        drawing.parts += _drawn(box, centre, measure)
    return drawing


def _size(box: Box) -> tuple[float, float]:
    title = len(box.title) * LETTER * _TITLE_SIZE + 2 * _PADDING
    rows = [sum(len(cell) * LETTER * _ROW_SIZE + 2 * _PADDING for cell in row) for row in box.rows]
    return max([title, *rows]), _ROW_HEIGHT * (1 + len(box.rows))


def _edge(centre: Point, towards: Point, size: tuple[float, float]) -> Point:
    """Where a line from the centre leaves the box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    shares = [half / abs(d) for half, d in ((size[0] / 2, dx), (size[1] / 2, dy)) if d]
    share = min(shares, default=0.0)
    return centre[0] + dx * share, centre[1] + dy * share


def _drawn(box: Box, centre: Point, size: tuple[float, float]) -> list[Rectangle | Text]:
    left, top = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    middle = (centre[0], top + _ROW_HEIGHT / 2)
    parts: list[Rectangle | Text] = [
        Rectangle(left, top, size[0], _ROW_HEIGHT, "black"),
        Text(middle, box.title, _TITLE_SIZE, "white", is_bold=True),
    ]
    for number, row in enumerate(box.rows, 1):
        width = size[0] / len(row)
        y = top + number * _ROW_HEIGHT
        for column, cell in enumerate(row):
            x = left + column * width
            parts.append(Rectangle(x, y, width, _ROW_HEIGHT, "white"))
            parts.append(Text((x + width / 2, y + _ROW_HEIGHT / 2), cell, _ROW_SIZE))
    return parts


def _frames(
    boxes: Sequence[Box], centres: Sequence[Point], sizes: Sequence[tuple[float, float]]
) -> list[Rectangle | Text]:
    """A dashed frame around the boxes of each nested model, the outermost first."""
    groups = dict.fromkeys(box.groups[: i + 1] for box in boxes for i in range(len(box.groups)))
    deepest = max((len(group) for group in groups), default=0)
    parts: list[Rectangle | Text] = []
    for group in sorted(groups, key=len):
        inside = [n for n, box in enumerate(boxes) if box.groups[: len(group)] == group]
        margin = _GROUP_MARGIN * (deepest - len(group) + 1)
        left = min(centres[n][0] - sizes[n][0] / 2 for n in inside) - margin
        top = min(centres[n][1] - sizes[n][1] / 2 for n in inside) - margin
        right = max(centres[n][0] + sizes[n][0] / 2 for n in inside) + margin
        bottom = max(centres[n][1] + sizes[n][1] / 2 for n in inside) + margin
        parts.append(Rectangle(left, top, right - left, bottom - top, is_dashed=True))
        label = left + len(group[-1]) * LETTER * 10.0 / 2 + 4, top + 6
        parts.append(Text(label, group[-1], 10.0))
    return parts


# DOT


def _dot(boxes: Boxes, rankdir: str, dpi: int) -> str:
    lines = [
        "digraph G {",
        f"rankdir={rankdir};",
        f"dpi={dpi};",
        'node [shape=record, fontname="Helvetica"];',
    ]
    lines += [f"{number} [label={_label(box)}];" for number, box in enumerate(boxes.boxes)]
    groups = dict.fromkeys(box.groups[: i + 1] for box in boxes.boxes for i in range(len(box.groups)))
    tops = [group for group in groups if len(group) == 1]
    for group in tops:
        lines += _cluster(group, list(groups), boxes)
    lines += [f"{source} -> {target};" for source, target in boxes.arrows]
    return "\n".join([*lines, "}"]) + "\n"


def _cluster(group: tuple[str, ...], groups: list[tuple[str, ...]], boxes: Boxes) -> list[str]:
    name = "_".join(str(groups.index(group[: i + 1])) for i in range(len(group)))
    lines = [f"subgraph cluster_{name} {{", f"label={_quoted(group[-1])};", "style=dashed;"]
    lines += [f"{number};" for number, box in enumerate(boxes.boxes) if box.groups == group]
    for inner in groups:
        if inner[:-1] == group:
            lines += _cluster(inner, groups, boxes)
    return [*lines, "}"]


def _label(box: Box) -> str:
    rows = [_escaped(box.title), *("{" + "|".join(map(_escaped, row)) + "}" for row in box.rows)]
    return _quoted("{" + "|".join(rows) + "}")


def _escaped(text: str) -> str:
    for character in "\\{}|<>":
        text = text.replace(character, f"\\{character}")
    return text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
