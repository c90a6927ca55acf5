"""`rio geonp ...`: the same commands under rasterio's command line (entry point `rasterio.rio_plugins`)."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from .app import Commands


class UnderRio(Commands):
    """Runs the commands in the GDAL environment of `rio`: its AWS profile, its debugging."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command as `geonp` does."""
        environment = (ctx.obj or {}).get("env", contextlib.nullcontext())
        with environment:
            return super().invoke(ctx)


@click.group(
    cls=UnderRio,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    short_help="Complete rasters with holes: mean and variance.",
)
def geonp() -> None:
    """Complete gridded fields: a sparse or holey raster becomes a mean and a variance raster.

    \b
    rio geonp predict survey.tif -o mean.tif var.tif     complete a raster
    rio geonp evaluate survey.tif                        compare methods on hidden pixels
    rio geonp info survey.tif                            what a raster is
    """  # noqa: D301
