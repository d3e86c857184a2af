"""A picture as rectangles, texts and lines, and how it is written: SVG, or pixels by Pillow."""

from __future__ import annotations

import html
import importlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LETTER = 0.6
"""Width of a letter in sizes of its font: enough for the usual ones."""
_FONT = "Helvetica, Arial, sans-serif"
_DEFAULT_DPI = 96
_HEAD = 8.0
"""Length of an arrow's head."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Rectangle:
    left: float
    top: float
    width: float
    height: float
    fill: str = "none"
    is_dashed: bool = False


@dataclass(frozen=True)
class Text:
    """A line of text around its middle."""

    middle: Point
    text: str
    size: float
    fill: str = "black"
    is_bold: bool = False


@dataclass(frozen=True)
class Arrow:
    points: tuple[Point, ...]

    def head(self) -> tuple[Point, Point, Point]:
        """The triangle at its end."""
        (x0, y0), (x1, y1) = self.points[-2:]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        dx, dy = (x1 - x0) / length * _HEAD, (y1 - y0) / length * _HEAD
        return (x1, y1), (x1 - dx - dy / 2, y1 - dy + dx / 2), (x1 - dx + dy / 2, y1 - dy - dx / 2)


@dataclass
class Drawing:
    """Sizes in 1/96 inch."""

    width: float
    height: float
    parts: list[Rectangle | Text | Arrow] = field(default_factory=list)

    def svg(self) -> str:
        """The picture as SVG."""
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" height="{self.height:.0f}" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" font-family="{_FONT}">',
            '<rect width="100%" height="100%" fill="white"/>',
            *(_svg_of(part) for part in self.parts),
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    def save_pixels(self, path: Path, dpi: int) -> None:
        """Write PNG, JPEG or PDF, as the path's suffix says, with Pillow.

        Raises:
            ImportError: if there is none.
        """
        try:
            image_module: Any = importlib.import_module("PIL.Image")
        except ImportError as error:
            raise ImportError(
                f"plot_model needs Pillow to write {path.suffix} (pip install 'distnn[images]'). Without it "
                "write .svg or .dot: plot_model(model, 'model.svg')"
            ) from error
        draw_module: Any = importlib.import_module("PIL.ImageDraw")
        font_module: Any = importlib.import_module("PIL.ImageFont")
        scale = dpi / _DEFAULT_DPI
        size = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        image = image_module.new("RGB", size, "white")
        canvas = draw_module.Draw(image)
        for part in self.parts:
            _draw(canvas, part, scale, font_module)
        image.save(path, dpi=(dpi, dpi))


def _svg_of(part: Rectangle | Text | Arrow) -> str:
    if isinstance(part, Rectangle):
        dashes = ' stroke-dasharray="6 4"' if part.is_dashed else ""
        return (
            f'<rect x="{part.left:.1f}" y="{part.top:.1f}" width="{part.width:.1f}" '
            f'height="{part.height:.1f}" fill="{part.fill}" stroke="black"{dashes}/>'
        )
    if isinstance(part, Text):
        weight = ' font-weight="bold"' if part.is_bold else ""
        x, y = part.middle
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{part.size:g}" fill="{part.fill}" '
            f'text-anchor="middle" dominant-baseline="central"{weight}>{html.escape(part.text)}</text>'
        )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in part.points)
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in part.head())
    return (
        f'<polyline points="{points}" fill="none" stroke="black" stroke-width="1.5"/>'
        f'<polygon points="{head}" fill="black"/>'
    )


def _draw(canvas: Any, part: Rectangle | Text | Arrow, scale: float, fonts: Any) -> None:
    if isinstance(part, Rectangle):
        corners = [part.left, part.top, part.left + part.width, part.top + part.height]
        fill = None if part.fill == "none" else part.fill
        outline = "gray" if part.is_dashed else "black"
        canvas.rectangle([c * scale for c in corners], fill=fill, outline=outline, width=max(1, round(scale)))
    elif isinstance(part, Text):
        font = fonts.load_default(part.size * scale)
        x, y = part.middle
        canvas.text((x * scale, y * scale), part.text, fill=part.fill, font=font, anchor="mm")
    else:
        canvas.line([(x * scale, y * scale) for x, y in part.points], "black", max(1, round(1.5 * scale)))
        canvas.polygon([(x * scale, y * scale) for x, y in part.head()], "black")
