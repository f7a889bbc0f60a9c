"""The picture of requests a second over the depth of the queue, as an SVG that suits light and dark pages."""

import math
from statistics import median

from tests.bench.loads import SCENARIOS
from tests.bench.results import Results

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 620, 40, 320
COLOURS = ("#2f81f7", "#d9822b", "#3fa45b", "#b667d6", "#cf4a4a", "#7a8699")
SHALLOW = 1000
"""Where depth 0 stands on the axis: a logarithm has no place for it."""

DEEPEST = 1_000_000
APART = 15
"""Pixels between two names at the ends of the curves."""

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .grid { stroke: #d1d9e0; stroke-width: 1; }
    .curve { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .grid { stroke: #3d444d; } }
"""

Points = list[tuple[float, float]]


def curves(results: Results) -> dict[str, Points]:
    """Return the points (depth, requests a second) of every server that has at least two."""
    found: dict[str, Points] = {}
    for scenario in SCENARIOS:
        if (
            scenario.mode == "cycle"
            and scenario.name.startswith("cycle")
            and not scenario.workers
            and scenario.protocol == "json"
        ):
            for server, rounds in results.loads.get(scenario.name, {}).items():
                if measured := [each for each in rounds if each]:
                    point = (median(each.depth for each in measured), median(each.per_second for each in measured))
                    found.setdefault(server, []).append(point)
    return {server: sorted(points) for server, points in found.items() if len(points) > 1}


def _x(depth: float) -> float:
    return LEFT + (RIGHT - LEFT) * math.log(max(depth, SHALLOW) / SHALLOW) / math.log(DEEPEST / SHALLOW)


def picture(results: Results) -> str:
    """Draw the curves."""
    found = curves(results)
    speeds = [speed for points in found.values() for _, speed in points] or [1.0, 10.0]
    low, high = math.floor(math.log10(min(speeds))), math.ceil(math.log10(max(speeds)))
    high = max(high, low + 1)

    def y(speed: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (math.log10(speed) - low) / (high - low)

    parts = [f'<text x="{LEFT - 55}" y="22">requests a second: send, receive, delete in equal parts</text>']
    parts += [_line(y(10.0**power), f"{10**power:,}".replace(",", " ")) for power in range(low, high + 1)]
    for depth, name in ((0, "0"), (10_000, "10 000"), (100_000, "100 000"), (1_000_000, "1 000 000")):
        parts.append(f'<text x="{_x(depth):.1f}" y="{BOTTOM + 20}" text-anchor="middle">{name}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) // 2}" y="{BOTTOM + 44}" text-anchor="middle">messages in the queue</text>')
    heights = _apart({server: y(points[-1][1]) for server, points in found.items()})
    for (server, points), colour in zip(found.items(), COLOURS, strict=False):
        parts += _curve([(_x(depth), y(speed)) for depth, speed in points], colour)
        parts.append(
            f'<text x="{_x(points[-1][0]) + 10:.1f}" y="{heights[server] + 4:.1f}" style="fill:{colour}">{server}</text>'
        )
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
        f"  <title>Requests a second over the depth of the queue</title>\n  <style>{STYLE}  </style>\n  {body}\n</svg>\n"
    )


def _line(y: float, name: str) -> str:
    line = f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>'
    return f'{line}<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'


def _curve(points: Points, colour: str) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return [f'<polyline class="curve" stroke="{colour}" points="{path}"/>', *dots]


def _apart(heights: dict[str, float]) -> dict[str, float]:
    """Move names downwards until none covers another."""
    moved: dict[str, float] = {}
    last = -math.inf
    for server, height in sorted(heights.items(), key=lambda each: each[1]):
        moved[server] = last = max(height, last + APART)
    return moved
