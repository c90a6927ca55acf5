"""`geonp info`: what a raster, a table of points or a model file is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    import xarray as xr


@click.command()
@click.argument("file", type=click.Path())
@options.reading
@options.as_json
@options.verbosity
def info(file: str, reading: options.Reading, as_json: bool, quiet: bool) -> None:
    """Tell what FILE is: a survey (grid, CRS, pixel size, what is observed) or a model.

    \b
    geonp info survey.tif
    geonp info model.safetensors --json
    """  # noqa: D301
    found = _model(file) if file.endswith(".safetensors") else _survey(reading.open(file))
    if as_json:
        options.print_json({"file": file, **found})
        return
    width = max(map(len, found))
    for name, value in found.items():
        click.echo(f"{name:{width}}  {_text(value)}")


def _survey(field: xr.DataArray) -> dict[str, Any]:
    from geonp.field import geobox, grid_shape, spacing, summarise, warn_without_crs

    warn_without_crs(field)
    box = geobox(field)
    summary = summarise(field)
    rows, cols = grid_shape(field)
    dy, dx = spacing(field)
    crs = None
    if box is not None and box.crs is not None:
        code, name = box.crs.to_epsg(), box.crs.proj.name
        crs = f"EPSG:{code} ({name})" if code else name
    shares = summary.observed / summary.pixels
    return {
        "kind": "survey",
        "bands": field.sizes["band"],
        "rows": rows,
        "columns": cols,
        "crs": crs,
        "spacing": [round(dy, 4), round(dx, 4)],
        "spacing_unit": "m" if crs else "coordinate units",
        "units": field.attrs.get("units"),
        "observed_fraction": [round(float(v), 6) for v in shares],
        "infinite": summary.infinite.tolist(),
        "minimum": _finite(summary.minimum),
        "maximum": _finite(summary.maximum),
        "mean": _finite(summary.mean),
        "std": _finite(summary.variance**0.5),
    }


def _model(file: str) -> dict[str, Any]:
    from dataclasses import asdict

    from geonp.io.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(file)
    return {
        "kind": "model",
        "architecture": checkpoint.architecture,
        "parameters": sum(tensor.size for tensor in checkpoint.tensors.values()),
        "receptive_field": checkpoint.receptive_field or "the whole tile",
        "scaling": checkpoint.scaling,
        **asdict(checkpoint.trained),
        "config": dict(checkpoint.config),
        "versions": dict(checkpoint.versions),
        "sha256": checkpoint.digest,
    }


def _finite(values: Any) -> list[float | None]:
    return [None if v != v else float(v) for v in values]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k}={_text(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        shown = [_text(v) for v in value[:8]]
        return ", ".join(shown) + (f", ... ({len(value)})" if len(value) > 8 else "")
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
