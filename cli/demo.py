"""`geonp demo`: the whole story on a real DEM that an installed dependency ships; no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    import xarray as xr

CONTEXT = 0.125
METHODS = "bundled,kriging,pykrige,rbf,cubic,linear,nearest"
TRUTH, SURVEY, TILES, MODEL = "truth.tif", "survey.tif", "tiles", "model.safetensors"
PICTURES = ("bundled.png", "ifanp.png", "methods.png")


@click.command()
@click.option(
    "--output",
    default="geonp-demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder to write to.",
)
@click.option("--seconds", default=60, show_default=True, help="How long the IFANP trains.")
@options.overwrite
@options.seed
@options.verbosity
def demo(output: Path, seconds: int, overwrite: bool, seed: int, quiet: bool) -> None:
    """Hide 87.5 % of a real DEM, complete it, and compare with the truth.

    An IFANP is trained briefly on the western half of the DEM that matplotlib ships (Jacksboro fault, SRTM);
    the eastern half is hidden and completed: by the bundled network, by the IFANP and by kriging. Every step
    is a command that is printed before it is run.
    """
    from geonp.errors import OutputError

    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already; choose another folder (--output) or pass --overwrite")
    (output / TILES).mkdir(parents=True, exist_ok=True)
    truth = _write_inputs(output, seed)
    share = f"{CONTEXT:g}"
    model = output / MODEL
    _run("fit", output / TILES, "--context", share, "--max-time", f"{seconds}s", "--seed", seed, "-o", model)
    for name, how in (("bundled", ()), ("ifanp", ("--model", model)), ("kriging", ("--method", "kriging"))):
        layers = output / f"{name}.tif", output / f"{name}_variance.tif"
        _run("predict", output / SURVEY, *how, "-o", *layers)
    _run("evaluate", output / TRUTH, "--context", share, "--methods", METHODS, "--model", model)
    for picture in _draw(output, truth):
        click.echo(picture)


def _run(command: str, *arguments: object) -> None:
    """Print a command as it would be typed, and run it."""
    from .app import main

    words = [command, *map(str, arguments)]
    click.echo(f"\n$ geonp {' '.join(words)}")
    silent = {"fit": ["--no-compare", "--overwrite", "-q"], "predict": ["--overwrite", "-q"]}
    main.main([*words, *silent.get(command, ["-q"])], standalone_mode=False)


def _write_inputs(folder: Path, seed: int) -> xr.DataArray:
    """Write the western half as tiles, the eastern half as truth and as survey; return the truth."""
    import numpy as np
    from affine import Affine
    from matplotlib.cbook import get_sample_data
    from odc.geo.geobox import GeoBox

    dem: Any = get_sample_data("jacksboro_fault_dem.npz")
    elevation = dem["elevation"].astype(np.float32)
    rows, cols = elevation.shape
    north = max(float(dem["ymin"]), float(dem["ymax"]))  # the file has the two the other way round
    west, step = float(dem["xmin"]), float(dem["dx"])
    box = GeoBox((rows, cols), Affine(step, 0, west, 0, -step, north), "EPSG:4326")
    half = cols // 2
    for number, start in enumerate(range(0, rows, rows // 2)):
        part = np.s_[start : start + rows // 2, :half]
        _write(folder / TILES / f"west_{number + 1}.tif", elevation[part], box[part])
    east = np.s_[:, half:]
    truth = _write(folder / TRUTH, elevation[east], box[east])
    seen = np.random.default_rng(seed).random(truth.shape) < CONTEXT
    _write(folder / SURVEY, np.where(seen, elevation[east], np.float32(np.nan)), box[east])
    return truth


def _write(path: Path, values: Any, box: Any) -> xr.DataArray:
    """Write values (y, x) as a GeoTIFF in metres; return them georeferenced."""
    from odc.geo.xr import wrap_xr

    from geonp.field import Window, as_field
    from geonp.io.geotiff import RasterWriter

    array: xr.DataArray = wrap_xr(values, box)
    array.attrs["units"] = "m"
    field = as_field(array)
    with RasterWriter({"mean": path}, field, overwrite=True) as writer:
        writer.write(Window.whole(values.shape), {"mean": field.values})
        writer.commit()
    return array


def _draw(folder: Path, truth: xr.DataArray) -> list[Path]:
    """Draw the completions that were written; return where the pictures are."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import xarray as xr

    from geonp.field import as_field, load
    from geonp.io import open_field
    from geonp.report import figures

    truth = as_field(truth).isel(band=0, drop=True)

    def read(name: str) -> xr.DataArray:
        layer = load(open_field(folder / name)).isel(band=0, drop=True)
        return truth.copy(data=layer.values)

    survey = read(SURVEY)
    done = {
        name: xr.Dataset({"mean": read(f"{name}.tif"), "variance": read(f"{name}_variance.tif")})
        for name in ("bundled", "kriging", "ifanp")
    }
    pictures = [folder / name for name in PICTURES]
    drawn = (
        figures.completion(truth, survey, done["bundled"]),
        figures.completion(truth, survey, done["ifanp"]),
        figures.methods(truth, survey, {name: each["mean"] for name, each in done.items()}),
    )
    for path, figure in zip(pictures, drawn, strict=True):
        figure.savefig(path, dpi=110)
        plt.close(figure)
    return pictures
