"""Options that several commands share, so that they are spelled and explained once."""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

import click

from geonp._loading import undisturbed
from geonp.errors import GeonpWarning

from . import kriging as krige
from . import network

if TYPE_CHECKING:
    import xarray as xr

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

RASTERS = (".tif", ".tiff", ".nc", ".zarr", ".vrt", ".img", ".asc", ".jp2", ".hgt")

OUT = click.Path(dir_okay=False, path_type=Path)
STORE = click.Path(path_type=Path)
"""An output that may be the folder of a Zarr store; `check_outputs` tells it from others."""


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that adds `options` in the order given."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def verbosity(command: F) -> F:
    """Add -v and -q, set up what is shown on stderr, and pass `quiet` on to the command."""

    @click.option("-v", "--verbose", is_flag=True, help="Other libraries' warnings too.")
    @click.option("-q", "--quiet", is_flag=True, help="No notes and no progress, errors only.")
    @functools.wraps(command)
    def run(*args: Any, verbose: bool, quiet: bool, **options: Any) -> Any:
        warnings.resetwarnings()
        warnings.simplefilter("default" if verbose else "ignore")
        if not quiet:
            warnings.simplefilter("always", GeonpWarning)
        warnings.showwarning = _show_warning
        return command(*args, quiet=quiet, **options)

    return cast(F, run)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    ours = issubclass(category, GeonpWarning)
    click.echo(
        f"note: {message}" if ours else f"{category.__name__}: {message} ({filename}:{lineno})", err=True
    )


seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything random."
)
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to run.",
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
tile = click.option(
    "--tile", type=click.IntRange(min=1), default=1024, show_default=True, help="Side of a window in pixels."
)
context = click.option(
    "--context",
    default="0.125",
    show_default=True,
    metavar="FRACTION|COUNT|LOW:HIGH",
    help="Pixels that stay observed: a fraction (0.125), a count (500) or a range of fractions (0.02:0.3).",
)


@dataclass(frozen=True)
class Reading:
    """How a survey is to be read."""

    band: tuple[int, ...]
    nodata: float | None
    bounds: tuple[float, float, float, float] | None
    variable: str | None
    like: str | None
    res: float | None
    crs: str | None
    value: str | None

    def open(self, path: str) -> xr.DataArray:
        """Open a raster, an array or a table of points as a lazy field."""
        from geonp.io import open_field

        return open_field(
            path,
            band=self.band,
            nodata=self.nodata,
            bounds=self.bounds,
            variable=self.variable,
            like=self.like,
            res=self.res,
            crs=self.crs,
            value=self.value,
        )

    def open_with_errors(self, path: str, column: str) -> tuple[xr.DataArray, xr.DataArray]:
        """Open a table of points as a lazy field, and the errors that one of its columns holds."""
        from geonp.io import open_with_errors

        return open_with_errors(
            path,
            column,
            nodata=self.nodata,
            bounds=self.bounds,
            like=self.like,
            res=self.res,
            crs=self.crs,
            value=self.value,
        )


def reading(command: F) -> F:
    """Add the options of how a survey is read, and pass them on as one `reading`."""

    @click.option(
        "-b", "--band", "--bidx", "band", type=int, multiple=True, help="Band, 1-based; repeatable."
    )
    @click.option("--nodata", type=float, help="Value that means 'not observed'.")
    @click.option(
        "--bounds", type=float, nargs=4, metavar="LEFT BOTTOM RIGHT TOP", help="Read this part only."
    )
    @click.option("--variable", help="Variable of a NetCDF file or Zarr store.")
    @click.option("--like", type=click.Path(), help="Points: use the grid of this raster.")
    @click.option("--res", type=float, help="Points: pixel size, in the units of their coordinates.")
    @click.option("--crs", help="CRS of points, or of a raster that states none: EPSG:25832.")
    @click.option("--value", help="Points: column or attribute that holds the value.")
    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        own = {f.name: options.pop(f.name) for f in fields(Reading)}
        return command(*args, reading=Reading(**own), **options)

    return cast(F, run)


def method(command: F) -> F:
    """Add --method, --model, --device, --seed and what they take, and pass on the method that they name."""

    @click.option(
        "--method", default="auto", show_default=True, metavar="NAME", help="How to complete; see below."
    )
    @click.option("--model", type=click.Path(), help="Model file written by `geonp fit`.")
    @device
    @seed
    @together(*network.OPTIONS)
    @together(*krige.OPTIONS)
    @functools.wraps(command)
    def run(*args: Any, method: str, model: str | None, device: str, seed: int, **options: Any) -> Any:
        with undisturbed():
            from geonp.methods.choose import choose

        how = krige.Kriging(**{f.name: options.pop(f.name) for f in fields(krige.Kriging)})
        use = network.Network(**{f.name: options.pop(f.name) for f in fields(network.Network)})
        if method == "auto" and model is None and how.stated:
            method = "kriging"  # whoever says how to krige wants kriging
        chosen = how.apply(use.apply(choose(method, model, device=device, seed=seed)))
        return command(*args, method=chosen, **options)

    return cast(F, run)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(result, indent=2, allow_nan=False, default=str))


def progress(items: Iterable[T], total: int, size: Callable[[T], int], quiet: bool, unit: str) -> Iterator[T]:
    """Yield `items` and, on a terminal, show on stderr how much of `total` is done."""
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=total, unit=unit, unit_scale=True, disable=hidden, file=sys.stderr) as bar:
        for item in items:
            yield item
            bar.update(size(item))


def raster_files(paths: Iterable[str]) -> list[Path]:
    """Return the files named, and for folders the rasters in them, sorted.

    Raises
    ------
    InputError
        If a path is missing or a folder holds no raster.
    """
    from geonp.errors import InputError

    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir() and path.suffix != ".zarr":
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in RASTERS)
            if not inside:
                raise InputError(f"{path}: holds no raster ({', '.join(RASTERS)})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: there is no such file or folder")
    return found
