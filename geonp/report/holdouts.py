"""Which observations to hide so that what is learnt from them holds for the pixels that are really missing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from geonp.errors import InputError
from geonp.masks import HoldOut, Mask, hold_out
from geonp.report.hidden import distance_to_seen

SHARE = 0.15
"""Of the observed pixels that are hidden at a time."""

_LOOKED_AT = 20_000
_SIDE = 16
_SMALLEST = 2
_ENOUGH, _MOST_FOLDS = 300, 6


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Parts of a survey to be hidden in turn.

    Parameters
    ----------
    kind : how pixels are hidden.
    masks : (y, x) each, True at the observed pixels that are hidden; no pixel is in two of them.
    missing, distance : median distance to the nearest pixel seen, of the pixels that are missing (NaN where
        none is) and of those hidden, in metres.
    """

    kind: HoldOut
    masks: tuple[Mask, ...]
    missing: float
    distance: float

    @property
    def hidden(self) -> Mask:
        """(y, x), True at every pixel that is hidden in one of the folds."""
        return np.asarray(np.any(self.masks, axis=0))


def like_the_gaps(observed: Mask, spacing: tuple[float, float], rng: np.random.Generator) -> Folds:
    """Hide parts of the observed pixels that lie as far from the rest as the missing pixels do from the data.

    Single pixels, blocks and the survey's own gap shapes are tried; the one whose distances to the nearest
    pixel seen are most like those of the missing pixels (Wasserstein distance) is taken. Where no pixel is
    missing, blocks of 16 pixels are hidden. Of a small survey, up to six parts are hidden in turn, until 300
    pixels were.

    Parameters
    ----------
    observed : (y, x), True where observed.
    spacing : pixel size (dy, dx) in metres.

    Raises
    ------
    InputError
        If fewer than two pixels are observed.

    References
    ----------
    Linnenbrink, Milà, Ludwig and Meyer (2024), kNNDM CV: k-fold nearest-neighbour distance matching
    cross-validation for map accuracy estimation, section 2.
    """
    wanted = _some(distance_to_seen(observed, spacing)[~observed], rng)
    typical = float(np.median(wanted)) if wanted.size else math.nan
    side = max(_SMALLEST, round(4 * typical / max(spacing))) if wanted.size else _SIDE
    kinds = (
        (HoldOut.RANDOM, HoldOut.GAPS, HoldOut.BLOCKS) if wanted.size else (HoldOut.BLOCKS, HoldOut.RANDOM)
    )
    best: tuple[HoldOut, Mask] | None = None
    least = math.inf
    for kind in kinds:
        try:
            hidden = hold_out(kind, observed, SHARE, rng, side)
        except InputError:
            if kind is HoldOut.RANDOM:
                raise
            continue  # one block may hold every observation
        found = _some(distance_to_seen(observed & ~hidden, spacing)[hidden], rng)
        apart = wasserstein_distance(wanted, found) if wanted.size else 0.0
        if apart < least:
            best, least = (kind, hidden), apart
    assert best is not None
    kind, masks = best[0], _folds(observed, *best, side, rng)
    distances = [distance_to_seen(observed & ~mask, spacing)[mask] for mask in masks]
    return Folds(kind, masks, typical, float(np.median(np.concatenate(distances))))


def _folds(
    observed: Mask, kind: HoldOut, first: Mask, side: int, rng: np.random.Generator
) -> tuple[Mask, ...]:
    """Return the first hold-out, and more of its kind until enough pixels are in one."""
    masks, taken = [first], first.copy()
    for _ in range(_MOST_FOLDS - 1):
        if taken.sum() >= min(_ENOUGH, int(observed.sum())):
            break
        mask = hold_out(kind, observed, SHARE, rng, side) & ~taken
        if mask.any():
            masks.append(mask)
            taken |= mask
    return tuple(masks)


def _some(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.choice(values, _LOOKED_AT, replace=False) if values.size > _LOOKED_AT else values
