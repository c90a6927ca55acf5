"""`geonp.report.page`: a survey's completion, checked and shown on one page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import xarray as xr

from geonp.errors import UsageError
from geonp.field import as_field
from geonp.io import open_field
from geonp.io.outputs import Staging, told_of_failure
from geonp.io.paths import StrPath
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.methods.errors import Stated
from geonp.methods.informed import informed
from geonp.report.html import page_of, render
from geonp.report.provenance import provenance
from geonp.report.study import Study, study
from geonp.scoreboard import Evaluation

METHODS = ("auto", "kriging", "cubic", "nearest")
SUFFIXES = (".html", ".htm")
_SURFACES = (
    "elevation",
    "height",
    "depth",
    "altitude",
    "topograph",
    "bathymetr",
    "terrain",
    "dem",
    "dtm",
    "dsm",
)


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A finished report.

    Parameters
    ----------
    html : the page; it needs no other file and no network. Jupyter shows it in a frame.
    study : what it tells, in numbers and arrays.
    """

    html: str = field(repr=False)
    study: Study = field(repr=False)

    @property
    def evaluation(self) -> Evaluation | None:
        """The scores; None where nothing could be hidden."""
        return self.study.evaluation

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: warnings, failures, what was left out."""
        return self.study.notes

    def write(self, path: StrPath, *, overwrite: bool = False) -> Path:
        """Write the page to a file, all of it or nothing.

        Raises
        ------
        OutputError
            If the file exists and is not to be overwritten, or cannot be written.
        UsageError
            If it is not to be an .html file.
        """
        with Staging([path], overwrite=overwrite, suffixes=SUFFIXES) as stage:
            with told_of_failure(path, (OSError,)):
                stage.temporary(path).write_text(self.html, encoding="utf-8")
            stage.commit()
        return Path(path)

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="geonp report" srcdoc="{escape(self.html)}" sandbox="allow-scripts allow-downloads" '
            'loading="lazy" style="width: 100%; height: 85vh; border: 1px solid #8888; border-radius: 6px"></iframe>'
        )


def page(
    survey: xr.DataArray | StrPath,
    *,
    truth: xr.DataArray | StrPath | None = None,
    methods: Sequence[Method | str] = METHODS,
    covariates: xr.DataArray | Sequence[xr.DataArray] = (),
    covariate_policy: str = "auto",
    errors: Stated | None = None,
    title: str | None = None,
    hillshade: bool | None = None,
    seed: int = 0,
    command: str = "",
    sources: Sequence[StrPath] = (),
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Complete a survey, cross-validate several methods on it, and put everything on one page.

    A raster of up to 1024 pixels a side is completed by every method. Of a larger one the first method
    completes block means, for an overview, and all methods complete two windows of 512 x 512 pixels at full
    resolution; memory does not grow with the raster.

    Parameters
    ----------
    survey : one band, (y, x) or (1, y, x), NaN where not observed, maybe lazy; or the path of a file.
    truth : what the gaps hold, on the survey's grid (see `geonp.align.beside`). Without it 15 % of the
        observations are hidden, in the way that leaves distances to the data most like those of the missing
        pixels (see `geonp.report.holdouts.like_the_gaps`).
    methods : methods or their names; the first is shown as the result.
    covariates : rasters that the survey follows (`geonp.methods.covaried.with_covariates`). Every method is run with
        them, under the name "NAME + covariates", and without.
    covariate_policy : `auto`, `always` or `never`.
    errors : standard deviations of the errors of the observations (`geonp.methods.errors.with_errors`): one number, or
        a raster on the survey's pixels. Every method that takes errors is run told of them, "NAME + errors", and not.
    title : of the page; by default the file's name, or the field's.
    hillshade : whether values are lit as a surface; None does so where their name says they are one (elevation,
        depth, dem, ...) or they are in metres.
    seed : of everything random.
    command : that made the page, for its provenance; by default the call of this function.
    sources : files whose SHA-256 the provenance tells; those given as `survey` and `truth` by default.
    progress : called with a few words before each step.

    Returns
    -------
    Report
        The page, the scores, and all that they were drawn from. Seconds and the date apart, the same seed
        gives the same page on the same machine.

    Raises
    ------
    InputError
        If nothing is observed, a file cannot be read, the truth lies on another grid, or no method could
        complete the survey. A method that fails beside others has its failure in the table.
    UsageError
        If there are several bands, a method is unknown, or there are errors and no method takes any.
    """
    started = datetime.now(UTC)
    paths = sources or [path for path in (survey, truth) if isinstance(path, str | os.PathLike)]
    field = as_field(survey if isinstance(survey, xr.DataArray) else open_field(survey))
    known = truth if truth is None or isinstance(truth, xr.DataArray) else open_field(truth)
    file = None if isinstance(survey, xr.DataArray) else Path(survey).name
    name = title or file or str(field.name or "survey")
    chosen = side_by_side([choose(m, seed=seed) for m in methods], covariates, covariate_policy, errors)
    found = study(field, chosen, known, name, seed, progress or (lambda _: None))
    lit = _is_surface(field, name) if hillshade is None else hillshade
    made = provenance(command or "geonp.report.page(...)", paths, seed, started)
    return Report(render(page_of(found, name, lit, made)), found)


def side_by_side(
    methods: Sequence[Method],
    covariates: xr.DataArray | Sequence[xr.DataArray],
    policy: str,
    errors: Stated | None,
) -> dict[str, Method]:
    """Return the methods by their labels, the best informed of each before those that know less.

    Raises
    ------
    UsageError
        If there is none, or there are errors and no method takes any.
    """
    if not methods:
        raise UsageError("a report needs a method at least (--methods kriging)")
    every = informed(methods, covariates, policy, errors)
    return {label: method for variants in every for label, method in reversed(variants.items())}


def _is_surface(field: xr.DataArray, title: str) -> bool:
    told = f"{field.name or ''} {field.attrs.get('standard_name', '')} {field.attrs.get('long_name', '')} {title}"
    unit = str(field.attrs.get("units", "")).strip().lower()
    return unit in ("m", "metre", "meter", "metres", "meters") or any(w in told.lower() for w in _SURFACES)
