"""`geonp report`: a survey's completion, checked and shown on one page."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import click

from . import options
from .known import Known, known

METHODS = "auto,kriging,cubic,nearest"


@click.command()
@click.argument("survey", type=click.Path())
@click.option(
    "-o", "--output", required=True, type=options.OUT, metavar="PAGE", help="The page to write, .html."
)
@click.option("--truth", type=click.Path(), help="Raster that knows what the survey lacks, on the same grid.")
@click.option(
    "--methods",
    default=METHODS,
    show_default=True,
    metavar="A,B,C",
    help="Methods to compare; the first is shown as the result.",
)
@click.option("--model", type=click.Path(), help="Model file of the method 'neural', which it adds.")
@click.option("--title", help="Title of the page; the survey's file name by default.")
@click.option(
    "--hillshade/--no-hillshade",
    default=None,
    help="Light the values as a surface; by default where they are in metres or named as one.",
)
@known
@options.reading
@options.device
@options.seed
@options.overwrite
@options.as_json
@options.verbosity
def report(
    survey: str,
    output: Path,
    truth: str | None,
    methods: str,
    model: str | None,
    title: str | None,
    hillshade: bool | None,
    known: Known,
    reading: options.Reading,
    device: str,
    seed: int,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Complete SURVEY, cross-validate the methods on it, and write one page that shows it all.

    The page holds the maps, the variogram, the methods side by side, their errors and their calibration. It
    is one file that needs no network. Without --truth, observations are hidden to be predicted, in the way
    that resembles the survey's own gaps most. Methods that know covariates (--covariate) or the errors of the
    observations (--error, --error-column) stand beside themselves without.

    \b
    geonp report survey.tif -o report.html
    geonp report survey.tif --truth dem.tif --methods auto,kriging,rbf -o report.html
    geonp report rain.tif --covariate dem.tif -o report.html
    geonp report soundings.csv --value depth --error-column sigma --res 10 --crs EPSG:25832 -o report.html
    """  # noqa: D301
    from dataclasses import replace

    from geonp.io.outputs import check_outputs
    from geonp.methods.choose import NEURAL, choose
    from geonp.report import page
    from geonp.report.build import SUFFIXES

    inputs = [path for path in (survey, truth, *known.files) if path is not None]
    check_outputs([output], overwrite=overwrite, inputs=inputs, suffixes=SUFFIXES)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if model is not None and NEURAL not in names:
        names.insert(0, NEURAL)
    chosen = [choose(n, model if n == NEURAL else None, device=device, seed=seed) for n in names]
    start = time.perf_counter()
    # A truth is a raster on the survey's grid, whatever the survey was read from.
    plain = replace(reading, like=None, res=None, value=None)
    field, errors = known.errors.read(survey, reading)
    done = page(
        field,
        truth=None if truth is None else plain.open(truth),
        methods=chosen,
        covariates=known.covariates.open(),
        covariate_policy=known.covariates.policy,
        errors=errors,
        title=title or Path(survey).name,
        hillshade=hillshade,
        seed=seed,
        command=shlex.join(["geonp", *sys.argv[1:]]),
        sources=inputs,
        progress=None if quiet else lambda step: click.echo(step, err=True),
    )
    done.write(output, overwrite=overwrite)
    seconds = time.perf_counter() - start
    if not quiet:
        for note in done.notes:
            click.echo(f"note: {note}", err=True)
    if as_json:
        options.print_json(
            {
                "survey": survey,
                "output": str(output),
                "bytes": output.stat().st_size,
                "seconds": round(seconds, 3),
                "notes": list(done.notes),
                "evaluation": None if done.evaluation is None else done.evaluation.as_dict(),
            }
        )
    elif not quiet:
        size = output.stat().st_size / 1e6
        click.echo(f"{output}: {size:.1f} MB in {seconds:.1f} s; open it in a browser", err=True)
