"""A word on thresholds that nothing observed has come near."""

from __future__ import annotations

import math
import warnings

import numpy as np

from geonp.errors import GeonpWarning, UsageError
from geonp.field import Summary


def note_threshold(threshold: float, summary: Summary) -> None:
    """Say so where a threshold lies outside what was observed.

    Parameters
    ----------
    threshold : in the units of the field.
    summary : what was observed.

    Raises
    ------
    UsageError
        If the threshold is not a finite number.

    Warns
    -----
    GeonpWarning
    """
    if not math.isfinite(threshold):
        raise UsageError(f"a threshold is a number in the units of the field, got {threshold}")
    if not summary.observed.any():
        return
    low, high = float(np.nanmin(summary.minimum)), float(np.nanmax(summary.maximum))
    if low <= threshold <= high:
        return
    side = "above" if threshold > high else "below"
    warnings.warn(
        f"the threshold {threshold:g} lies {side} everything that was observed ({low:g} to {high:g}): what is said of "
        "it rests on the tails of the normal distribution alone",
        GeonpWarning,
        stacklevel=3,
    )
