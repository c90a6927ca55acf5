"""Methods side by side: hide observed pixels, complete, score what was hidden."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.align import Truth, beside
from geonp.errors import GeonpError, GeonpWarning, InputError, MissingCRSWarning, UsageError
from geonp.field import Window, as_field, grid_shape, load, warn_without_crs, windows
from geonp.leaveoneout import leave_one_out, places_left_out
from geonp.masks import Context, HoldOut, Mask, hold_out, parse_context
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.methods.covaried import Covaried, with_covariates
from geonp.metrics import score
from geonp.predict import complete
from geonp.resampling import Blocks, block_side
from geonp.scoreboard import Evaluation, Row

WHOLE_UP_TO = 1024
WINDOW = 512
LEAVE_ONE_OUT = "leave-one-out"
TRUTH = "truth"
WITH = " + covariates"
HOLDOUTS = (*map(str, HoldOut), LEAVE_ONE_OUT)
SCATTERED, MOST = Context(0.125, 0.125), Context(0.8, 0.8)
"""What stays, unless it is said: of a dense raster whose pixels are hidden one by one, and of any other."""

_LOOKED_AT = 64
_ENOUGH = 100
_WARM_UP = 24

Fields = xr.DataArray | Sequence[xr.DataArray] | Mapping[str, xr.DataArray]


def evaluate(
    fields: Fields,
    methods: Sequence[Method | str],
    *,
    truth: Fields | None = None,
    context: str | float | Context | None = None,
    holdout: HoldOut | str = HoldOut.RANDOM,
    seed: int = 0,
    reference: str | None = None,
    side: int = 16,
    most_windows: int = 4,
    data_range: float | None = None,
    covariates: xr.DataArray | Sequence[xr.DataArray] = (),
    covariate_policy: str = "auto",
    progress: Callable[[Row], None] | None = None,
) -> Evaluation:
    """Hide observed pixels, complete every field with every method, and score the hidden pixels.

    Of a raster with a side of more than 1024 pixels, `most_windows` windows of 512 x 512 are scored, each as
    a raster of its own: the first with 100 observations or more of 64 drawn at random (by `seed`), or the
    fullest where none has as many.

    Parameters
    ----------
    fields : one field, several, or several by name; NaN where not observed. They may be lazy.
    methods : methods or their names.
    truth : what the fields' gaps hold, as many fields in the same order (or under the same names), on the
        same grids. Nothing is hidden then: pixels are scored that the truth knows and the field does not.
    context : how many of the observed pixels the methods see: a fraction, a count or a range (see
        `geonp.masks.parse_context`). The others are hidden, in all bands together, and scored. By default four
        fifths; an eighth where pixels are hidden one by one and half of the raster or more is observed.
    holdout : how pixels are hidden: `random`, `blocks`, `swaths`, `gaps` shaped like the raster's own, or
        `leave-one-out` (see `geonp.leaveoneout.leave_one_out`).
    seed : of the windows and the pixels hidden, which are the same for every method.
    reference : name of the method that ratios are to; by default kriging where it is among them, else the
        first.
    side : pixels along a block, or across a swath.
    most_windows : how many windows of a large raster are scored.
    data_range : peak of PSNR and SSIM, in units of the fields; by default the range of each raster.
    covariates : rasters that the fields follow (`geonp.methods.covaried.with_covariates`). Every method is
        then compared without and with them, and what they gain stands beside it.
    covariate_policy : `auto`, `always` or `never`.
    progress : called with every row as soon as it is there.

    Returns
    -------
    Evaluation
        A method that fails on a raster has a row that says why. Before a method is timed it completes a
        corner of the raster, so that what it loads once is not counted.

    Raises
    ------
    UsageError
        If the context, the hold-out, a method or the reference is not understood, or nothing is given.
    InputError
        If a field has no two spatial dimensions, or a truth lies on another grid (see `geonp.align.beside`).

    Warns
    -----
    GeonpWarning
        If a truth covers another area than its field.
    """
    named, chosen = _named(fields), _labelled(methods, covariates, covariate_policy)
    if not named or not chosen:
        raise UsageError("an evaluation needs a raster and a method at least")
    if reference is None:
        reference = "kriging" if "kriging" in chosen else next(iter(chosen))
    if reference not in chosen:
        raise UsageError(f"the reference {reference!r} is not among the methods: {', '.join(chosen)}")
    if side < 1 or most_windows < 1:
        raise UsageError(f"blocks of {side} pixels, {most_windows} windows: both must be 1 or more")
    if data_range is not None and not data_range > 0:
        raise UsageError(f"a data range of {data_range} is impossible; give the peak, such as 255")
    how = _how(holdout, context, side, truth is not None)
    truths = {} if truth is None else _truths(truth, named)
    rows, trials = [], []
    for index, (name, one) in enumerate(named.items()):
        warn_without_crs(one)
        rng = np.random.default_rng([seed, index])
        for window in _windows(one, truths.get(name), most_windows, rng):
            trial = _begin(load(one, window), window, truths.get(name), how, chosen, rng)
            trials.append((trial.context, trial.part, trial.whole))
            for row in _compare(trial, Row(name, window, ""), chosen, data_range):
                rows.append(row)
                if progress is not None:
                    progress(row)
    return Evaluation(tuple(rows), _context(trials, how), how.holdout, seed, reference)


@dataclass(frozen=True)
class _How:
    """How pixels are hidden; a context of None is chosen raster by raster."""

    holdout: str
    context: Context | None
    side: int


def _how(holdout: HoldOut | str, context: str | float | Context | None, side: int, truth: bool) -> _How:
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
    return _How(TRUTH if truth else str(holdout), wanted, side)


def _context(trials: Sequence[tuple[str, int, int]], how: _How) -> str:
    """Return how much the methods saw of all rasters together, as a text."""
    part, whole = sum(part for _, part, _ in trials), sum(whole for _, _, whole in trials)
    if how.holdout == LEAVE_ONE_OUT:
        return f"{part} of {whole}"
    if how.holdout == TRUTH:
        return f"{part / whole:.4g}" if whole else "-"
    return " or ".join(dict.fromkeys(text for text, _, _ in trials if text)) or str(how.context or "-")


def _named(fields: Fields) -> dict[str, xr.DataArray]:
    if isinstance(fields, xr.DataArray):
        fields = [fields]
    if isinstance(fields, Mapping):
        return {name: as_field(field) for name, field in fields.items()}
    names = _unique([str(field.name or "field") for field in fields])
    return {name: as_field(field) for name, field in zip(names, fields, strict=True)}


def _truths(truth: Fields, named: Mapping[str, xr.DataArray]) -> dict[str, Truth]:
    """Return the truth of every field by the field's name."""
    if isinstance(truth, Mapping):
        lacking = [name for name in named if name not in truth]
        if lacking:
            raise UsageError(f"there is no truth for {', '.join(lacking)}; name truths like their surveys")
        return {name: beside(truth[name], field) for name, field in named.items()}
    given = [truth] if isinstance(truth, xr.DataArray) else list(truth)
    if len(given) != len(named):
        raise UsageError(
            f"{len(given)} truth(s) for {len(named)} raster(s); give one for each, in their order"
        )
    return {name: beside(one, named[name]) for name, one in zip(named, given, strict=True)}


