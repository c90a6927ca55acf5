"""Covariates on the command line: rasters that a field follows, and whether they must help."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from .kriging import open_named

if TYPE_CHECKING:
    import xarray as xr

    from geonp.methods.base import Method

F = TypeVar("F", bound=Callable[..., Any])

POLICY = click.option(
    "--covariate-policy",
    "covariate_policy",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Covariates: use those that help on hidden observations, all, or none.",
)


@dataclass(frozen=True)
class Covariates:
    """Rasters that are given as covariates, and how it is decided whether they are used."""

    files: tuple[str, ...]
    policy: str

    def open(self) -> list[xr.DataArray]:
        """Open the rasters lazily, named by their files."""
        return [open_named(path) for path in self.files]

    def apply(self, method: Method) -> Method:
        """Return `method` with the covariates; itself where there are none."""
        from geonp.methods.covaried import with_covariates

        return with_covariates(method, self.open(), self.policy)


OF_TILES = click.option(
    "--covariate",
    "covariates",
    multiple=True,
    metavar="WORD|FOLDER|RASTER",
    help="What the network reads beside the observations (convcnp, kriged-ifanp): tile_WORD.tif beside tile.tif, the "
    "file of the tile's name in FOLDER, or one RASTER under all tiles; repeatable.",
)


def of_tiles(given: Sequence[str], tiles: Sequence[Path]) -> tuple[list[Path], list[list[Path]]]:
    """Return the tiles that are not covariates themselves, and the covariates' files of each.

    Raises
    ------
    InputError
        If a tile has no file of one of the covariates.
    """
    words = [name for name in given if not Path(name).exists()]
    left = [tile for tile in tiles if not any(tile.stem.endswith(f"_{word}") for word in words)]
    return left, [[_of_tile(name, tile) for name in given] for tile in left]


def _of_tile(name: str, tile: Path) -> Path:
    from geonp.errors import InputError

    from .options import RASTERS

    place = Path(name)
    if place.is_file() or place.suffix == ".zarr":
        return place
    folder, stem = (place, tile.stem) if place.is_dir() else (tile.parent, f"{tile.stem}_{name}")
    found = [folder / f"{stem}{suffix}" for suffix in (tile.suffix, *RASTERS)]
    for path in found:
        if path.exists():
            return path
    raise InputError(
        f"{tile}: has no covariate {name}: there is no {found[0]}; name a word (tile_{place.name}.tif beside "
        "tile.tif), a folder with files of the tiles' names, or one raster for all"
    )


def covariates(command: F) -> F:
    """Add --covariate and --covariate-policy, and pass on what they name as `covariates`."""

    @click.option(
        "--covariate",
        "files",
        type=click.Path(),
        multiple=True,
        metavar="RASTER",
        help="A raster that the field follows (terrain, another band, yesterday's scene), on whatever grid; "
        "repeatable.",
    )
    @POLICY
    @functools.wraps(command)
    def run(*args: Any, files: tuple[str, ...], covariate_policy: str, **options: Any) -> Any:
        return command(*args, covariates=Covariates(files, covariate_policy), **options)

    return cast(F, run)


def say(method: Method | None, quiet: bool) -> None:
    """Say on stderr what the covariates in use are worth."""
    told = {} if method is None else method.describe()
    if not quiet and told.get("covariates", "none") != "none" and "covariates_gain" in told:
        gain = float(told["covariates_gain"])
        click.echo(f"with {told['covariates']} the CRPS on hidden observations is {gain:.0%} lower", err=True)
