"""The sections of a report: what is said, drawn and tabled, from what a study found."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from geonp.kriging.covariance import Structure
from geonp.metrics import Ratio, Scores
from geonp.report import figures
from geonp.report.charts import svg
from geonp.report.hidden import Hidden
from geonp.report.study import TRUTH, Study
from geonp.report.variogram import curves, separation
from geonp.report.variography import Variography, lengths
from geonp.report.words import NONE, listed, number, percent
from geonp.scoreboard import SHOWN, TITLES, Evaluation, Overall

_POINTS = 1000
_LOWER_IS_BETTER = ("rmse", "mae", "crps", "nll", "interval_score90")
_TERMS = (
    ("RMSE, MAE", "Root mean squared and mean absolute error, in the units of the survey."),
    ("bias", "Mean of predicted minus true; 0 is right."),
    (
        "std. RMSE",
        "RMSE of errors divided by their predicted deviations: 1 is right, more means overconfidence.",
    ),
    ("CRPS", "Continuous ranked probability score: the error of the whole predicted distribution, in units."),
    ("NLL", "Mean negative log density of the truth, in nats."),
    ("cov. 50, 90, 95 %", "Share of the truth inside the central intervals of that probability."),
    ("interval 90 %", "Width of the 90 % interval plus a penalty for every truth outside."),
    ("RMSE ratio, CRPS ratio", "Score over that of the reference method, with a 95 % bootstrap interval."),
    ("seconds", "Wall time of the runs that were scored, fitting included."),
)


@dataclass(frozen=True, slots=True)
class Card:
    """A figure that is seen at once."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing (an svg element) with its words."""

    title: str
    caption: str
    drawing: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table of scores, whether it is the best of its column, and what stands below it."""

    text: str
    best: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Scores: a line a method, whose first cell is its name; the same as CSV in a data URI."""

    caption: str
    head: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    csv: str = field(repr=False)
    terms: tuple[tuple[str, str], ...] = _TERMS


def lead(study: Study) -> str:
    """Return the result in a sentence or two."""
    seen = percent(study.summary.observed[0] / study.summary.pixels)
    rows, cols = study.view.shape
    text = f"{seen} of {rows:,} x {cols:,} pixels are observed; {study.overview.method} completes the rest."
    ranked = sorted(
        (o for o in _overall(study) if o.scores is not None), key=lambda o: o.scores.rmse if o.scores else 0
    )
    if not ranked:
        return text
    best, count = ranked[0], ranked[0].scores.count if ranked[0].scores else 0
    assert best.scores is not None
    where = "hidden observations" if study.folds is not None else "pixels of the truth"
    text += (
        f" On {count:,} {where} {best.method} has the lowest RMSE, {_with_unit(best.scores.rmse, study.unit)}"
    )
    if best.scores.coverage90 is None:
        return f"{text}; it gives no uncertainty."
    return f"{text}, and its 90 % intervals hold {percent(best.scores.coverage90)} of the true values."


def cards(study: Study) -> list[Card]:
    """Return the grid, the survey and the scores of the first method."""
    view, summary = study.view, study.summary
    dy, dx = (number(v) for v in view.spacing)
    pixel = f"{dx} {view.unit}" if dx == dy else f"{dx} x {dy} {view.unit}"
    out = [
        Card("Grid", f"{view.shape[0]:,} × {view.shape[1]:,}", "rows × columns"),
        Card("Pixel", pixel, study.crs or "no CRS"),
        Card("Observed", percent(summary.observed[0] / summary.pixels), f"{summary.observed[0]:,} pixels"),
        Card(
            "Values",
            f"{number(summary.minimum[0])} to {number(summary.maximum[0])}",
            f"{study.unit + ', ' if study.unit else ''}mean {number(summary.mean[0])}",
        ),
    ]
    first = next((o for o in _overall(study) if o.scores is not None), None)
    if first is not None and first.scores is not None:
        out.append(Card("RMSE", _with_unit(first.scores.rmse, study.unit), first.method))
        if first.scores.coverage90 is not None:
            out.append(Card("In 90 % intervals", percent(first.scores.coverage90), first.method))
    return out


