"""`geonp exceed`: how likely a threshold is passed, pixel by pixel or area by area."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geonp.errors import UsageError

from . import options
from .covariate import say
from .known import Known, known

if TYPE_CHECKING:
    import xarray as xr

    from geonp.methods.base import Method

TABLES = (".csv", ".md", ".json")


@dataclass(frozen=True)
class Run:
    """A survey, how it is completed, and how the answer is given."""

    survey: str
    method: Method
    known: Known
    reading: options.Reading
    tile: int
    overwrite: bool
    as_json: bool
    quiet: bool

    def open(self) -> tuple[xr.DataArray, Method]:
        """Open the survey, and return it with the method that knows all that is known beside it."""
        return self.known.open(self.survey, self.reading, self.method)


@click.command()
@click.argument("survey")
@click.option("--above", type=float, metavar="T", help="How likely is more than T?")
@click.option("--below", type=float, metavar="T", help="How likely is T or less?")
@click.option("--quantile", type=float, metavar="Q", help="The value that a share Q stays below, 0 < Q < 1.")
@click.option("--polygons", type=click.Path(), metavar="FILE", help="A table of these areas, not a raster.")
@click.option("--label", metavar="NAME", help="Attribute that names each polygon.")
@click.option("--blocks", type=click.IntRange(min=1), metavar="PIXELS", help="A table of square blocks.")
@click.option(
    "-n", "count", type=click.IntRange(min=2), default=100, show_default=True, help="Areas: realisations."
)
@click.option(
    "-o", "--output", type=options.OUT, metavar="FILE", help="out.tif; for areas out.csv, out.md or out.json."
)
@options.method
@known
@options.reading
@options.tile
@options.overwrite
@options.as_json
@options.verbosity
def exceed(
    survey: str,
    above: float | None,
    below: float | None,
    quantile: float | None,
    polygons: str | None,
    label: str | None,
    blocks: int | None,
    count: int,
    output: Path | None,
    method: Method,
    known: Known,
    reading: options.Reading,
    tile: int,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say how likely the field of SURVEY passes a threshold, or what an area holds.

    Without areas: a raster of probabilities or quantiles, exact where values are normal. With --polygons or
    --blocks: a table of mean, volume and, with --above, the area and volume above, each with its standard
    deviation and 90 % interval over realisations.

    \b
    geonp exceed survey.tif --above 300 -o probability.tif
    geonp exceed survey.tif --quantile 0.9 -o p90.tif
    geonp exceed survey.tif --blocks 16 --above 300 -o blocks.csv
    geonp exceed survey.tif --polygons pits.gpkg -n 200
    geonp exceed stations.tif --above 20 --covariate dem.tif -o probability.tif
    """  # noqa: D301
    from geonp.io.outputs import RASTER_SUFFIXES, check_outputs

    run = Run(survey, method, known, reading, tile, overwrite, as_json, quiet)
    areal = polygons is not None or blocks is not None
    _check(above, below, quantile, polygons, label, blocks)
    if not areal and output is None:
        raise UsageError("say where the raster goes: -o FILE.tif")
    if output is not None:
        inputs = [survey, *known.files, *([polygons] if polygons else [])]
        check_outputs(
            [output], overwrite=overwrite, inputs=inputs, suffixes=TABLES if areal else RASTER_SUFFIXES
        )
    if areal:
        _areas(run, polygons, label, blocks, above, count, output)
        return
    assert output is not None
    _raster(run, above, below, quantile, output)


def _check(
    above: float | None,
    below: float | None,
    quantile: float | None,
    polygons: str | None,
    label: str | None,
    blocks: int | None,
) -> None:
    """Refuse what cannot be asked together."""
    areal = polygons is not None or blocks is not None
    if polygons is not None and blocks is not None:
        raise UsageError("areas are polygons or blocks; give --polygons or --blocks, not both")
    if label is not None and polygons is None:
        raise UsageError("--label names polygons; give them (--polygons FILE), or leave it out")
    given = (("--above", above), ("--below", below), ("--quantile", quantile))
    asked = [name for name, value in given if value is not None]
    if areal and (below is not None or quantile is not None):
        raise UsageError(f"{asked[-1]} is for rasters; areas take --above, and tell their quantiles anyway")
    if not areal and len(asked) != 1:
        raise UsageError(
            f"say what is asked: one of --above, --below and --quantile, got {' and '.join(asked) or 'none'}"
        )


