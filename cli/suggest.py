"""`geonp suggest`: where to survey next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from geonp.errors import UsageError

from . import options
from .known import Known, known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geonp.designs.lines import Line
    from geonp.designs.sites import Site
    from geonp.methods.base import Method
    from geonp.methods.flagship import Flagship
    from geonp.methods.kriging import Kriging

_LINES = {"length": "--length", "spacing": "--spacing", "fixed_cost": "--fixed-cost"}
_SHOWN = {
    False: ("rank", "x", "y", "std", "gain", "left"),
    True: ("rank", "x", "y", "x_end", "y_end", "length", "gain", "left"),
}


@click.command()
@click.argument("survey")
@click.option(
    "-n", "count", type=click.IntRange(min=1), help="How many sites (20 where not given), or lines (5)."
)
@click.option(
    "-o",
    "--output",
    type=options.OUT,
    metavar="FILE",
    help="sites.gpkg, .geojson, .fgb or .csv; none: a table.",
)
@click.option("--above", type=float, metavar="T", help="Tell apart what is above T, instead of the variance.")
@click.option("--below", type=float, metavar="T", help="The same, told from the other side.")
@click.option("--lines", "as_lines", is_flag=True, help="Straight lines instead of sites.")
@click.option("--length", type=float, metavar="METRES", help="Of a line; none: from edge to edge.")
@click.option(
    "--spacing", type=float, metavar="METRES", help="Between observations on a line; none: every pixel."
)
@click.option(
    "--mask", type=click.Path(), metavar="RASTER", help="Where one cannot go: pixels that are not 0."
)
@click.option(
    "--cost",
    type=click.Path(),
    metavar="RASTER",
    help="What a site, or a metre of a line, costs; gain over cost then counts.",
)
@click.option(
    "--fixed-cost",
    type=float,
    metavar="COST",
    help="Of a line beside its metres; gain over cost then counts.",
)
@click.option(
    "--min-distance", type=float, default=0.0, metavar="METRES", help="Least distance between sites or lines."
)
@click.option(
    "--stationary",
    is_flag=True,
    help="Believe kriging's deviations; else they are scaled where observations surprise it.",
)
@options.method
@known
@options.reading
@options.overwrite
@options.as_json
@options.verbosity
def suggest(
    survey: str,
    count: int | None,
    output: Path | None,
    above: float | None,
    below: float | None,
    as_lines: bool,
    length: float | None,
    spacing: float | None,
    mask: str | None,
    cost: str | None,
    fixed_cost: float | None,
    min_distance: float,
    stationary: bool,
    method: Method,
    known: Known,
    reading: options.Reading,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Suggest sites whose observation makes the map of SURVEY surest, the best first.

    Each site is chosen with those before it taken for observed; its gain is the share of the map's variance
    that it takes away. With --above or --below it is the share of the expected area on the wrong side of T; with
    --lines, whole lines are chosen. --method bundled asks the network how sure it would be.

    \b
    geonp suggest survey.tif -n 20 -o sites.gpkg
    geonp suggest survey.tif -n 20 --above 12.5 -o sites.gpkg
    geonp suggest survey.tif --lines -n 5 --length 2000 -o lines.gpkg
    geonp suggest survey.tif -n 20 --mask lakes.tif --min-distance 500 -o sites.geojson
    geonp suggest survey.tif -n 5 --cost hours.tif
    geonp suggest stations.tif -n 20 --covariate dem.tif -o sites.gpkg
    geonp suggest soundings.tif -n 20 --error error.tif -o sites.gpkg
    """  # noqa: D301
    from geonp.io import open_field
    from geonp.io.outputs import check_outputs
    from geonp.io.sites import SUFFIXES, write_lines, write_sites
    from geonp.methods.covaried import Covaried
    from geonp.methods.flagship import Flagship
    from geonp.methods.kriging import Kriging
    from geonp.suggestion import describe, suggest_lines
    from geonp.suggestion import suggest as suggest_sites

    if above is not None and below is not None:
        raise UsageError("a map is told apart at one threshold; give --above or --below, not both")
    given = {"length": length, "spacing": spacing, "fixed_cost": fixed_cost}
    astray = [_LINES[name] for name, value in given.items() if value is not None and not as_lines]
    if astray:
        raise UsageError(f"{astray[0]} is for lines; add --lines, or leave it out")
    inputs = [path for path in (survey, mask, cost, *known.files) if path is not None]
    if output is not None:
        check_outputs([output], overwrite=overwrite, inputs=inputs, suffixes=SUFFIXES)
    chosen = _chosen(method)
    threshold = above if above is not None else below
    start = time.perf_counter()
    field, informed = known.open(survey, reading, chosen)
    assert isinstance(informed, Kriging | Flagship | Covaried)
    rasters = [None if path is None else open_field(path) for path in (mask, cost)]
    found: Sequence[Site] | Sequence[Line]
    if as_lines:
        if isinstance(informed, Flagship):
            raise UsageError("lines are chosen by kriging's variance; leave --method bundled out")
        found = suggest_lines(
            field,
            count or 5,
            informed,
            length=length,
            spacing=spacing,
            mask=rasters[0],
            cost=rasters[1],
            fixed_cost=fixed_cost,
            min_distance=min_distance,
            threshold=threshold,
            stationary=stationary,
        )
    else:
        found = suggest_sites(
            field,
            count or 20,
            informed,
            mask=rasters[0],
            cost=rasters[1],
            min_distance=min_distance,
            threshold=threshold,
            stationary=stationary,
        )
    rows = describe(found)
    if output is not None:
        write = write_lines if as_lines else write_sites
        write(output, rows, field, overwrite=overwrite, inputs=inputs)
    seconds = time.perf_counter() - start
    what = "lines" if as_lines else "sites"
    many = f"1 {what[:-1]} leaves" if len(rows) == 1 else f"{len(rows)} {what} leave"
    if as_json:
        told = {"survey": survey, "threshold": threshold, what: rows, "seconds": round(seconds, 3)}
        options.print_json(told)
        return
    if output is None:
        _table(rows, _SHOWN[as_lines])
    left = "variance" if threshold is None else f"expected area on the wrong side of {threshold:g}"
    where = "" if output is None else f" -> {output}"
    click.echo(
        f"{survey}: {many} {rows[-1]['left']:.1%} of the {left}, in {seconds:.1f} s{where}",
        err=True,
    )


def _chosen(method: Method) -> Kriging | Flagship:
    """Return the method whose variance counts: kriging unless the network is asked for."""
    from geonp.methods.flagship import Flagship
    from geonp.methods.kriging import Kriging

    unsaid = click.get_current_context().get_parameter_source("method") is ParameterSource.DEFAULT
    if isinstance(method, Flagship) and unsaid and method.model is None:
        return Kriging(device=method.device, seed=method.seed)
    if not isinstance(method, Kriging | Flagship):
        raise UsageError(
            "sites are suggested by the variance of kriging or of the bundled network; leave "
            f"--method {method.name} out"
        )
    return method


def _table(rows: list[dict[str, float | int]], columns: tuple[str, ...]) -> None:
    forms = dict.fromkeys(("x", "y", "x_end", "y_end"), ".10g") | {"rank": "d", "gain": ".2%", "left": ".2%"}
    click.echo(f"| {' | '.join(columns)} |\n|{' ---: |' * len(columns)}")
    for row in rows:
        click.echo(f"| {' | '.join(format(row[name], forms.get(name, '.4g')) for name in columns)} |")
