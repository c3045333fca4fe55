"""A picture of how well a check tells texts apart: its ROC curve, and the point at which it works, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

SIZE, MARGIN = 360, 46
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#6b7280}line{stroke:#9ca3af;stroke-opacity:.4}"
    "polyline{fill:none;stroke:#2a7de1;stroke-width:2}circle{fill:#e0862c}"
)

Point = tuple[float, float]  # false-positive rate, recall


def curve(scores: Sequence[tuple[float, bool]]) -> list[Point]:
    """The points of the ROC curve, one for each different score, from (0, 0) to (1, 1); empty without both kinds."""
    positives = sum(positive for _, positive in scores)
    negatives = len(scores) - positives
    if not positives or not negatives:
        return []
    points: list[Point] = [(0.0, 0.0)]
    hits = false = 0
    ordered = sorted(scores, reverse=True)
    for number, (score, positive) in enumerate(ordered):
        hits, false = hits + positive, false + (not positive)
        if number + 1 == len(ordered) or ordered[number + 1][0] != score:
            points.append((false / negatives, hits / positives))
    return points


def recall_at(points: Sequence[Point], most: float) -> float | None:
    """The best recall with at most this false-positive rate."""
    return max((recall for rate, recall in points if rate <= most), default=None)


def roc(title: str, points: Sequence[Point], works_at: Point | None) -> str:
    """The picture. `works_at`: where the check's own verdicts lie."""

    def at(point: Point) -> tuple[float, float]:
        return MARGIN + point[0] * SIZE, MARGIN + (1 - point[1]) * SIZE

    whole = SIZE + 2 * MARGIN
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" role="img">']
    parts.append(f"<title>{escape(title)}</title><style>{STYLE}</style>")
    parts.append(f'<text x="{MARGIN}" y="24">{escape(title)}</text>')
    for step in range(5):
        share = step / 4
        (left, y), (right, _) = at((0, share)), at((1, share))
        (x, bottom), (_, top) = at((share, 0)), at((share, 1))
        parts.append(f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<line x1="{x:.1f}" y1="{bottom:.1f}" x2="{x:.1f}" y2="{top:.1f}"/>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{share:.2f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{share:.2f}</text>')
    parts.append(f'<text x="{whole / 2:.1f}" y="{whole - 10}" text-anchor="middle">false-positive rate</text>')
    middle = whole / 2
    parts.append(
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 14 {middle:.1f})">recall</text>'
    )
    line = " ".join("{:.1f},{:.1f}".format(*at(point)) for point in points)
    parts.append(f'<polyline points="{line}"/>')
    if works_at is not None:
        x, y = at(works_at)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
    return "".join([*parts, "</svg>\n"])