def variogram(found: Variography, unit: str) -> tuple[str, list[Chart], list[tuple[str, ...]]]:
    """Return what is said of the variogram, its charts, and the table of the covariance."""
    covariance = found.fit.covariance
    major, minor = lengths(covariance)
    reach = f"95 % of the sill at {_length(major, unit)}" if covariance.bounded else "no sill"
    if covariance.bounded and found.main.ratio < 1:
        reach += (
            f" along {found.main.angle:.0f}° (counter-clockwise from east) and {_length(minor, unit)} across"
        )
    text = (
        f"Semivariance of {found.fit.observations:,} observations against their distance, and the covariance that "
        f"kriging uses: {found.fit.candidates[0].name}, {reach}. Chosen because {found.fit.reason}."
    )
    last = found.pooled
    drawn = [
        Chart(
            "Variogram.",
            "Points: means over pairs, larger where there are more. Line: the fitted covariance.",
            svg(
                partial(_curves, found, unit),
                key="variogram",
                alternative=(
                    f"Variogram: semivariance rises from {number(float(last.semivariance[0]))} at "
                    f"{_length(float(last.lag[0]), unit)} to {number(float(last.semivariance[-1]))} at "
                    f"{_length(float(last.lag[-1]), unit)}; fitted {found.fit.candidates[0].name}, {reach}"
                ),
                size=(4.4, 3.8),
            ),
        )
    ]
    if found.map is not None:
        shape = f"ratio {found.main.ratio:.2f}" if found.main.ratio < 1 else "isotropic"
        drawn.append(
            Chart(
                "By direction.",
                "Semivariance by separation in x and y; the ellipse is the fit's range.",
                svg(
                    partial(_separation, found, unit),
                    key="separation",
                    alternative=f"Variogram map: semivariance by separation in x and y; the fit is {shape}",
                    size=(4.4, 3.8),
                ),
            )
        )
    head = ("structure", "sill", f"range ({unit})", "shape", "anisotropy")
    lines = [_structure(s) for s in covariance.structures]
    return text, drawn, [head, *lines, ("nugget", number(covariance.nugget), NONE, NONE, NONE)]


def _structure(s: Structure) -> tuple[str, ...]:
    shape = [
        f"{name} {value:g}" for name, value in (("ν", s.nu), ("exponent", s.exponent)) if value is not None
    ]
    turned = f"ratio {s.ratio:.2f} at {s.angle:.0f}°" if s.ratio < 1 else "none"
    return s.family, number(s.sill), number(s.range), ", ".join(shape) or NONE, turned


def validation_text(study: Study) -> str:
    """Return how pixels were hidden, in words."""
    if study.evaluation is None:
        return "There is nothing to compare with: too few pixels are observed to hide some of them."
    count = sum(len(one) for one in study.hidden[:1])
    if study.folds is None:
        return f"Scored against the truth, at {count:,} pixels that the survey lacks and the truth knows."
    kinds = {
        "random": "single pixels",
        "gaps": "pixels in the shape of the survey's own gaps",
        "blocks": "blocks",
    }
    folds = study.folds
    how = f"and predicted from the rest, as {kinds[str(folds.kind)]}. "
    text = f"{count:,} observations, 15 % of those in the area, were hidden {how}"
    if len(folds.masks) > 1:
        turns = f"In {len(folds.masks)} turns 15 % of the observations in the area"
        text = f"{turns} were hidden, {count:,} in all, {how}"
    if math.isnan(folds.missing):
        return text + "No pixel is missing, so there is no gap whose distances the hidden ones could have."
    return text + (
        "Of the ways to hide them this is the one whose distances to the data are most like those of the missing "
        f"pixels: the median is {_length(folds.distance, study.view.unit)}, that of the missing pixels "
        f"{_length(folds.missing, study.view.unit)}."
    )


def scatters(study: Study) -> list[Chart]:
    """Return predicted against true values, a chart a method."""
    what = f"{study.name or 'value'}{f' ({study.unit})' if study.unit else ''}"
    out = []
    for number_, one in enumerate(study.hidden):
        rmse, r = _rmse(one), _correlation(one)
        out.append(
            Chart(
                f"{one.method}.",
                f"RMSE {_with_unit(rmse, study.unit)}, correlation {r}.",
                svg(
                    partial(_scatter, one, figures.colour_of(number_), what),
                    key=f"scatter{number_}",
                    alternative=(
                        f"Scatter of true against predicted values of {one.method} at {len(one):,} hidden pixels: "
                        f"RMSE {_with_unit(rmse, study.unit)}, correlation {r}"
                    ),
                    size=(3.0, 2.9),
                ),
            )
        )
    return out


def _scatter(one: Hidden, colour: str, what: str, ax: Axes) -> None:
    figures.scatter(one, ax, most=_POINTS, label=what, color=colour).set_title("")


def _separation(found: Variography, unit: str, ax: Axes) -> None:
    separation(ax, found, unit=unit)
    ax.grid(visible=False)
    ax.set_title("")


def _curves(found: Variography, unit: str, ax: Axes) -> None:
    curves(ax, found, unit=unit)
    ax.set_title("")
    ax.locator_params(axis="x", nbins=6)


def distances(study: Study) -> list[Chart]:
    """Return errors against the distance to the nearest observation."""
    if not study.hidden or not np.isfinite(study.hidden[0].distance).any():
        return []
    unit, told = study.view.unit, []
    for one in study.hidden:
        found = one.by_distance()
        near, far = found.rmse[0], found.rmse[-1]
        told.append(
            f"{one.method} from {_with_unit(near, study.unit)} at {_length(found.distance[0], unit)} to "
            f"{_with_unit(far, study.unit)} at {_length(found.distance[-1], unit)}"
        )
    label = f"RMSE{f' ({study.unit})' if study.unit else ''}"
    return [
        Chart(
            "Error against distance to the nearest observation.",
            "Dotted: the deviation that the method predicts, which should lie on its errors.",
            svg(
                lambda ax: figures.error_by_distance(study.hidden, ax, unit=unit, label=label),
                key="distance",
                alternative=f"Error against distance to the nearest observation: {'; '.join(told)}",
                size=(4.4, 3.8),
            ),
        )
    ]


