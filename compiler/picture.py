"""A picture of where the time of a message goes: one bar for each stage and layer, as SVG."""

from __future__ import annotations

from html import escape

from eer.runtime.fields import Json

from .clock import clock

WIDTH, ROW, LABEL, BAR = 760, 24, 240, 400
COLOURS = {
    "stage": "#9aa5b1",
    "affine": "#2f6f9f",
    "activation": "#c77d2e",
    "product": "#7a5195",
}


def latency_svg(found: Json) -> str:
    """The picture, as the text of an SVG file, of what `explain` found."""
    before = [row for row in found["stages"] if row["before"]]
    after = [row for row in found["stages"] if not row["before"]]
    rows = [*before, *found["layers"], *after]
    longest = max(row["predicted_ms"] for row in rows) or 1.0
    height = ROW * (len(rows) + 2)
    title = (
        f"{found['model']} on {found['engine']}: {found['totals']['predicted_ms']:.3g} ms of "
        f"{clock(found['engine'])} a message, predicted"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for number, row in enumerate(rows, start=1):
        lines += _bar(row, ROW * number + 8, BAR * row["predicted_ms"] / longest)
    return "\n".join([*lines, "</svg>", ""])


def _bar(row: Json, top: float, width: float) -> list[str]:
    names = row["name"].split(", ")
    name = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
    short = name if len(name) <= 36 else name[:35] + "…"
    method = f", {row['method']}" if row.get("method") else ""
    told = f"{row['predicted_ms']:.3g} ms, {row['share']:.0%}"
    colour = COLOURS[row.get("kind", "stage")]
    return [
        f"<g><title>{escape(name + method)}: {told}</title>",
        f'<text x="{LABEL - 8}" y="{top + 13:g}" text-anchor="end">{escape(short)}</text>',
        f'<rect x="{LABEL}" y="{top + 2:g}" width="{max(width, 1):.1f}" height="{ROW - 8}" '
        f'fill="{colour}"/>',
        f'<text x="{LABEL + width + 6:.1f}" y="{top + 13:g}" fill="#444">{told}</text></g>',
    ]
