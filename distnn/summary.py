"""The table of `model.summary()`, as Keras 3 prints it, and as HTML for notebooks.

`summary_rows` reads a model; `summary_text` and `summary_html` only format rows and totals, so they need no
model. Sizes count 4 bytes a parameter: weights and optimizer slots are float32.
"""

from __future__ import annotations

import html
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

    from distnn.layers.layer import Layer
    from distnn.models.model import Model

BYTES_PER_PARAM = 4


@dataclass(frozen=True)
class SummaryRow:
    """One layer: `num_params` is None while it is not built; `trainable` is None if it has no weights."""

    name: str
    type_name: str
    output_shape: str
    num_params: int | None
    trainable: bool | None = None
    level: int = 0


@dataclass(frozen=True)
class SummaryTotals:
    """Numbers of values; `optimizer` is None before the optimizer has any state."""

    trainable: int
    non_trainable: int
    optimizer: int | None = None

    @property
    def lines(self) -> list[tuple[str, int]]:
        """The labels and counts below the table."""
        total = self.trainable + self.non_trainable + (self.optimizer or 0)
        found = [
            ("Total params", total),
            ("Trainable params", self.trainable),
            ("Non-trainable params", self.non_trainable),
        ]
        return found if self.optimizer is None else [*found, ("Optimizer params", self.optimizer)]


def print_summary(
    model: Model,
    line_length: int | None = None,
    print_fn: Callable[[str], object] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
) -> None:
    """Print a model's table.

    Args:
        model: built or not.
        line_length: of the table; 88 (100 with `show_trainable`) or what the terminal has.
        print_fn: gets the whole text, without colours; by default it goes to standard output.
        expand_nested: show the layers of layers.
        show_trainable: show whether each layer is trained.
    """
    rows, totals = summary_rows(model, expand_nested), summary_totals(model)
    if print_fn is not None:
        print_fn(summary_text(model.name, rows, totals, line_length, show_trainable))
        return
    from rich.console import Console

    _render(Console(highlight=False), model.name, rows, totals, line_length, show_trainable)


def summary_rows(model: Model, expand_nested: bool = False) -> list[SummaryRow]:
    """The rows of a model's table."""
    rows: list[SummaryRow] = []
    for layer, shape in model.summary_rows():
        rows.append(_row(layer, shape, 0))
        if expand_nested:
            _add_nested(rows, layer, 1)
    return rows


def summary_totals(model: Model) -> SummaryTotals:
    """The counts below a model's table."""
    return SummaryTotals(
        sum(variable.size for variable in model.trainable_variables),
        sum(variable.size for variable in model.non_trainable_variables),
        model.optimizer_params() or None,
    )


def _add_nested(rows: list[SummaryRow], layer: Layer, level: int) -> None:
    for _, inner in layer.sublayers():
        rows.append(_row(inner, "?", level))
        _add_nested(rows, inner, level + 1)


def _row(layer: Layer, shape: str, level: int) -> SummaryRow:
    return SummaryRow(
        layer.name,
        type(layer).__name__,
        shape,
        layer.count_params() if layer.built else None,
        layer.trainable if layer.variables else None,
        level,
    )


def summary_text(
    name: str,
    rows: Sequence[SummaryRow],
    totals: SummaryTotals,
    line_length: int | None = None,
    show_trainable: bool = False,
) -> str:
    """The table and the totals as plain text."""
    from rich.console import Console

    stream = io.StringIO()
    width = max(line_length or 0, shutil.get_terminal_size().columns)
    console = Console(file=stream, highlight=False, force_terminal=False, color_system=None, width=width)
    _render(console, name, rows, totals, line_length, show_trainable)
    return stream.getvalue()


