"""Everything a report tells, found out before a line of it is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.align import beside
from geonp.errors import GeonpError, GeonpWarning, InputError, UsageError
from geonp.field import Summary, Window, as_field, geobox, spacing, summarise, warn_without_crs
from geonp.methods.base import Method
from geonp.methods.errors import Errors, errors_of
from geonp.metrics import score
from geonp.report.areas import Area, areas, overview
from geonp.report.attempts import Attempt, Maps, attempt
from geonp.report.hidden import Hidden
from geonp.report.holdouts import SHARE, Folds, like_the_gaps
from geonp.report.variography import Variography, of_raster
from geonp.report.view import View
from geonp.resampling import Blocks, block_side
from geonp.scoreboard import Evaluation, Row

TRUTH = "truth"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """The whole raster, one band of it, completed by the first method that could.

    Parameters
    ----------
    view : its grid.
    survey : (y, x), what was observed.
    maps : the completion.
    method : which completed it.
    side : pixels along a cell; 1 where cells are pixels.
    """

    view: View
    survey: NDArray[np.float32]
    maps: Maps
    method: str
    side: int


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A survey, its completions, and how good they are.

    Parameters
    ----------
    name, unit : of what was measured; empty where unknown.
    view, summary : the raster's grid, and what one pass over it found.
    crs : what its CRS is called; empty without one.
    overview : the whole raster.
    area, area_view : the part at full resolution that is shown, and its grid.
    attempts : every method on that part.
    hidden : what every method says of the hidden pixels of all parts.
    evaluation : its scores; None where nothing could be hidden.
    folds : what was hidden of the part shown; None where a truth was given.
    variography : None where there are too few observations.
    notes : what a reader should know.
    """

    name: str
    unit: str
    view: View
    summary: Summary
    crs: str
    overview: Overview
    area: Area
    area_view: View
    attempts: tuple[Attempt, ...]
    hidden: tuple[Hidden, ...]
    evaluation: Evaluation | None
    folds: Folds | None
    variography: Variography | None
    notes: tuple[str, ...]


def study(
    survey: xr.DataArray,
    methods: Mapping[str, Method],
    truth: xr.DataArray | None,
    name: str,
    seed: int,
    progress: Progress,
) -> Study:
    """Complete a survey by several methods, by label, and score them; see `geonp.report.page` for the parameters."""
    field = as_field(survey)
    if field.sizes["band"] != 1:
        raise UsageError(
            f"a report is of one band, and here are {field.sizes['band']}; name one (--band 1; in Python: "
            "array.isel(band=[0]))"
        )
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", GeonpWarning)
        warn_without_crs(field)
        summary = summarise(field)
        if summary.infinite[0]:
            notes.append(f"{summary.infinite[0]} infinite values are treated as not observed.")
        if not summary.observed[0]:
            raise InputError(
                f"no pixel of {summary.pixels} is observed: there is nothing to report on; check the band (--band) "
                "and the nodata value (--nodata)"
            )
        known = None if truth is None else beside(truth, field)
        parts = areas(field, known, seed)
        if known is not None and not any(part.hidden.any() for part in parts):
            notes.append(
                "The truth knows no pixel that the survey lacks, so there is nothing to compare with; observations "
                "are hidden instead."
            )
            parts, known = [replace(part, truth=None) for part in parts], None
        progress("fitting the variogram")
        found = _variography(field, seed, notes)
    notes = [*(str(w.message) for w in caught), *notes]
    scored = _Scores(name, seed, methods, progress)
    attempts = scored.of_truth(parts) if known is not None else scored.of_holdouts(parts)
    whole = _overview(field, methods, parts[0], attempts, progress)
    if whole.side > 1:
        notes.append(
            f"The raster is large: it is shown as means of {whole.side} x {whole.side} pixels, completed at that "
            "resolution. Methods are compared at full resolution in a window of it."
        )
    notes += _told(attempts)
    return Study(
        name=str(field.name or ""),
        unit=str(field.attrs.get("units", "") or ""),
        view=View.of(field),
        summary=summary,
        crs=_crs(field),
        overview=whole,
        area=parts[0],
        area_view=View.of(parts[0].survey),
        attempts=tuple(attempts),
        hidden=tuple(scored.joined()),
        evaluation=scored.evaluation(TRUTH if known is not None else None),
        folds=scored.folds[0] if scored.folds else None,
        variography=found,
        notes=tuple(dict.fromkeys([*notes, *scored.notes])),
    )


