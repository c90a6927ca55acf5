"""Charts for a page: matplotlib axes as inline SVG that follows the page's colours and fonts."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from geonp.report.figures import COLOURS

_INK, _RULE = "#010203", "#040506"
_SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _RULE,
    "axes.facecolor": "none",
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "figure.facecolor": "none",
    "legend.facecolor": "none",
    "path.simplify": True,
}
_THEME = {
    _INK: "currentColor",
    "#000000": "currentColor",
    _RULE: "var(--rule)",
    **{colour: f"var(--m{number})" for number, colour in enumerate(COLOURS, 1)},
    "#1f77b4": "var(--m1)",
    "#ff7f0e": "var(--m2)",
}
_COLOUR = re.compile("|".join(_THEME))
_NAMES = re.compile(r'(\bid="|url\(#|xlink:href="#)([^")]+)')
_FONT = re.compile(r"font-family: [^;\"]+;?|(font: [^;\"]*?)'[^;\"]*")


def svg(
    draw: Callable[[Axes], object], *, key: str, alternative: str, size: tuple[float, float] = (4.4, 4.2)
) -> str:
    """Return what `draw` draws on the axes it is given, as an `<svg>` element.

    Parameters
    ----------
    key : prefix of the names inside, unique on the page.
    alternative : what the picture shows, in words.
    size : width and height in inches.
    """
    with rc_context(_SETTINGS | {"svg.hashsalt": key}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(
            file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return themed(file.getvalue(), key, alternative)


def themed(text: str, key: str, alternative: str) -> str:
    """Return matplotlib's SVG document as an element of a page: its colours and fonts, and alternative text."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.S)
    text = _COLOUR.sub(lambda found: _THEME[found.group()], text)
    text = _NAMES.sub(rf"\1{key}-\2", text)
    text = _FONT.sub(
        lambda found: f"{found.group(1)}inherit" if found.group(1) else "font-family: inherit;", text
    )
    head = re.match(r"<svg [^>]*?viewBox=\"([^\"]+)\"[^>]*>", text, re.S)
    assert head is not None
    opening = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{head.group(1)}" role="img" '
        f'aria-label="{html.escape(alternative)}">'
    )
    return opening + text[head.end() :].strip()
