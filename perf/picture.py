"""The comparison as a picture: an SVG with a panel of bars for each workload."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from perf.figures import OWN, Findings, text
from perf.workload import Row

_COLUMNS = 3
_PANEL_WIDTH = 345
_NAME_WIDTH = 78
_BAR_WIDTH = 140
_BAR_HEIGHT = 13
_MARGIN = 16
_TITLE_HEIGHT = 22
_CAPTION_HEIGHT = 30
_STYLE = """
    svg { font: 11px system-ui, sans-serif; }
    .paper { fill: #ffffff; } text { fill: #333333; } .title { font-weight: 600; }
    .other { fill: #b3bcc6; } .own { fill: #0b7a75; } .own-fast { fill: #57b8a8; } .best { stroke: #c0392b; }
    @media (prefers-color-scheme: dark) {
        .paper { fill: #15191e; } text { fill: #d5dbe1; } .other { fill: #56616d; }
        .own { fill: #2bb5a6; } .own-fast { fill: #1d7d74; } .best { stroke: #ff7b6b; }
    }
"""
_CAPTION = "red line: the best of the others · behind each figure: how many times as good as that one it is · "


def draw(findings: Findings, caption: str, file: Path) -> None:
    """Write the picture. In each panel the longest bar is the best server's."""
    rows = [row for row in findings.measured() if row.is_pictured]
    panel_height = _TITLE_HEIGHT + _BAR_HEIGHT * len(findings.servers) + _MARGIN
    width = _COLUMNS * _PANEL_WIDTH + _MARGIN
    height = _CAPTION_HEIGHT + -(-len(rows) // _COLUMNS) * panel_height + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<style>{_STYLE}</style><rect class="paper" width="100%" height="100%"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 5}">{escape(_CAPTION + caption)}</text>',
    ]
    for number, row in enumerate(rows):
        left = _MARGIN + number % _COLUMNS * _PANEL_WIDTH
        top = _CAPTION_HEIGHT + _MARGIN + number // _COLUMNS * panel_height
        parts += [f'<g transform="translate({left} {top})">', *_panel(findings, row), "</g>"]
    file.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _panel(findings: Findings, row: Row) -> Sequence[str]:
    """Title, the line of the best other, and a bar for each server that was asked."""
    asked = {name: found for name in findings.servers if (found := findings.at(row, name)).rounds or found.wrong}
    known = [figures.median for figures in asked.values() if figures.median is not None]
    longest = (max if row.more_is_better else min)(known, default=1.0)
    best = findings.best_other(row)
    direction = "" if row.more_is_better else ", less is better"
    parts = [f'<text class="title" y="9">{escape(f"{findings.title(row)} ({findings.unit(row)}{direction})")}</text>']
    for number, (name, figures) in enumerate(asked.items()):
        middle = _TITLE_HEIGHT + number * _BAR_HEIGHT
        length, label = 0.0, "wrong answers"
        if figures.median is not None:
            length = _BAR_WIDTH * row.better(figures.median, longest)
            label = text(figures.median) + (f" · {text(row.better(figures.median, best[1]))}×" if best else "")
        kind = {OWN[0]: "own", OWN[1]: "own-fast"}.get(name, "other")
        parts += [
            f'<text x="{_NAME_WIDTH - 6}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{_NAME_WIDTH}" y="{middle - 5}" width="{length:.1f}" height="10"/>',
            f'<text x="{_NAME_WIDTH + _BAR_WIDTH + 8}" y="{middle + 4}">{label}</text>',
        ]
    if best:
        x = _NAME_WIDTH + _BAR_WIDTH * row.better(best[1], longest)
        bottom = _TITLE_HEIGHT - 6 + _BAR_HEIGHT * len(asked)
        parts.append(f'<line class="best" x1="{x:.1f}" x2="{x:.1f}" y1="{_TITLE_HEIGHT - 7}" y2="{bottom}"/>')
    return parts