class _Scores:
    """Runs methods on areas, and collects what they say of hidden pixels."""

    def __init__(self, name: str, seed: int, methods: Mapping[str, Method], progress: Progress) -> None:
        self.notes: list[str] = []
        self.folds: list[Folds] = []
        self._name, self._seed, self._methods, self._progress = name, seed, methods, progress
        self._rows: list[Row] = []
        self._hidden: dict[str, list[Hidden]] = {method: [] for method in methods}
        self._share = ""

    def of_truth(self, parts: Sequence[Area]) -> list[Attempt]:
        """Score every method in the gaps of every area; return what it made of the first."""
        shares = [part.seen.mean() for part in parts]
        self._share = f"{float(np.mean(shares)):.1%}"
        first = []
        for number, part in enumerate(parts):
            for one in self._run(part.survey, part):
                assert part.truth is not None
                self._score([one], part, part.truth, [part.hidden])
                first += [one] if number == 0 else []
        return first

    def of_holdouts(self, parts: Sequence[Area]) -> list[Attempt]:
        """Score every method on hidden observations of every area; return what it makes of all of the first."""
        for number, part in enumerate(parts):
            rng = np.random.default_rng([self._seed, 1, number])
            try:
                folds = like_the_gaps(part.seen, spacing(part.survey), rng)
            except InputError as error:
                self.notes.append(f"Nothing can be cross-validated: {error}.")
                continue
            self.folds.append(folds)
            observed = part.survey.to_numpy()[0]
            runs = []
            for mask in folds.masks:
                given = np.where(mask, np.float32(np.nan), observed)[None]
                runs.append(self._run(part.survey.copy(data=given), part))
            for attempts in zip(*runs, strict=True):
                off = _error_variances(self._methods[attempts[0].method], part.survey)
                self._score(attempts, part, observed, folds.masks, off)
        self._share = f"{1 - SHARE:g}"
        return self._run(parts[0].survey, parts[0])

    def joined(self) -> list[Hidden]:
        """Return what every method says of the hidden pixels of all areas, in the order of the methods."""
        return [Hidden.join(parts) for parts in self._hidden.values() if parts]

    def evaluation(self, holdout: str | None) -> Evaluation | None:
        """Return the scores, None where there are none."""
        if not self._rows:
            return None
        reference = "kriging" if "kriging" in self._methods else next(iter(self._methods))
        kinds = dict.fromkeys(str(folds.kind) for folds in self.folds)
        return Evaluation(
            rows=tuple(self._rows),
            context=self._share,
            holdout=holdout or " and ".join(kinds),
            seed=self._seed,
            reference=reference,
        )

    def _run(self, given: xr.DataArray, part: Area) -> list[Attempt]:
        where = "" if part.window is None else f" at {part.window.row}, {part.window.col}"
        out = []
        for name, method in self._methods.items():
            self._progress(f"{name}{where}")
            out.append(attempt(name, method, given))
        return out

    def _score(
        self,
        attempts: Sequence[Attempt],
        part: Area,
        truth: NDArray[np.float32],
        masks: Sequence[NDArray[np.bool_]],
        off: NDArray[np.float32] | None = None,
    ) -> None:
        """Score one method's attempts, each on the pixels that were hidden from it.

        Where the truth is observations, a method that was told of their errors states the variance of what a
        measurement free of error would find: `off`, their error variances, come on top.
        """
        name, step = attempts[0].method, spacing(part.survey)
        failure = next((one.failure for one in attempts if one.failure), "")
        note = "; ".join(dict.fromkeys(text for one in attempts for text in one.notes))
        row = Row(self._name, part.window, name, failure=failure, note=note)
        found = [one.maps for one in attempts if one.maps is not None]
        if len(found) < len(attempts):
            self._rows.append(row)
            return
        maps, every = _assembled(found, masks), np.asarray(np.any(masks, axis=0))
        if off is not None and maps.variance is not None:
            maps = replace(maps, variance=maps.variance + off)
        first = part.seen & ~masks[0]
        try:
            scores = score(truth, maps.mean, maps.variance, every)
            told = [
                Hidden.of(name, truth, maps.mean, maps.variance, part.seen & ~mask, mask, step, part.origin)
                for mask in masks
            ]
        except GeonpError as error:
            self._rows.append(replace(row, failure=str(error)))
            return
        variance = None if maps.variance is None else maps.variance[None]
        blocks = Blocks.of(truth[None], maps.mean[None], variance, every, block_side(first, masks[0]))
        filled = sum(int((~part.seen | mask).sum()) for mask in masks)
        seconds = sum(one.seconds for one in attempts)
        self._rows.append(replace(row, scores=scores, filled=filled, seconds=seconds, blocks=blocks))
        self._hidden[name] += told


