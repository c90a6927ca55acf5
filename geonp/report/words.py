"""Numbers as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, whole above them; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = float(f"{value:.{digits}g}")
    size = abs(rounded)
    if size and not 1e-4 <= size < 1e7:
        return f"{rounded:.{digits - 1}e}".replace("-", "−")
    if size >= 10 ** (digits - 1):
        return f"{value:,.0f}".replace("-", "−")
    text = f"{rounded:.{digits}g}"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """Return a share in percent; what is not quite nothing, or not quite all, does not look so."""
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.3g} %" if value < 100 else "100 %"


def listed(names: Sequence[str]) -> str:
    """Return names as an English list: a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
