"""Methods side by side: hide observed pixels, complete, score what was hidden."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import xarray as xr

from geonp.errors import GeonpError, GeonpWarning, InputError, MissingCRSWarning, UsageError
from geonp.field import Window, as_field, grid_shape, load, warn_without_crs, windows
from geonp.masks import Context, HoldOut, Mask, hold_out, parse_context
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.metrics import score
from geonp.predict import complete
from geonp.scoreboard import Evaluation, Row

WHOLE_UP_TO = 1024
WINDOW = 512
_LOOKED_AT = 64
_ENOUGH = 100
_WARM_UP = 24

Fields = xr.DataArray | Sequence[xr.DataArray] | Mapping[str, xr.DataArray]


def evaluate(
    fields: Fields,
    methods: Sequence[Method | str],
    *,
    context: str | float | Context = 0.125,
    holdout: HoldOut | str = HoldOut.RANDOM,
    seed: int = 0,
    reference: str | None = None,
    side: int = 16,
    most_windows: int = 4,
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
    context : how many of the observed pixels the methods see: a fraction, a count or a range (see
        `geonp.masks.parse_context`). The others are hidden, in all bands together, and scored.
    holdout : how pixels are hidden: `random`, `blocks`, `swaths`, or `gaps` shaped like the raster's own.
    seed : of the windows and the pixels hidden, which are the same for every method.
    reference : name of the method that ratios are to; by default kriging where it is among them, else the
        first.
    side : pixels along a block, or across a swath.
    most_windows : how many windows of a large raster are scored.
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
        If a field has no two spatial dimensions.
    """
    named, chosen = _named(fields), _labelled(methods)
    if not named or not chosen:
        raise UsageError("an evaluation needs a raster and a method at least")
    if reference is None:
        reference = "kriging" if "kriging" in chosen else next(iter(chosen))
    if reference not in chosen:
        raise UsageError(f"the reference {reference!r} is not among the methods: {', '.join(chosen)}")
    if holdout not in list(HoldOut):
        raise UsageError(f"there is no hold-out {holdout!r}; choose from {', '.join(HoldOut)}")
    if side < 1 or most_windows < 1:
        raise UsageError(f"blocks of {side} pixels, {most_windows} windows: both must be 1 or more")
    wanted = context if isinstance(context, Context) else parse_context(context)
    rows = []
    for index, (name, field) in enumerate(named.items()):
        warn_without_crs(field)
        rng = np.random.default_rng([seed, index])
        for window in _windows(field, most_windows, rng):
            truth, here = load(field, window), Row(name, window, "")
            for row in _compare(truth, here, chosen, wanted, HoldOut(holdout), side, rng):
                rows.append(row)
                if progress is not None:
                    progress(row)
    return Evaluation(tuple(rows), str(wanted), str(HoldOut(holdout)), seed, reference)


def _named(fields: Fields) -> dict[str, xr.DataArray]:
    if isinstance(fields, xr.DataArray):
        fields = [fields]
    if isinstance(fields, Mapping):
        return {name: as_field(field) for name, field in fields.items()}
    names = _unique([str(field.name or "field") for field in fields])
    return {name: as_field(field) for name, field in zip(names, fields, strict=True)}


def _labelled(methods: Sequence[Method | str]) -> dict[str, Method]:
    chosen = [choose(method) for method in methods]
    return dict(zip(_unique([method.name for method in chosen]), chosen, strict=True))


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, repeated ones numbered from the second on."""
    return [
        name if name not in names[:index] else f"{name} {names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]


def _windows(field: xr.DataArray, most: int, rng: np.random.Generator) -> list[Window | None]:
    """Return the windows of a raster that are scored; None stands for the whole."""
    shape = grid_shape(field)
    if max(shape) <= WHOLE_UP_TO:
        return [None]
    cut = [w for w in windows(shape, WINDOW) if min(w.shape) >= min(WINDOW, *shape) // 2]
    counted = []
    for index in rng.permutation(len(cut))[:_LOOKED_AT]:
        count = int(np.isfinite(load(field, cut[index]).values).any(0).sum())
        counted.append((count, cut[index]))
        if sum(c >= _ENOUGH for c, _ in counted) == most:
            break
    full = [window for count, window in counted if count >= _ENOUGH]
    return [*full] or [max(counted, key=lambda entry: entry[0])[1]]


def _compare(
    truth: xr.DataArray,
    here: Row,
    methods: Mapping[str, Method],
    context: Context,
    holdout: HoldOut,
    side: int,
    rng: np.random.Generator,
) -> Iterator[Row]:
    observed = np.isfinite(truth.values).any(0)
    total = int(observed.sum())
    try:
        seen = context.draw(rng, total)
        if seen == total:
            raise InputError(f"a context of {context} leaves none of {total} observed pixels to be scored")
        hidden = hold_out(holdout, observed, 1 - seen / total, rng, side)
    except GeonpError as error:
        yield from (replace(here, method=name, failure=str(error)) for name in methods)
        return
    given = truth.copy(data=np.where(hidden, np.float32(np.nan), truth.values))
    for name, method in methods.items():
        corner = given.isel(y=slice(_WARM_UP), x=slice(_WARM_UP))
        with warnings.catch_warnings(), suppress(Exception):  # a corner may well have no observation
            warnings.simplefilter("ignore")
            complete(corner, method, variance=method.has_variance)
        yield _run(truth, given, hidden, method, replace(here, method=name))


def _run(truth: xr.DataArray, given: xr.DataArray, hidden: Mask, method: Method, row: Row) -> Row:
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GeonpWarning)
            done = complete(given, method, variance=method.has_variance)
        seconds = time.perf_counter() - start
        variance = done["variance"].values if "variance" in done else None
        scores = score(truth.values, done["mean"].values, variance, hidden)
    except GeonpError as error:
        return replace(row, failure=str(error))
    except Exception as error:  # whatever a method stumbles over, the table goes on
        return replace(row, failure=f"{type(error).__name__}: {error}")
    told = [w for w in caught if issubclass(w.category, GeonpWarning)]
    note = "; ".join(dict.fromkeys(str(w.message) for w in told if w.category is not MissingCRSWarning))
    filled = int(np.isnan(given.values).sum())
    return replace(row, scores=scores, filled=filled, seconds=seconds, note=note)