def _error_variances(method: Method, survey: xr.DataArray) -> NDArray[np.float32] | None:
    """Return the variances (y, x) of the errors that a method was told of; None where it was told of none."""
    stated = errors_of(method)
    if stated is None:
        return None
    values = survey.to_numpy()[0]
    return Errors.of(stated, survey).variance(values, Window.whole(values.shape), 0)


def _assembled(maps: Sequence[Maps], masks: Sequence[NDArray[np.bool_]]) -> Maps:
    """Return the first completion, in which the pixels of every other mask are taken from theirs."""
    mean = maps[0].mean.copy()
    variance = None if maps[0].variance is None else maps[0].variance.copy()
    for one, mask in zip(maps[1:], masks[1:], strict=True):
        mean[mask] = one.mean[mask]
        if variance is not None and one.variance is not None:
            variance[mask] = one.variance[mask]
    return Maps(mean, variance, maps[0].status)


def _overview(
    field: xr.DataArray,
    methods: Mapping[str, Method],
    first: Area,
    attempts: Sequence[Attempt],
    progress: Progress,
) -> Overview:
    """Return the whole raster as the first method completes it that can.

    Raises
    ------
    InputError
        If none can.
    """
    if first.window is None:
        coarse, side = first.survey, 1
        done: Iterable[Attempt] = attempts
    else:
        progress("an overview of the whole")
        coarse, side = overview(field)
        done = (attempt(name, method, coarse) for name, method in methods.items())
    failures = []
    for one in done:
        if one.maps is not None:
            return Overview(View.of(coarse), coarse.to_numpy()[0], one.maps, one.method, side)
        failures.append(f"{one.method}: {one.failure}")
    raise InputError(f"no method could complete the survey; {'; '.join(failures)}")


def _told(attempts: Sequence[Attempt]) -> list[str]:
    """Return what the methods warned of, and why they failed; what all of them say, once."""
    said = [(one.method, text) for one in attempts for text in (*one.notes, one.failure) if text]
    texts = [text for _, text in said]
    return [text if texts.count(text) == len(attempts) else f"{method}: {text}" for method, text in said]


def _variography(field: xr.DataArray, seed: int, notes: list[str]) -> Variography | None:
    try:
        return of_raster(field, seed=seed)
    except GeonpError as error:
        notes.append(f"There is no variogram: {error}.")
        return None


def _crs(field: xr.DataArray) -> str:
    box = geobox(field)
    if box is None or box.crs is None:
        return ""
    code, name = box.crs.to_epsg(), box.crs.proj.name
    return f"EPSG:{code} ({name})" if code else str(name)
