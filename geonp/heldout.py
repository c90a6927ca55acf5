"""What is hidden of a raster that is evaluated: which pixels the methods see, and which are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.align import Truth
from geonp.errors import GeonpError, InputError, UsageError
from geonp.field import Window, grid_shape, load
from geonp.leaveoneout import places_left_out
from geonp.masks import Context, HoldOut, Mask, hold_out, parse_context
from geonp.methods.base import Method, Values
from geonp.methods.errors import Errors, Stated, errors_of, with_errors
from geonp.methods.wrapped import innermost
from geonp.resampling import block_side

LEAVE_ONE_OUT = "leave-one-out"
TRUTH = "truth"
HOLDOUTS = (*map(str, HoldOut), LEAVE_ONE_OUT)
SCATTERED, MOST = Context(0.125, 0.125), Context(0.8, 0.8)
"""What stays, unless it is said: of a dense raster whose pixels are hidden one by one, and of any other."""


@dataclass(frozen=True)
class How:
    """How pixels are hidden; a context of None is chosen raster by raster."""

    holdout: str
    context: Context | None
    side: int


def how_of(holdout: HoldOut | str, context: str | float | Context | None, side: int, truth: bool) -> How:
    """Return how pixels are hidden, from how a user says it.

    Raises
    ------
    UsageError
        If hold-out or context are not understood, or cannot be together.
    """
    if holdout not in HOLDOUTS:
        raise UsageError(f"there is no hold-out {holdout!r}; choose from {', '.join(HOLDOUTS)}")
    if truth and (context is not None or holdout != HoldOut.RANDOM):
        raise UsageError(
            "with a truth nothing is hidden: the gaps of the survey are scored; leave out the context and the "
            "hold-out, or the truth"
        )
    if holdout == LEAVE_ONE_OUT and context is not None:
        raise UsageError("leave-one-out hides one observation at a time; leave out the context")
    wanted = context if isinstance(context, Context) or context is None else parse_context(context)
    return How(TRUTH if truth else str(holdout), wanted, side)


@dataclass(frozen=True)
class Seen:
    """What is observed of a raster, or of a window of it.

    Parameters
    ----------
    whole : the raster, perhaps larger than memory.
    window : of it.
    field : (band, y, x), the window in memory.
    errors : that were stated of the raster.
    """

    whole: xr.DataArray
    window: Window
    field: xr.DataArray
    errors: Stated | None = None

    @classmethod
    def of(cls, whole: xr.DataArray, window: Window | None, errors: Stated | None) -> Seen:
        """Load a window of a raster; the whole where there is none."""
        return cls(whole, window or Window.whole(grid_shape(whole)), load(whole, window), errors)

    @property
    def observed(self) -> Mask:
        """Where (y, x) any band is."""
        return np.asarray(np.isfinite(self.field.values).any(0))

    def error_variances(self, stated: Stated) -> Values:
        """Return the variances (band, y, x) of the errors of the observations."""
        return Errors.of(stated, self.whole).variances(self.field.values, self.window)

    def told(self, method: Method) -> tuple[Method, Values | None]:
        """Return `method` with its errors on the window's own pixels, and their variances; None where it has none."""
        stated = errors_of(method)
        if stated is None:
            return method, None
        variances = self.error_variances(stated)
        return with_errors(method, self.field.copy(data=np.sqrt(variances))), variances


@dataclass(frozen=True)
class Trial:
    """What the methods are given of one raster or window, and what is scored.

    Parameters
    ----------
    seen : what is observed of it.
    truth, given : (band, y, x).
    hidden : (band, y, x) or (y, x), the pixels to score.
    context : how much stayed of the observed pixels, as a text.
    part, whole : pixels observed of all, against a truth; left out of those observed, one by one.
    one_out : whether the hidden pixels are left out one by one; nothing is hidden then from `given`.
    side : of the blocks that are drawn together for an interval.
    failure : why there is nothing to score; the other fields are empty then.
    """

    seen: Seen
    truth: xr.DataArray
    given: xr.DataArray
    hidden: NDArray[np.bool_]
    context: str = ""
    part: int = 0
    whole: int = 0
    one_out: bool = False
    side: int = 1
    failure: str = field(default="")

    @property
    def measured(self) -> bool:
        """Whether what is scored was observed, with the errors of observations, and is no truth."""
        return self.truth is self.seen.field


def begin(
    survey: Seen,
    truth: Truth | None,
    how: How,
    methods: Mapping[str, Method],
    rng: np.random.Generator,
) -> Trial:
    """Hide pixels of a raster, drawn by `rng`.

    Nothing is raised where that cannot be done: the trial then carries what the InputError said.

    Parameters
    ----------
    survey : the raster.
    truth : what its gaps hold; nothing is hidden then.
    how : how much, and in which shapes.
    methods : to be compared, by name; where one is left out at a time they decide of how many.
    """
    seen, observed = survey.field, survey.observed
    try:
        if survey.errors is not None:
            survey.error_variances(survey.errors)  # refuses those that cannot be
        if truth is not None:
            return _against(survey, truth)
        if not observed.any():
            raise InputError(
                f"none of {observed.size} pixels is observed, so that none can be hidden and scored; check the "
                "band (--band) and the nodata value (--nodata)"
            )
        if how.holdout == LEAVE_ONE_OUT:
            plain = [innermost(method) for method in methods.values()]
            places = places_left_out(observed, plain, rng)
            side = block_side(observed, observed)
            counts = int(places.sum()), int(observed.sum())
            return Trial(survey, seen, seen, places, "", *counts, one_out=True, side=side)
        hidden, context = _hide(observed, how, rng)
    except GeonpError as error:
        return Trial(survey, seen, seen, np.zeros_like(observed), failure=str(error))
    given = seen.copy(data=np.where(hidden, np.float32(np.nan), seen.values))
    side = block_side(observed & ~hidden, hidden)
    return Trial(survey, seen, given, hidden, str(context), side=side)


def _hide(observed: Mask, how: How, rng: np.random.Generator) -> tuple[Mask, Context]:
    total = int(observed.sum())
    if total < 2:
        raise InputError(
            "a single pixel is observed: none can be hidden and scored; give the truth of the gaps (--truth)"
        )
    scattered = how.holdout == HoldOut.RANDOM and 2 * total >= observed.size
    context = how.context or (SCATTERED if scattered else MOST)
    seen = context.draw(rng, total)
    if seen == total:
        raise InputError(
            f"a context of {context} leaves none of {total} observed pixels to be hidden and scored; give a "
            f"smaller one (--context {total // 2}), or the truth of the gaps (--truth)"
        )
    return hold_out(HoldOut(how.holdout), observed, 1 - seen / total, rng, how.side), context


def _against(survey: Seen, truth: Truth) -> Trial:
    seen = survey.field
    known = seen.copy(data=truth.load(survey.window))
    observed = np.isfinite(seen.values)
    hidden = np.isfinite(known.values) & ~observed
    if not hidden.any():
        raise InputError(
            "no pixel is hidden: the survey is observed wherever the truth is known; leave out the truth "
            "(--truth) to hold back a part of the survey"
        )
    side = block_side(observed.any(0), hidden.any(0))
    return Trial(survey, known, seen, hidden, "", int(observed.sum()), observed.size, side=side)