def calibration(study: Study) -> tuple[str, list[Chart]]:
    """Return what is said of the predicted distributions, and their charts; none without a variance."""
    if not study.hidden:
        return "", []
    told = [one for one in study.hidden if one.variance is not None]
    silent = [one.method for one in study.hidden if one.variance is None]
    without = f" No variance comes from {listed(silent)}." if silent else ""
    if not told:
        return f"There is no uncertainty to check.{without}", []
    inside = ", ".join(f"{one.method} {percent(float(one.coverage([0.9])[0]))}" for one in told)
    spread = ", ".join(f"{one.method} {number(_spread(one))}" for one in told)
    text = f"Share of the true values inside their 90 % intervals: {inside}.{without}"
    drawings: list[tuple[str, str, Callable[[Axes], object], str]] = [
        (
            "Q-Q plot.",
            "Standardised errors; on the line where deviations are right.",
            lambda ax: figures.qq(study.hidden, ax),
            f"Q-Q plot of standardised errors; root mean square (1 is right): {spread}",
        ),
        (
            "PIT.",
            "Probability integral transform; flat where the distributions are right.",
            lambda ax: figures.pit(study.hidden, ax),
            f"Histogram of the probability integral transform: {_ends(told)}",
        ),
        (
            "Coverage.",
            "Share of the truth inside central intervals; on the line where they are right.",
            lambda ax: figures.coverage(study.hidden, ax),
            f"Coverage plot; inside the 90 % interval: {inside}",
        ),
    ]
    keys = ("qq", "pit", "coverage")
    return text, [
        Chart(title, caption, svg(draw, key=key, alternative=alternative, size=(3.8, 3.8)))
        for key, (title, caption, draw, alternative) in zip(keys, drawings, strict=True)
    ]


def scores(study: Study) -> Table | None:
    """Return the table of scores; None where nothing was scored."""
    if study.evaluation is None:
        return None
    overall = study.evaluation.overall()
    names = [name for name in SHOWN if any(_score(o, name) is not None for o in overall)]
    best = {
        name: min((v for o in overall if (v := _score(o, name)) is not None), default=None)
        for name in _LOWER_IS_BETTER
    }
    lines = []
    for one in overall:
        failed = f" (failed on {one.failed} of {one.rows})" if one.failed else ""
        line = [Cell(one.method + failed)]
        for name in names:
            value = _score(one, name)
            line.append(
                Cell(number(value), value is not None and len(overall) > 1 and value == best.get(name))
            )
        line += [_ratio(one.rmse_ratio), _ratio(one.crps_ratio), Cell(number(one.seconds, 3))]
        lines.append(tuple(line))
    csv = base64.b64encode(study.evaluation.to_csv().encode()).decode()
    return Table(
        caption=_how(study, study.evaluation),
        head=("method", *(TITLES[name] for name in names), "RMSE ratio", "CRPS ratio", "seconds"),
        lines=tuple(lines),
        csv=f"data:text/csv;charset=utf-8;base64,{csv}",
    )


def _how(study: Study, evaluation: Evaluation) -> str:
    count = max((o.scores.count for o in evaluation.overall() if o.scores is not None), default=0)
    against = "pixels of the truth" if evaluation.holdout == TRUTH else "hidden observations"
    places = "" if len(evaluation.places) == 1 else f" in {len(evaluation.places)} windows"
    unit = f", in {study.unit}" if study.unit else ""
    return f"{count:,} {against}{places}{unit}; ratios to {evaluation.reference}; seed {evaluation.seed}."


def _overall(study: Study) -> Sequence[Overall]:
    return () if study.evaluation is None else study.evaluation.overall()


def _score(one: Overall, name: str) -> float | None:
    found: Scores | None = one.scores
    value: float | None = None if found is None else getattr(found, name)
    return value


def _ratio(ratio: Ratio | None) -> Cell:
    if ratio is None:
        return Cell(NONE)
    known = math.isfinite(ratio.low)
    return Cell(f"{ratio.value:.3f}", note=f"{ratio.low:.3f}–{ratio.high:.3f}" if known else "")


def _rmse(one: Hidden) -> float:
    return float(np.sqrt((one.error**2).mean()))


def _spread(one: Hidden) -> float:
    return float(np.sqrt((one.standardised**2).mean()))


def _correlation(one: Hidden) -> str:
    if len(one) < 3 or np.ptp(one.truth) == 0 or np.ptp(one.mean) == 0:
        return NONE
    return f"{np.corrcoef(one.truth, one.mean)[0, 1]:.4f}".replace("-", "−")


def _ends(told: Sequence[Hidden]) -> str:
    out = [f"{one.method} has {percent(float(((one.pit < 0.05) | (one.pit > 0.95)).mean()))}" for one in told]
    return f"in the two outer twentieths, where a tenth belongs, {'; '.join(out)}"


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".strip()


def _length(value: float, unit: str) -> str:
    if unit == "m" and value >= 10_000:
        return f"{number(value / 1000, 3)} km"
    return f"{number(value, 3)} {unit}"
