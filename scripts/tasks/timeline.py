"""The picture of a race: a timeline for each contender, as SVG."""

import svg

from scripts.tasks import standings
from scripts.tasks.standings import EVENTS, Record

_COLORS = {
    "init": "#57606a",
    "link": "#8250df",
    "address": "#0969da",
    "metadata": "#1b7c83",
    "user": "#bf8700",
    "host keys": "#bc4c00",
    "Ready": "#1a7f37",
    "login": "#cf222e",
}
_LEFT, _WIDTH, _RIGHT = 130, 620, 90  # of names, of the time, of the last figures
_ROW, _BAR = 34, 12
_FONT = "system-ui, sans-serif"


def picture(record: Record) -> str:
    """Return the medians of a race as an SVG document."""
    times = [
        record.median(name, event, keys=keys) or 0.0
        for keys in standings.titles(record)
        for name in record.names
        for event in EVENTS
    ]
    end = max(times) or 1.0
    scale = _WIDTH / end
    parts: list[svg.Element] = []
    parts += _legend()
    y = 70
    for keys, title in standings.titles(record).items():
        parts.append(_text(12, y, title[:1].upper() + title[1:], weight="bold"))
        y += 12
        for name in record.names:
            parts += _line(record, name, keys=keys, y=y, scale=scale)
            y += _ROW
        y += 26
    parts += _axis(y - 26, end, scale)
    width, height = _LEFT + _WIDTH + _RIGHT, y + 14
    paper = svg.Rect(width=width, height=height, fill="#ffffff", rx=6)
    return f"{svg.SVG(viewBox=svg.ViewBoxSpec(0, 0, width, height), elements=[paper, *parts])}\n"


def _legend() -> list[svg.Element]:
    parts: list[svg.Element] = [_text(12, 22, "From the kernel's start, seconds", weight="bold")]
    x = 12.0
    for event, color in _COLORS.items():
        parts += [
            svg.Rect(x=x, y=34, width=10, height=10, fill=color),
            _text(x + 14, 43, "kernel ends, init" if event == "init" else event),
        ]
        x += 40 + 7 * len("kernel ends, init" if event == "init" else event)
    return parts


def _line(record: Record, name: str, *, keys: bool, y: float, scale: float) -> list[svg.Element]:
    """Return a contender's row: its name, a bar to each event, figures for the two that count."""
    parts: list[svg.Element] = [_text(_LEFT - 8, y + 17, name, anchor="end")]
    found = {event: record.median(name, event, keys=keys) for event in EVENTS}
    known = sorted((at, event) for event, at in found.items() if at)
    if not known:
        return parts
    end = known[-1][0]
    parts.append(_bar(_LEFT, y + 8, end * scale, "#d0d7de"))
    parts.append(_bar(_LEFT, y + 8, (found["init"] or 0) * scale, _COLORS["init"]))
    for at, event in known:
        if event != "init":
            tall = 5 if event in ("Ready", "login") else 0
            x = _LEFT + at * scale
            parts.append(
                svg.Rect(
                    x=round(x - 1.5, 1),
                    y=y + 8 - tall,
                    width=3,
                    height=_BAR + 2 * tall,
                    fill=_COLORS[event],
                    elements=[svg.Title(text=f"{name}: {event} {at:.1f} s")],
                )
            )
    figures = [found["Ready"], found["login"]]
    said = " / ".join("-" if figure is None else f"{figure:.1f}" for figure in figures)
    parts.append(_text(_LEFT + end * scale + 7, y + 18, said))
    return parts


def _axis(y: float, end: float, scale: float) -> list[svg.Element]:
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100) if end / size <= 12)
    parts: list[svg.Element] = []
    for second in range(0, int(end) + 1, step):
        x = round(_LEFT + second * scale, 1)
        parts.append(svg.Line(x1=x, y1=58, x2=x, y2=y, stroke="#8c959f", stroke_opacity=0.25))
        parts.append(_text(x, y + 14, str(second), anchor="middle"))
    return parts


def _bar(x: float, y: float, width: float, color: str) -> svg.Rect:
    return svg.Rect(x=x, y=y, width=round(width, 1), height=_BAR, fill=color)


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "") -> svg.Text:
    return svg.Text(
        x=round(x, 1),
        y=y,
        text=text,
        font_family=_FONT,
        font_size=13,
        fill="#1f2328",
        text_anchor=anchor,  # type: ignore[arg-type]
        font_weight=weight or None,  # type: ignore[arg-type]
    )
