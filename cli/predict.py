"""`geonp predict`: complete a survey into a mean raster and a variance raster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .covariate import say
from .known import Known, known
from .memory import TILE, expect, machine
from .resume import OPTION as RESUME
from .resume import keeping
from .scheduler import OPTIONS as SCHEDULER
from .scheduler import crew
from .styled import Styled

if TYPE_CHECKING:
    from geonp.blend import Layers
    from geonp.io.outputs import Writer
    from geonp.methods.base import Method
    from geonp.predict import Completion


@click.command()
@click.argument("survey", type=click.Path())
@click.option(
    "-o", "outputs", nargs=2, type=options.OUT, metavar="MEAN VAR", help="Mean and variance, GeoTIFF."
)
@click.option("--mean", "mean_only", type=options.OUT, help="Mean alone, for methods without a variance.")
@click.option("--to", "container", type=options.STORE, help="Both in one container: out.nc or out.zarr.")
@click.option("--std", type=options.OUT, help="Standard deviation too, GeoTIFF.")
@click.option("--status", type=options.OUT, help="Observed, interpolated or extrapolated, GeoTIFF.")
@options.method
@known
@options.reading
@TILE
@RESUME
@SCHEDULER
@click.option(
    "--smooth",
    is_flag=True,
    help="Replace observed pixels by the prediction too, its nugget filtered out. With --error, those whose error is "
    "not 0 are estimated in any case.",
)
@click.option(
    "--co", "creation", multiple=True, metavar="KEY=VALUE", help="GDAL creation option; repeatable."
)
@click.option("--cog", is_flag=True, help="Write cloud-optimised GeoTIFFs with overviews.")
@click.option("--style", is_flag=True, help="Write styles for QGIS beside the GeoTIFFs (.qml, .qlr).")
@options.overwrite
@options.as_json
@options.verbosity
def predict(
    survey: str,
    outputs: tuple[Path, Path] | None,
    mean_only: Path | None,
    container: Path | None,
    std: Path | None,
    status: Path | None,
    method: Method,
    known: Known,
    reading: options.Reading,
    tile: int | None,
    resumed: bool,
    scheduler: str | None,
    keep_going: bool,
    smooth: bool,
    creation: tuple[str, ...],
    cog: bool,
    style: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Complete SURVEY, a raster with holes or a table of points.

    \b
    geonp predict survey.tif -o mean.tif var.tif
    geonp predict soundings.csv --res 10 --crs EPSG:25832 -o depth.tif var.tif
    geonp predict sst.nc --variable sst --to filled.nc
    geonp predict survey.tif --method cubic --mean filled.tif
    geonp predict survey.tif --error error.tif -o mean.tif var.tif
    geonp predict stations.csv --like dem.tif --covariate dem.tif -o mean.tif var.tif
    """  # noqa: D301
    from geonp.field import grid_shape
    from geonp.io.outputs import CONTAINER_SUFFIXES, RASTER_SUFFIXES, check_outputs
    from geonp.predict import begin

    rasters = _rasters(outputs, mean_only, std, status)
    if bool(container) == bool(rasters):
        raise click.UsageError(
            "say where the result goes: -o MEAN VAR, --mean FILE, or --to FILE.nc|FILE.zarr"
        )
    paths = [container] if container else list(rasters.values())
    suffixes = CONTAINER_SUFFIXES if container else RASTER_SUFFIXES
    check_outputs(paths, overwrite=overwrite, inputs=[survey, *known.files], suffixes=suffixes)
    if style and container:
        raise click.UsageError("--style is for GeoTIFF outputs (-o, --mean)")
    styled = Styled(rasters, survey, overwrite) if style else None
    start = time.perf_counter()
    field, method = known.open(survey, reading, method)
    variance = (container is not None and method.has_variance) or bool({"variance", "std"} & set(rasters))
    with (
        machine() as allowed,
        crew(scheduler, keep_going, resumed) as workers,
        keeping(resumed, paths) as journal,
    ):
        if journal is not None:
            tile, kept = tile or journal.tile, journal.finished
        ready = begin(field, method, variance=variance, tile=tile, memory=allowed, keep_observed=not smooth)
        say(ready.method, quiet)
        memory = expect(ready, quiet)
        writer = _writer(ready, rasters, container, survey, creation, cog, overwrite)
        with writer:
            compute = workers.completing(ready)
            completed = compute(ready.windows())
            if journal is not None:
                journal.begin(ready)
                journal.staged(writer.folders)
                completed = journal.completed(ready, compute)
            _write(ready.assemble(completed), writer, styled, field.size, quiet)
            if styled is None:
                writer.commit()
            else:
                styled.commit(writer, field)
        failed = workers.report()
    seconds = time.perf_counter() - start
    report = {
        "survey": survey,
        "outputs": {"container": str(container)} if container else {k: str(v) for k, v in rasters.items()},
        "shape": [field.sizes["band"], *grid_shape(field)],
        "observed": ready.summary.observed.tolist(),
        "seconds": round(seconds, 3),
        "estimated_memory": memory,
        **({} if journal is None else {"windows": len(ready.windows()), "windows_kept": kept}),
        **failed,
        **ready.describe(),
    }
    if as_json:
        options.print_json(report)
    else:
        shares = ready.summary.observed.sum() / (ready.summary.pixels * field.sizes["band"])
        click.echo(
            f"{survey}: {shares:.2%} observed, completed by {report['method']} in {seconds:.1f} s "
            f"-> {', '.join(map(str, paths))}",
            err=True,
        )


def _write(pieces: Iterator[Layers], writer: Writer, styled: Styled | None, pixels: int, quiet: bool) -> None:
    """Write finished pieces, and look at them, while the next ones are computed."""
    from geonp.pipeline import Behind

    def finish(piece: Layers) -> None:
        writer.write(piece.window, piece.arrays())
        if styled is not None:
            styled.look_at(piece, pixels)

    with Behind(finish) as behind:
        for piece in options.progress(pieces, pixels, lambda piece: piece.mean.size, quiet, "px"):
            behind.put(piece)


def _rasters(
    outputs: tuple[Path, Path] | None, mean_only: Path | None, std: Path | None, status: Path | None
) -> dict[str, Path]:
    """Return the GeoTIFF of each layer that was asked for."""
    if outputs and mean_only:
        raise click.UsageError("-o writes the mean already; leave --mean out")
    mean, variance = outputs or (mean_only, None)
    layers = {"mean": mean, "variance": variance, "std": std, "status": status}
    return {name: path for name, path in layers.items() if path is not None}


def _writer(
    ready: Completion,
    rasters: dict[str, Path],
    container: Path | None,
    survey: str,
    creation: tuple[str, ...],
    cog: bool,
    overwrite: bool,
) -> Writer:
    from geonp.io.geotiff import RasterWriter, creation_options

    tags = ready.describe()
    if container is None:
        return RasterWriter(
            rasters,
            ready.field,
            tags=tags,
            options=creation_options(creation),
            cog=cog,
            overwrite=overwrite,
            inputs=[survey],
        )
    if creation or cog:
        raise click.UsageError("--co and --cog are for GeoTIFF outputs (-o, --mean)")
    from geonp.io.container import ContainerWriter

    layers = ["mean", *(["variance"] if ready.variance else []), "status"]
    return ContainerWriter(container, ready.field, layers, tags=tags, overwrite=overwrite, inputs=[survey])
