"""Charts: lines of numbers over the last hour as paths of an SVG. It knows geometry; the templates know the rest."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from questd.history import SPAN_SECONDS, Points

WIDTH, HEIGHT = 600, 120
"""Of a chart's lines; the labels are beside them."""

SPARK_WIDTH, SPARK_HEIGHT, SPARK_POINTS = 96, 20, 48

STEPS = (1, 2, 5, 10)


class Line(NamedTuple):
    """One of a chart's lines."""

    label: str
    path: str
    now: float
    peak: float


class Chart(NamedTuple):
    """What a chart shows."""

    title: str
    lines: list[Line]
    top: float
    """The value at its upper edge."""


def chart(title: str, series: Mapping[str, Points], now: float) -> Chart:
    """Return the chart of some series; times are the monotonic clock's."""
    top = rounded(max((value for points in series.values() for _, value in points), default=0))
    lines = []
    for label, points in series.items():
        values = [value for _, value in points] or [0.0]
        lines.append(Line(label, path(points, now, top, (WIDTH, HEIGHT)), values[-1], max(values)))
    return Chart(title, lines, top)


def spark(points: Points, now: float) -> str:
    """Return the path of a small line without a scale."""
    few = points[:: max(1, len(points) // SPARK_POINTS)] + points[-1:]
    return path(few, now, max((value for _, value in points), default=0) or 1, (SPARK_WIDTH, SPARK_HEIGHT))


def rounded(value: float) -> float:
    """Return the next number that looks well on an axis: 1, 2 or 5 times a power of ten."""
    if value <= 1:
        return 1
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in STEPS if value <= step * power)


def path(points: Points, now: float, top: float, size: tuple[int, int]) -> str:
    """Return the path of a line from the left edge, an hour ago, to the right one; values hold until the next one."""
    width, height = size
    parts: list[str] = []
    for time, value in points:
        x = width * (1 - (now - time) / SPAN_SECONDS)
        y = height - 1 - (height - 2) * min(value / top, 1)
        parts.append(f"H{x:.1f}V{y:.1f}" if parts else f"M{x:.1f} {y:.1f}")
    return "".join([*parts, f"H{width}"]) if parts else ""
