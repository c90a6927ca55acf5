"""`geonp suggest`: where to survey next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from geonp.methods.base import Method


@click.command()
@click.argument("survey")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="How many sites."
)
@click.option(
    "-o",
    "--output",
    type=options.OUT,
    metavar="FILE",
    help="sites.gpkg, .geojson, .fgb or .csv; none: a table.",
)
@click.option(
    "--mask", type=click.Path(), metavar="RASTER", help="Where one cannot go: pixels that are not 0."
)
@click.option(
    "--cost", type=click.Path(), metavar="RASTER", help="What a site costs; gain over cost then counts."
)
@click.option(
    "--min-distance", type=float, default=0.0, metavar="METRES", help="Least distance between sites."
)
@options.method
@options.reading
@options.overwrite
@options.as_json
@options.verbosity
def suggest(
    survey: str,
    count: int,
    output: Path | None,
    mask: str | None,
    cost: str | None,
    min_distance: float,
    method: Method,
    reading: options.Reading,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Suggest sites whose observation makes the map of SURVEY surest, the best first.

    Each site is chosen with those before it taken for observed; its gain is the share of the map's kriging
    variance that it takes away.

    \b
    geonp suggest survey.tif -n 20 -o sites.gpkg
    geonp suggest survey.tif -n 20 --mask lakes.tif --min-distance 500 -o sites.geojson
    geonp suggest survey.tif -n 5 --cost hours.tif
    """  # noqa: D301
    from geonp.errors import UsageError
    from geonp.io import open_field
    from geonp.io.outputs import check_outputs
    from geonp.io.sites import SUFFIXES, write_sites
    from geonp.methods.flagship import Flagship
    from geonp.methods.kriging import Kriging
    from geonp.suggestion import describe
    from geonp.suggestion import suggest as find

    inputs = [path for path in (survey, mask, cost) if path is not None]
    if output is not None:
        check_outputs([output], overwrite=overwrite, inputs=inputs, suffixes=SUFFIXES)
    if isinstance(method, Flagship) and method.model is None and not method.insist:
        method = Kriging(device=method.device, seed=method.seed)
    if not isinstance(method, Kriging):
        raise UsageError(f"sites are suggested by kriging's variance; leave --method {method.name} out")
    start = time.perf_counter()
    field = reading.open(survey)
    sites = find(
        field,
        count,
        method,
        mask=None if mask is None else open_field(mask),
        cost=None if cost is None else open_field(cost),
        min_distance=min_distance,
    )
    rows = describe(sites)
    if output is not None:
        write_sites(output, rows, field, overwrite=overwrite, inputs=inputs)
    seconds = time.perf_counter() - start
    if as_json:
        options.print_json({"survey": survey, "sites": rows, "seconds": round(seconds, 3)})
        return
    if output is None:
        click.echo("| rank | x | y | std | gain | left |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
        for site in sites:
            click.echo(
                f"| {site.rank} | {site.x:.10g} | {site.y:.10g} | {site.std:.4g} | {site.gain:.2%} | {site.left:.2%} |"
            )
    where = "" if output is None else f" -> {output}"
    click.echo(
        f"{survey}: {len(sites)} sites leave {sites[-1].left:.1%} of the variance, in {seconds:.1f} s{where}",
        err=True,
    )
