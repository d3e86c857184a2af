"""Places for the boxes of a picture: ranks along the arrows, few crossings, arrows nearly straight.

Sugiyama, Tagawa & Toda 1981, plainly: a box stands one rank behind the last that points to it; an arrow over
several ranks gets an empty box in each between; boxes of a rank are ordered by where their neighbours are,
then moved towards them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, and the points each arrow goes through, from its box's centre on."""

    centres: list[tuple[float, float]]
    paths: list[list[tuple[float, float]]]
    width: float
    height: float


def lay_out(
    sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]], gap: float, rank_gap: float
) -> Layout:
    """Places for boxes of these sizes, arrows going down.

    Args:
        arrows: pairs of boxes, without cycles.
        gap: between boxes of a rank.
        rank_gap: between ranks.
    """
    ranks = _ranks(len(sizes), arrows)
    widths = [width for width, _ in sizes]
    chains: list[list[int]] = []
    links: list[tuple[int, int]] = []
    for source, target in arrows:
        chain = [source]
        for rank in range(ranks[source] + 1, ranks[target]):
            ranks.append(rank)
            widths.append(gap / 2)
            chain.append(len(ranks) - 1)
        chain.append(target)
        chains.append(chain)
        links += zip(chain, chain[1:], strict=False)
    rows = _ordered(ranks, links)
    x = _abscissas(rows, links, widths, gap)
    heights = [max((sizes[n][1] for n in row if n < len(sizes)), default=0.0) for row in rows]
    tops = [sum(heights[:rank]) + rank * rank_gap for rank in range(len(rows))]
    y = [tops[rank] + heights[rank] / 2 for rank in ranks]
    left = min((x[n] - widths[n] / 2 for n in range(len(ranks))), default=0.0)
    points = [(x[n] - left, y[n]) for n in range(len(ranks))]
    paths = [_path(chain, points, ranks, tops, heights) for chain in chains]
    right = max((points[n][0] + widths[n] / 2 for n in range(len(ranks))), default=0.0)
    height = tops[-1] + heights[-1] if rows else 0.0
    return Layout(points[: len(sizes)], paths, right, height)


def _path(
    chain: Sequence[int],
    points: Sequence[tuple[float, float]],
    ranks: Sequence[int],
    tops: Sequence[float],
    heights: Sequence[float],
) -> list[tuple[float, float]]:
    """From box to box, straight down past the boxes of the ranks between."""
    path = [points[chain[0]]]
    for number in chain[1:-1]:
        x, top = points[number][0], tops[ranks[number]]
        path += [(x, top), (x, top + heights[ranks[number]])]
    return [*path, points[chain[-1]]]


def _ranks(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    ranks = [0] * count
    for _ in range(count):
        before = list(ranks)
        for source, target in arrows:
            ranks[target] = max(ranks[target], ranks[source] + 1)
        if ranks == before:
            break
    return ranks


def _ordered(ranks: Sequence[int], links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The boxes of each rank from left to right."""
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for number, rank in enumerate(ranks):
        rows[rank].append(number)
    above, below = _neighbours(len(ranks), links)
    place = {n: float(i) for row in rows for i, n in enumerate(row)}
    for sweep in range(_SWEEPS):
        near, order = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        for row in order:
            means = {n: _mean([place[m] for m in near[n]], place[n]) for n in row}
            row.sort(key=means.__getitem__)
            place.update({n: float(i) for i, n in enumerate(row)})
    return rows


def _abscissas(
    rows: Sequence[Sequence[int]], links: Sequence[tuple[int, int]], widths: Sequence[float], gap: float
) -> list[float]:
    """Where each box is from left to right: near its neighbours' mean, none over another."""
    above, below = _neighbours(len(widths), links)
    x = [0.0] * len(widths)
    for row in rows:
        _spread(row, x, [0.0] * len(row), widths, gap)
    for sweep in range(2 * _SWEEPS):
        near, order = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        for row in order:
            _spread(row, x, [_mean([x[m] for m in near[n]], x[n]) for n in row], widths, gap)
    return x


def _spread(
    row: Sequence[int], x: list[float], wanted: Sequence[float], widths: Sequence[float], gap: float
) -> None:
    """Put a row's boxes where they want to be; those that meet stand side by side around their mean."""
    clusters: list[tuple[list[int], float]] = []
    for number, place in zip(row, wanted, strict=True):
        members, centre = [number], place
        while clusters:
            others, other_centre = clusters[-1]
            room = (_length(others, widths, gap) + _length(members, widths, gap)) / 2 + gap
            if centre - other_centre >= room:
                break
            clusters.pop()
            centre = (other_centre * len(others) + centre * len(members)) / (len(others) + len(members))
            members = [*others, *members]
        clusters.append((members, centre))
    for members, centre in clusters:
        edge = centre - _length(members, widths, gap) / 2
        for number in members:
            x[number] = edge + widths[number] / 2
            edge += widths[number] + gap


def _length(members: Sequence[int], widths: Sequence[float], gap: float) -> float:
    return sum(widths[n] for n in members) + gap * (len(members) - 1)


def _neighbours(count: int, links: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    return above, below


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