def _labelled(
    methods: Sequence[Method | str], covariates: xr.DataArray | Sequence[xr.DataArray], policy: str
) -> dict[str, Method]:
    """Return the methods by name, each followed by itself with covariates where there are any."""
    chosen = [choose(method) for method in methods]
    found = {}
    for name, method in zip(_unique([method.name for method in chosen]), chosen, strict=True):
        found[name] = method
        informed = with_covariates(method, covariates, policy)
        if informed is not method:
            found[f"{name}{WITH}"] = informed
    return found


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, repeated ones numbered from the second on."""
    return [
        name if name not in names[:index] else f"{name} {names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]


def _windows(
    field: xr.DataArray, truth: Truth | None, most: int, rng: np.random.Generator
) -> list[Window | None]:
    """Return the windows of a raster that are scored; None stands for the whole."""
    shape = grid_shape(field)
    if max(shape) <= WHOLE_UP_TO:
        return [None]
    cut = [w for w in windows(shape, WINDOW) if min(w.shape) >= min(WINDOW, *shape) // 2]
    counted = []
    for index in rng.permutation(len(cut))[:_LOOKED_AT]:
        seen = np.isfinite(load(field, cut[index]).values)
        count = int(seen.any(0).sum())
        if truth is not None and count:
            count = min(count, int((np.isfinite(truth.load(cut[index])) & ~seen).any(0).sum()))
        counted.append((count, cut[index]))
        if sum(c >= _ENOUGH for c, _ in counted) == most:
            break
    full = [window for count, window in counted if count >= _ENOUGH]
    return [*full] or [max(counted, key=lambda entry: entry[0])[1]]


@dataclass(frozen=True)
class _Trial:
    """What the methods are given of one raster or window, and what is scored.

    Parameters
    ----------
    truth, given : (band, y, x).
    hidden : (band, y, x) or (y, x), the pixels to score.
    context : how much stayed of the observed pixels, as a text.
    part, whole : pixels observed of all, against a truth; left out of those observed, one by one.
    one_out : whether the hidden pixels are left out one by one; nothing is hidden then from `given`.
    side : of the blocks that are drawn together for an interval.
    failure : why there is nothing to score; the other fields are empty then.
    """

    truth: xr.DataArray
    given: xr.DataArray
    hidden: NDArray[np.bool_]
    context: str = ""
    part: int = 0
    whole: int = 0
    one_out: bool = False
    side: int = 1
    failure: str = field(default="")


def _begin(
    seen: xr.DataArray,
    window: Window | None,
    truth: Truth | None,
    how: _How,
    methods: Mapping[str, Method],
    rng: np.random.Generator,
) -> _Trial:
    observed = np.isfinite(seen.values).any(0)
    try:
        if truth is not None:
            return _against(seen, window or Window.whole(grid_shape(seen)), truth)
        if not observed.any():
            raise InputError(
                f"none of {observed.size} pixels is observed, so that none can be hidden and scored; check the "
                "band (--band) and the nodata value (--nodata)"
            )
        if how.holdout == LEAVE_ONE_OUT:
            plain = [m.base if isinstance(m, Covaried) else m for m in methods.values()]
            places = places_left_out(observed, plain, rng)
            side = block_side(observed, observed)
            counts = int(places.sum()), int(observed.sum())
            return _Trial(seen, seen, places, "", *counts, one_out=True, side=side)
        hidden, context = _hide(observed, how, rng)
    except GeonpError as error:
        return _Trial(seen, seen, np.zeros_like(observed), failure=str(error))
    given = seen.copy(data=np.where(hidden, np.float32(np.nan), seen.values))
    side = block_side(observed & ~hidden, hidden)
    return _Trial(seen, given, hidden, str(context), side=side)


def _hide(observed: Mask, how: _How, rng: np.random.Generator) -> tuple[Mask, Context]:
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


def _against(seen: xr.DataArray, window: Window, truth: Truth) -> _Trial:
    known = seen.copy(data=truth.load(window))
    observed = np.isfinite(seen.values)
    hidden = np.isfinite(known.values) & ~observed
    if not hidden.any():
        raise InputError(
            "no pixel is hidden: the survey is observed wherever the truth is known; leave out the truth "
            "(--truth) to hold back a part of the survey"
        )
    side = block_side(observed.any(0), hidden.any(0))
    return _Trial(known, seen, hidden, "", int(observed.sum()), observed.size, side=side)


def _compare(
    trial: _Trial, here: Row, methods: Mapping[str, Method], data_range: float | None
) -> Iterator[Row]:
    if trial.failure:
        yield from (replace(here, method=name, failure=trial.failure) for name in methods)
        return
    for name, method in methods.items():
        corner = trial.given.isel(y=slice(_WARM_UP), x=slice(_WARM_UP))
        with warnings.catch_warnings(), suppress(Exception):  # a corner may well have no observation
            warnings.simplefilter("ignore")
            complete(corner, method, variance=method.has_variance)
        yield _run(trial, method, replace(here, method=name), data_range)


def _run(trial: _Trial, method: Method, row: Row, data_range: float | None) -> Row:
    start = time.perf_counter()
    truth, hidden = trial.truth.values, trial.hidden
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GeonpWarning)
            mean, variance = _predict(trial, method)
        seconds = time.perf_counter() - start
        scores = score(truth, mean, variance, hidden, data_range)
        blocks = Blocks.of(truth, mean, variance, hidden, trial.side)
    except GeonpError as error:
        return replace(row, failure=str(error))
    except Exception as error:  # whatever a method stumbles over, the table goes on
        return replace(row, failure=f"{type(error).__name__}: {error}")
    told = [w for w in caught if issubclass(w.category, GeonpWarning)]
    note = "; ".join(dict.fromkeys(str(w.message) for w in told if w.category is not MissingCRSWarning))
    filled = scores.count if trial.one_out else int(np.isnan(trial.given.values).sum())
    return replace(row, scores=scores, filled=filled, seconds=seconds, note=note, blocks=blocks)


def _predict(trial: _Trial, method: Method) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    if trial.one_out:
        if isinstance(method, Covaried):
            method = method.settle(trial.given).alone()
        left = leave_one_out(method, trial.given, trial.hidden)
        return left.mean, left.variance
    done = complete(trial.given, method, variance=method.has_variance)
    return done["mean"].values, done["variance"].values if "variance" in done else None
