"""`geonp simulate`: realisations of a survey's field, each of which could be the ground."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .covariate import say
from .known import Known, known

if TYPE_CHECKING:
    from geonp.methods.base import Method


@click.command()
@click.argument("survey")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=options.OUT,
    metavar="FILE",
    help="out.tif (one band each), or out.zarr or out.nc (a dimension `realisation`).",
)
@options.method
@known
@options.reading
@options.tile
@click.option(
    "--co", "creation", multiple=True, metavar="KEY=VALUE", help="GDAL creation option; repeatable."
)
@options.overwrite
@options.as_json
@options.verbosity
def simulate(
    survey: str,
    count: int,
    output: Path,
    method: Method,
    known: Known,
    reading: options.Reading,
    tile: int,
    creation: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw realisations of SURVEY: rasters that honour it and are as rough as the field is.

    Their mean is what `predict` gives, their variance its variance; beyond that they tell how pixels vary
    together, which sums, slopes, volumes and flow paths depend on.

    \b
    geonp simulate survey.tif -n 50 -o realisations.zarr
    geonp simulate survey.tif -n 50 --seed 1 -o realisations.tif
    geonp simulate survey.tif -n 50 --method kriging --latent -o surface.nc
    geonp simulate survey.tif -n 50 --error error.tif -o realisations.zarr
    geonp simulate stations.tif -n 50 --covariate dem.tif -o realisations.zarr
    """  # noqa: D301
    from geonp.errors import UsageError
    from geonp.field import grid_shape
    from geonp.io.geotiff import creation_options
    from geonp.io.outputs import RASTER_SUFFIXES, check_outputs
    from geonp.io.realisations import SUFFIXES, realisation_writer
    from geonp.simulation import begin

    check_outputs([output], overwrite=overwrite, inputs=[survey, *known.files], suffixes=SUFFIXES)
    if creation and output.suffix.lower() not in RASTER_SUFFIXES:
        raise UsageError("--co is for GeoTIFF outputs (-o out.tif)")
    start = time.perf_counter()
    field, method = known.open(survey, reading, method)
    ready = begin(field, method, count, seed=getattr(method, "seed", 0), tile=tile)
    say(ready.completion.method, quiet)
    tags = ready.describe()
    writer = realisation_writer(
        output,
        field,
        count,
        tags=tags,
        options=creation_options(creation),
        overwrite=overwrite,
        inputs=[survey],
    )
    with writer:
        pieces = options.progress(ready, count * field.size, lambda piece: piece.values.size, quiet, "px")
        for piece in pieces:
            writer.write_some(piece.window, piece.first, piece.values)
        writer.commit()
    seconds = time.perf_counter() - start
    if as_json:
        shape = [count, field.sizes["band"], *grid_shape(field)]
        options.print_json(
            {"survey": survey, "output": str(output), "shape": shape, "seconds": round(seconds, 3), **tags}
        )
    else:
        how = "all alike" if tags["method"] == "none" else f"by {tags['method']}"
        many = "1 realisation" if count == 1 else f"{count} realisations"
        click.echo(f"{survey}: {many} {how} in {seconds:.1f} s -> {output}", err=True)
