"""Methods side by side: hide observed pixels, complete, score what was hidden."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.align import Truth, beside
from geonp.errors import GeonpError, GeonpWarning, MissingCRSWarning, UsageError
from geonp.field import Window, as_field, grid_shape, load, warn_without_crs, windows
from geonp.heldout import LEAVE_ONE_OUT, TRUTH, How, Seen, Trial, begin, how_of
from geonp.leaveoneout import leave_one_out
from geonp.masks import Context, HoldOut
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.methods.covaried import Covaried
from geonp.methods.errors import Errors, Stated
from geonp.methods.informed import informed, unique
from geonp.metrics import score
from geonp.predict import complete
from geonp.resampling import Blocks
from geonp.scoreboard import Evaluation, Row

WHOLE_UP_TO = 1024
WINDOW = 512

_LOOKED_AT = 64
_ENOUGH = 100
_WARM_UP = 24

Fields = xr.DataArray | Sequence[xr.DataArray] | Mapping[str, xr.DataArray]
AllErrors = Stated | Sequence[Stated] | Mapping[str, Stated]


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
    errors: AllErrors | None = None,
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
    errors : standard deviations of the errors of the observations (`geonp.methods.errors.with_errors`): one number for
        all fields, or a raster for each, in the same order or under the same names. Every method that takes errors is
        then compared without and with them.
    progress : called with every row as soon as it is there.

    Returns
    -------
    Evaluation
        A method that fails on a raster has a row that says why. Before a method is timed it completes a
        corner of the raster, so that what it loads once is not counted.

    Notes
    -----
    What is hidden is an observation, error and all. A method that was not told of errors predicts observations: their
    errors are in its nugget. One that was told predicts what a measurement free of error would find, so that the
    variance of the hidden observation's own error is added to the one that is scored. Against a truth none is added.

    Raises
    ------
    UsageError
        If the context, the hold-out, a method or the reference is not understood, nothing is given, or errors are
        stated and no method takes them.
    InputError
        If a field has no two spatial dimensions, a truth lies on another grid (see `geonp.align.beside`), or errors do
        (see `geonp.methods.errors.Errors`).

    Warns
    -----
    GeonpWarning
        If a truth covers another area than its field.
    """
    named, plain = _named(fields), [choose(method) for method in methods]
    stated = {} if errors is None else _stated(errors, named)
    labelled = {}
    for name in named if plain else ():
        every = informed(plain, covariates, covariate_policy, stated.get(name))
        labelled[name] = {label: method for variants in every for label, method in variants.items()}
    chosen = next(iter(labelled.values()), {})
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
    how = how_of(holdout, context, side, truth is not None)
    truths = {} if truth is None else _truths(truth, named)
    rows, trials = [], []
    for index, (name, one) in enumerate(named.items()):
        warn_without_crs(one)
        rng = np.random.default_rng([seed, index])
        own = labelled[name]
        for window in _windows(one, truths.get(name), most_windows, rng):
            trial = begin(Seen.of(one, window, stated.get(name)), truths.get(name), how, own, rng)
            trials.append((trial.context, trial.part, trial.whole))
            for row in _compare(trial, Row(name, window, ""), own, data_range):
                rows.append(row)
                if progress is not None:
                    progress(row)
    return Evaluation(tuple(rows), _context(trials, how), how.holdout, seed, reference)


def _context(trials: Sequence[tuple[str, int, int]], how: How) -> str:
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
    names = unique([str(field.name or "field") for field in fields])
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


def _stated(errors: AllErrors, named: Mapping[str, xr.DataArray]) -> dict[str, Stated]:
    """Return the errors of every field by the field's name."""
    if isinstance(errors, Mapping):
        lacking = [name for name in named if name not in errors]
        if lacking:
            raise UsageError(f"there are no errors for {', '.join(lacking)}; name errors like their surveys")
        found: dict[str, Stated] = {name: errors[name] for name in named}
    elif isinstance(errors, xr.DataArray) or not isinstance(errors, Sequence):
        found = dict.fromkeys(named, errors)
    elif len(errors) == len(named):
        found = dict(zip(named, errors, strict=True))
    else:
        raise UsageError(
            f"{len(errors)} error(s) for {len(named)} raster(s); give one for each, in their order"
        )
    for name, one in found.items():
        Errors.of(one, named[name])  # refuses what lies on another grid before anything is hidden
    return found


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


def _compare(
    trial: Trial, here: Row, methods: Mapping[str, Method], data_range: float | None
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


def _run(trial: Trial, method: Method, row: Row, data_range: float | None) -> Row:
    start = time.perf_counter()
    truth, hidden = trial.truth.values, trial.hidden
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GeonpWarning)
            informed, errors = trial.seen.told(method)
            mean, variance = _predict(trial, informed)
        if (
            variance is not None
            and errors is not None
            and trial.truth is trial.seen.field
            and not trial.one_out
        ):
            variance = variance + errors  # what is hidden was measured with them
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


def _predict(trial: Trial, method: Method) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    if trial.one_out:
        if isinstance(method, Covaried):
            method = method.settle(trial.given).alone()
        left = leave_one_out(method, trial.given, trial.hidden)
        return left.mean, left.variance
    done = complete(trial.given, method, variance=method.has_variance)
    return done["mean"].values, done["variance"].values if "variance" in done else None
