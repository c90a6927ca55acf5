"""`geonp variogram`: how a survey varies with distance, and the covariance that kriging will use."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from geonp.errors import InputError, UsageError

from . import options
from .kriging import ANISOTROPY, FAMILY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from geonp.io.points import Points
    from geonp.kriging.validation import Validation
    from geonp.kriging.variogram import EmpiricalVariogram
    from geonp.report.variography import Variography

PICTURES = (".png", ".svg", ".pdf")
TABLES = (".csv", ".tsv", ".txt", ".xyz", ".dat", ".gpkg", ".geojson", ".shp", ".fgb", ".parquet")
_CURVED = 1.1
"""Ratio of the longest to the shortest degree of longitude from which points are measured on the globe."""


@dataclass(frozen=True)
class Asked:
    """What was asked of a survey's variogram; see `geonp.report.variography.of_raster`."""

    kind: Literal["ordinary", "universal"]
    families: tuple[str, ...] | None
    anisotropy: tuple[float, float] | None
    estimator: Literal["matheron", "cressie"]
    lags: int
    reach: float | None
    seed: int


@click.command()
@click.argument("survey", type=click.Path())
@options.reading
@click.option(
    "--estimator",
    type=click.Choice(["matheron", "cressie"]),
    default="matheron",
    show_default=True,
    help="Mean of squared differences, or Cressie and Hawkins' robust one.",
)
@click.option("--lags", type=click.IntRange(min=1), default=15, show_default=True, help="Distance classes.")
@click.option("--reach", type=float, help="Largest distance, in metres; two effective ranges by default.")
@click.option(
    "--kind",
    type=click.Choice(["ordinary", "universal"]),
    default="ordinary",
    show_default=True,
    help="Fit to the values, or to what a plane leaves of them.",
)
@FAMILY
@ANISOTROPY
@click.option("--leave-one-out", "validate", is_flag=True, help="Krige every observation from the others.")
@click.option("--plot", type=options.OUT, help="Picture: variogram, map of anisotropy (.png, .svg, .pdf).")
@click.option("--model-out", type=options.OUT, help="The fitted covariance, for `geonp predict --variogram`.")
@options.seed
@options.overwrite
@options.as_json
@options.verbosity
def variogram(
    survey: str,
    reading: options.Reading,
    estimator: Literal["matheron", "cressie"],
    lags: int,
    reach: float | None,
    kind: Literal["ordinary", "universal"],
    families: tuple[str, ...],
    anisotropy: tuple[float, float] | None,
    validate: bool,
    plot: Path | None,
    model_out: Path | None,
    seed: int,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show how SURVEY (a raster with holes, or points) varies with distance, and fit a covariance to it.

    Points are taken as they are; with --res or --like, as pixels of that grid, whose gaps the covariance is
    then chosen for.

    \b
    geonp variogram survey.tif --plot variogram.png
    geonp variogram soundings.csv --crs EPSG:25832 --leave-one-out
    geonp variogram survey.tif --model-out covariance.json
    geonp predict survey.tif --method kriging --variogram covariance.json -o mean.tif var.tif
    """  # noqa: D301 (click wants the control character)
    from geonp.io.outputs import check_outputs

    if reach is not None and not (reach > 0 and math.isfinite(reach)):
        raise UsageError(f"--reach is a distance above 0, got {reach:g}")
    for path, suffixes in ((plot, PICTURES), (model_out, (".json",))):
        if path is not None:
            check_outputs([path], overwrite=overwrite, inputs=[survey], suffixes=suffixes)
    how = Asked(kind, families or None, anisotropy, estimator, lags, reach, seed)
    found, unit, name = _look(survey, reading, how)
    validated = found.validate() if validate else None
    _write(found, unit, name, validated, plot, model_out, overwrite)
    if as_json:
        options.print_json(_report(survey, found, unit, validated))
    else:
        click.echo(_text(survey, found, unit, validated))


def _look(
    survey: str,
    reading: options.Reading,
    how: Asked,
) -> tuple[Variography, str, str]:
    """Return the variography, the unit of length, and the name of the value."""
    import numpy as np

    from geonp.field import geobox, warn_without_crs
    from geonp.report.variography import of_points, of_raster

    gridded = reading.like is not None or reading.res is not None
    if not gridded and os.path.splitext(survey)[1].lower() in TABLES:
        points = _points(survey, reading)
        seen = np.isfinite(points.x) & np.isfinite(points.y) & np.isfinite(points.value)
        if reading.nodata is not None:
            seen &= points.value != reading.nodata
        if seen.sum() < 2:
            raise InputError(
                f"{survey}: {seen.sum()} of {len(seen)} points have a position and a value; a variogram "
                "needs two at least"
            )
        coords, metric, unit = _measured(points, points.y[seen], points.x[seen])
        found = of_points(
            coords,
            points.value[seen],
            metric=metric,
            kind=how.kind,
            families=how.families,
            anisotropy=how.anisotropy,
            estimator=how.estimator,
            classes=how.lags,
            reach=how.reach,
            seed=how.seed,
        )
        return _told(found), unit, points.name
    field = reading.open(survey)
    if field.sizes["band"] > 1:
        raise UsageError(
            f"{survey}: has {field.sizes['band']} bands, a variogram is of one: name it (--band 1)"
        )
    warn_without_crs(field)
    box = geobox(field)
    unit = "m" if box is not None and box.crs is not None else "pixels" if box is None else "coordinate units"
    found = of_raster(
        field,
        kind=how.kind,
        families=how.families,
        anisotropy=how.anisotropy,
        estimator=how.estimator,
        classes=how.lags,
        reach=how.reach,
        seed=how.seed,
    )
    return found, unit, str(field.name or "")


def _points(survey: str, reading: options.Reading) -> Points:
    from geonp.io.points import read_points
    from geonp.io.table import Columns

    if reading.bounds is not None or reading.variable is not None:
        raise UsageError("--bounds and --variable are for grids; put the points on one with --res or --like")
    if reading.band not in ((), (1,)):
        raise UsageError(f"{survey}: points have a single band; drop --band")
    return read_points(survey, columns=Columns(value=reading.value), crs=reading.crs)


def _measured(
    points: Points, y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], str, str]:
    """Return positions (y, x), their metric and the unit of length.

    Degrees become metres at the centre of the survey, as those of a grid do; where they shrink too much from
    south to north, distances are measured on the globe.
    """
    import warnings

    import numpy as np
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from geonp.errors import MissingCRSWarning
    from geonp.field import grid_spacing

    if points.crs is None:
        warnings.warn(
            f"{points.source}: no CRS is known: distances are in the units of the coordinates; "
            "if they are not metres, say what they are (--crs EPSG:...)",
            MissingCRSWarning,
            stacklevel=2,
        )
        return np.stack([y, x], 1), "euclidean", "coordinate units"
    if points.crs.is_geographic:
        widths = np.cos(np.radians([y.min(), y.max(), (y.min() + y.max()) / 2]))
        if widths.max() > _CURVED * widths.min():
            return np.stack([y, x], 1), "great-circle", "m"
    middle = ((x.min() + x.max()) / 2, (y.min() + y.max()) / 2)
    unit = Affine(1, 0, middle[0] - 0.5, 0, -1, middle[1] + 0.5)
    dy, dx = grid_spacing(GeoBox((1, 1), unit, points.crs.to_wkt()))
    return np.stack([(y - middle[1]) * dy, (x - middle[0]) * dx], 1), "euclidean", "m"


def _told(found: Variography) -> Variography:
    """Show the fit's alarms as notes; fits of rasters have shown theirs."""
    import warnings

    from geonp.errors import GeonpWarning

    for alarm in found.fit.alarms:
        warnings.warn(alarm, GeonpWarning, stacklevel=2)
    return found


def _write(
    found: Variography,
    unit: str,
    name: str,
    validated: tuple[NDArray[np.float64], Validation] | None,
    plot: Path | None,
    model_out: Path | None,
    overwrite: bool,
) -> None:
    """Write what was asked for, all of it or nothing."""
    from geonp.io.outputs import Staging

    paths = [path for path in (plot, model_out) if path is not None]
    if not paths:
        return
    stage = Staging(paths, overwrite=overwrite)
    try:
        if model_out is not None:
            text = found.fit.covariance.to_json()
            stage.temporary(model_out).write_text(text + "\n", encoding="utf-8")
        if plot is not None:
            import matplotlib as mpl

            mpl.use("agg")
            from geonp.report.variogram import figure

            drawn = figure(found, unit=unit, name=name, validated=validated)
            drawn.savefig(stage.temporary(plot), dpi=110)
        stage.commit()
    finally:
        stage.discard()


def _report(
    survey: str,
    found: Variography,
    unit: str,
    validated: tuple[NDArray[np.float64], Validation] | None,
) -> dict[str, Any]:
    from dataclasses import asdict
    from json import loads

    from geonp.report.variography import lengths

    fit = found.fit
    major, minor = lengths(fit.covariance)
    out: dict[str, Any] = {
        "survey": survey,
        "observations": fit.observations,
        "unit": unit,
        "kind": found.kind,
        "covariance": loads(fit.covariance.to_json()),
        "sill": fit.covariance.total_sill if fit.covariance.bounded else None,
        "effective_range": [major, minor],
        "trend": list(fit.trend),
        "log_likelihood": _finite(fit.log_likelihood),
        "reason": fit.reason,
        "alarms": list(fit.alarms),
        "candidates": [
            {
                "name": c.name,
                "origin": c.origin,
                "log_likelihood": _finite(c.log_likelihood),
                "bic": _finite(c.bic),
                "crps": _finite(c.crps),
                "rmse": _finite(c.rmse),
                "coverage_90": _finite(c.coverage),
                "covariance": loads(c.covariance.to_json()),
            }
            for c in fit.candidates
        ],
        "rehearsal": None if fit.rehearsal is None else asdict(fit.rehearsal),
        "estimator": found.pooled.estimator,
        "variogram": _rows(found, found.pooled),
    }
    if found.along is not None and found.across is not None:
        out["along"] = {"direction": found.along.direction, "variogram": _rows(found, found.along)}
        out["across"] = {"direction": found.across.direction, "variogram": _rows(found, found.across)}
    if validated is not None:
        out["leave_one_out"] = _figures(validated[1])
    return out


def _rows(found: Variography, empirical: EmpiricalVariogram) -> list[dict[str, float]]:
    fitted = found.curve(empirical.lag, empirical.direction)
    rows = zip(empirical.lag, empirical.pairs, empirical.semivariance, fitted, strict=True)
    return [
        {"lag": float(h), "pairs": int(n), "semivariance": float(gamma), "fitted": float(f)}
        for h, n, gamma, f in rows
    ]


def _figures(validation: Validation) -> dict[str, float]:
    return {
        "mean_error": validation.me,
        "rmse": validation.rmse,
        "standardised_rmse": validation.standardised_rmse,
        "crps": validation.crps,
        "coverage_90": validation.coverage(0.9),
        "coverage_95": validation.coverage(0.95),
    }


def _text(
    survey: str,
    found: Variography,
    unit: str,
    validated: tuple[NDArray[np.float64], Validation] | None,
) -> str:
    from geonp.report.variography import lengths

    fit = found.fit
    lines = [f"{survey}: {fit.observations} observations, {found.pooled.estimator} estimator", ""]
    lines += [f"{f'lag ({unit})':>22} {'pairs':>9} {'semivariance':>13} {'fitted':>11}"]
    lines += [
        f"{row['lag']:>22.6g} {row['pairs']:>9} {row['semivariance']:>13.5g} {row['fitted']:>11.5g}"
        for row in _rows(found, found.pooled)
    ]
    lines += ["", f"covariance  {fit.covariance.to_json()}"]
    for s in fit.covariance.structures:
        shape = "".join(
            f", {name} {value:g}"
            for name, value in (("nu", s.nu), ("exponent", s.exponent))
            if value is not None
        )
        turned = f", {s.range * s.ratio:.5g} {unit} across" if s.ratio < 1 else ""
        lines.append(f"  {s.family}{shape}: sill {s.sill:.5g}, range {s.range:.5g} {unit}{turned}")
    lines.append(f"  nugget {fit.covariance.nugget:.5g}")
    if found.main.ratio < 1:
        lines.append(
            f"  anisotropy: longest range at {found.main.angle:.0f} degrees counter-clockwise from +x, "
            f"ratio {found.main.ratio:.3g}"
        )
    if fit.covariance.bounded:
        major, minor = lengths(fit.covariance)
        across = f", {minor:.5g} {unit} across" if found.main.ratio < 1 else ""
        lines.append(f"  95 % of the sill at {major:.5g} {unit}{across}")
    lines += ["", f"chosen because {fit.reason}"]
    hidden = math.isfinite(fit.candidates[0].crps)
    more = f" {'CRPS':>9} {'RMSE':>9} {'90 %':>6}" if hidden else ""
    lines.append(f"  {'candidate':<24} {'found by':<16} {'log lik.':>10} {'BIC':>10}{more}")
    for c in fit.candidates:
        told = f" {c.crps:>9.4g} {c.rmse:>9.4g} {c.coverage:>6.2f}" if hidden else ""
        lines.append(f"  {c.name:<24} {c.origin:<16} {c.log_likelihood:>10.2f} {c.bic:>10.2f}{told}")
    if fit.rehearsal is not None:
        lines.append(
            f"  CRPS, RMSE and coverage: {fit.rehearsal.count} observations hidden as gaps hide their pixels"
        )
    if validated is not None:
        told = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in _figures(validated[1]).items())
        lines += ["", f"leave-one-out of {len(validated[0])}: {told}"]
    return "\n".join(lines)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