def _raster(run: Run, above: float | None, below: float | None, share: float | None, output: Path) -> None:
    from geonp.exceedance import probability, quantile
    from geonp.io.geotiff import RasterWriter
    from geonp.predict import begin
    from geonp.thresholds import note_threshold

    start = time.perf_counter()
    if share is not None and not 0 < share < 1:
        raise UsageError(f"--quantile lies between 0 and 1, got {share}; 0.9 is what nine in ten stay below")
    field, method = run.open()
    ready = begin(field, method, variance=True, tile=run.tile)
    say(ready.method, run.quiet)
    threshold = above if above is not None else below
    if threshold is not None:
        note_threshold(threshold, ready.summary)
        asked = f"probability of {'more than' if above is not None else 'at most'} {threshold:g}"
    else:
        asked = f"quantile {share:g}"
    tags = ready.describe() | {"layer": asked}
    like = _called(field, asked, units=None if share is not None else "1")
    with RasterWriter(
        {"mean": output}, like, tags=tags, overwrite=run.overwrite, inputs=[run.survey]
    ) as writer:
        for piece in options.progress(ready, field.size, lambda piece: piece.mean.size, run.quiet, "px"):
            assert piece.variance is not None
            if share is not None:
                values = quantile(piece.mean, piece.variance, share)
            else:
                assert threshold is not None
                values = probability(piece.mean, piece.variance, threshold)
                values = values if above is not None else 1 - values
            writer.write(piece.window, {"mean": values})
        writer.commit()
    seconds = time.perf_counter() - start
    if run.as_json:
        options.print_json(
            {"survey": run.survey, "output": str(output), "seconds": round(seconds, 3), **tags}
        )
    else:
        click.echo(f"{run.survey}: {asked}, by {tags['method']} in {seconds:.1f} s -> {output}", err=True)


def _called(field: xr.DataArray, name: str, units: str | None) -> xr.DataArray:
    """Return the field under another name; probabilities have no unit."""
    like = field.drop_vars(["description", "band_units"], errors="ignore")
    labels = [
        name if field.sizes["band"] == 1 else f"{name}, band {i + 1}" for i in range(field.sizes["band"])
    ]
    like = like.assign_coords(description=("band", labels))
    if units is not None:
        return like.assign_attrs(units=units)
    return like.assign_coords(band_units=field.coords["band_units"]) if "band_units" in field.coords else like


def _areas(
    run: Run,
    polygons: str | None,
    label: str | None,
    blocks: int | None,
    above: float | None,
    count: int,
    output: Path | None,
) -> None:
    from geonp import exceedance as areal
    from geonp.field import grid_shape
    from geonp.io import zones

    field, method = run.open()
    if polygons is not None:
        areas = zones.polygons(polygons, field, label=label)
    else:
        assert blocks is not None
        areas = areal.blocks(grid_shape(field), blocks)
    found = areal.areas(
        field, areas, method, threshold=above, n=count, seed=getattr(method, "seed", 0), tile=run.tile
    )
    whole: dict[str, Any] = {"survey": run.survey, "realisations": count, "threshold": above}
    whole["areas"] = [report.row() for report in found]
    if output is not None:
        _write(output, found, whole, run.overwrite, run.survey)
    if run.as_json:
        options.print_json(whole)
    elif output is None:
        click.echo(areal.table(found), nl=False)
    else:
        click.echo(f"{run.survey}: {len(found)} areas, {count} realisations -> {output}", err=True)


def _write(output: Path, found: Any, whole: dict[str, Any], overwrite: bool, survey: str) -> None:
    import json

    from geonp.exceedance import table
    from geonp.io.outputs import Staging

    suffix = output.suffix.lower()
    text = json.dumps(whole, indent=2) + "\n" if suffix == ".json" else table(found, suffix[1:])
    with Staging([output], overwrite=overwrite, inputs=[survey], suffixes=TABLES) as staging:
        staging.temporary(output).write_text(text)
        staging.commit()
