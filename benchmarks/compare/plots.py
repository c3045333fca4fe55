"""The plots of docs/performance.md, as SVG that reads on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 190, 20, 40, 30
COLOURS = ["#2a7de1", "#8a8f98", "#e0862c", "#2f9e62", "#b4529a", "#c94f4f", "#6b5bd2"]
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#6b7280}.t{font-size:14px;fill:#4b8be0}"
    "line{stroke:#9ca3af;stroke-opacity:.4}polyline{fill:none;stroke-width:2}"
)


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    said = f'<title>{escape(title)}</title><style>{STYLE}</style><text class="t" x="10" y="20">{escape(title)}</text>'
    return f"{head}{said}{''.join(parts)}</svg>\n"


def bars(title: str, values: Mapping[str, float], unit: str, *, logarithmic: bool = False) -> str:
    """One bar for each name, the shortest first."""
    rows = sorted(((name, value) for name, value in values.items() if not math.isnan(value)), key=lambda row: row[1])
    top = max((value for _, value in rows), default=1.0)
    least = min((value for _, value in rows if value > 0), default=1.0) / 2
    room = WIDTH - LEFT - RIGHT - 80
    parts = []
    for number, (name, value) in enumerate(rows):
        y = TOP + number * 26
        part = math.log(max(value, least) / least) / math.log(top / least) if logarithmic else value / top
        colour = COLOURS[0] if name.startswith("Outrider") else COLOURS[1]
        length = max(2.0, part * room)
        parts.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="18" rx="3" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 14}">{_short(value)} {escape(unit)}</text>')
    return _svg(TOP + len(rows) * 26 + 10, title + (" (logarithmic)" if logarithmic else ""), parts)


def shares(title: str, times: Mapping[str, Sequence[float]], unit: str) -> str:
    """How long which share of the requests took at most: one line for each name."""
    known = {name: sorted(values) for name, values in times.items() if values}
    top = max((values[min(len(values) - 1, int(0.995 * len(values)))] for values in known.values()), default=1.0)
    top = max(top, 1.0)
    left, room, tall = 50, WIDTH - 50 - RIGHT, HEIGHT - TOP - BOTTOM
    parts = []
    for step in range(5):
        y = TOP + tall * (1 - step / 4)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + room}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(top * step / 4)}</text>')
    for percent in (0, 25, 50, 75, 90, 99):
        x = left + room * percent / 100
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{percent} %</text>')
    for number, (name, values) in enumerate(known.items()):
        points = []
        for step in range(101):
            value = values[min(len(values) - 1, int(step / 100 * len(values)))]
            height = max(0.0, min(1.0, value / top))
            points.append(f"{left + room * step / 100:.1f},{TOP + tall * (1 - height):.1f}")
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline stroke="{colour}" points="{" ".join(points)}"/>')
        x, y = left + 14, TOP + 14 + number * 17
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{y}">{escape(name)}</text>')
    return _svg(HEIGHT, f"{title}, {unit}", parts)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"