def readable_size(num_bytes: float) -> str:
    """`27.80 KB`."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if num_bytes < 1024:
            return f"{num_bytes:.2f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.2f} PB"


def _render(
    console: Console,
    name: str,
    rows: Sequence[SummaryRow],
    totals: SummaryTotals,
    line_length: int | None,
    show_trainable: bool,
) -> None:
    from rich.markup import escape

    length = line_length or min(100 if show_trainable else 88, shutil.get_terminal_size().columns - 4)
    console.print(f'[bold]Model: "{escape(name)}"[/]')
    console.print(_table(rows, length, show_trainable))
    for label, count in totals.lines:
        size = readable_size(count * BYTES_PER_PARAM)
        console.print(f"[bold] {label}: [/][color(34)]{count:,}[/] ({size})")


def _table(rows: Sequence[SummaryRow], length: int, show_trainable: bool) -> Table:
    from rich.table import Column, Table

    header = ["Layer (type)", "Output Shape", "Param #"]
    positions = [0.45, 0.80, 1.0]
    if show_trainable:
        header.append("Trainable")
        positions = [position * 0.9 for position in positions] + [1.0]
    widths = _widths(positions, length)
    aligned: tuple[JustifyMethod, ...] = ("left", "left", "right", "center")
    columns = [
        Column(title, justify=justify, width=width)
        for title, justify, width in zip(header, aligned, widths, strict=False)
    ]
    table = Table(*columns, width=length, show_lines=True)
    for row in rows:
        table.add_row(*_cells(row)[: len(header)])
    return table


def _widths(positions: Sequence[float], length: int) -> list[int]:
    widths, used = [], 0
    for position in positions:
        width = int(position * length) - used
        if width < 4:
            raise ValueError(f"Insufficient console width to print summary: {length} characters.")
        widths.append(width)
        used += width
    return widths


def _cells(row: SummaryRow) -> tuple[str, str, str, str]:
    from rich.markup import escape

    prefix = "   " * row.level + "└ " if row.level else ""
    count = "[color(34)]0[/] (unbuilt)" if row.num_params is None else f"[color(34)]{row.num_params:,}[/]"
    trainable = {None: "[bold]-[/]", True: "[bold][color(34)]Y[/][/]", False: "[bold][color(9)]N[/][/]"}
    return (
        f"{prefix}{escape(row.name)} ([color(33)]{escape(row.type_name)}[/])",
        _coloured_shape(row.output_shape),
        count,
        trainable[row.trainable],
    )


def _coloured_shape(shape: str) -> str:
    """`(None, 64)` with its numbers coloured; other texts as they are."""
    from rich.markup import escape

    if not (shape.startswith("(") and shape.endswith(")")) or "(" in shape[1:]:
        return escape(shape)
    parts = [part.strip() for part in shape[1:-1].split(",") if part.strip()]
    coloured = (f"[color({45 if part == 'None' else 34})]{escape(part)}[/]" for part in parts)
    return f"({', '.join(coloured)})"


def summary_html(
    name: str, rows: Sequence[SummaryRow], totals: SummaryTotals, show_trainable: bool = False
) -> str:
    """The table and the totals for a notebook."""
    header = ["Layer (type)", "Output Shape", "Param #", *(["Trainable"] if show_trainable else [])]
    lines = [f"<p><b>Model: &quot;{html.escape(name)}&quot;</b></p>", "<table>"]
    lines.append("<tr>" + "".join(f"<th>{title}</th>" for title in header) + "</tr>")
    for row in rows:
        indent = "&nbsp;" * 3 * row.level + ("└ " if row.level else "")
        count = "0 (unbuilt)" if row.num_params is None else f"{row.num_params:,}"
        cells = [
            f"{indent}{html.escape(row.name)} ({html.escape(row.type_name)})",
            html.escape(row.output_shape),
            count,
        ]
        if show_trainable:
            cells.append({None: "-", True: "Y", False: "N"}[row.trainable])
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    lines.append("</table>")
    sizes = (
        f"{label}: {count:,} ({readable_size(count * BYTES_PER_PARAM)})" for label, count in totals.lines
    )
    lines.append(f"<p>{'<br>'.join(sizes)}</p>")
    return "\n".join(lines)
