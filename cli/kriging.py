"""How a survey is to be kriged, as options that are given to a method."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

import click

from geonp.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

    from geonp.methods.base import Method

# Parameters of a method, and the options that set them.
_OPTION = {
    "covariance": "--variogram",
    "anisotropy": "--anisotropy",
    "families": "--family",
    "drift": "--drift",
    "kind": "--kind",
    "neighbours": "--neighbours",
    "noise": "--latent",
}
FAMILIES = ("exponential", "matern32", "matern52", "matern", "gaussian", "spherical", "power")
_SCALE = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _anisotropy(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """Return the two numbers of ANGLE,RATIO (or ANGLE:RATIO)."""
    if value is None:
        return None
    try:
        angle, ratio = map(float, value.replace(":", ",").split(","))
    except ValueError:
        raise click.BadParameter(
            f"'{value}' is not ANGLE,RATIO; 30,0.5 is a longest range 30 degrees counter-clockwise from +x, "
            "and half of it across"
        ) from None
    return angle, ratio


def _bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the bytes of 2G, 500M or 1048576."""
    if value is None:
        return None
    text = value.strip().upper().removesuffix("B").removesuffix("I")
    number, scale = (text[:-1], _SCALE[text[-1]]) if text[-1:] in _SCALE else (text, 1)
    try:
        return int(float(number) * scale)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"'{value}' is no size; write 500M or 2G") from None


ANISOTROPY = click.option(
    "--anisotropy",
    callback=_anisotropy,
    metavar="ANGLE,RATIO",
    help="Kriging: direction of the longest range, degrees counter-clockwise from +x, and the shortest range "
    "over the longest, instead of fitting them.",
)
FAMILY = click.option(
    "--family",
    "families",
    type=click.Choice(FAMILIES),
    multiple=True,
    help="Kriging: fit this family of covariances, instead of choosing among several; repeatable.",
)
OPTIONS = (
    click.option(
        "--variogram",
        metavar="FILE|JSON|WORDS",
        help="Kriging: the covariance, instead of fitting it: a file (a former output, or what "
        "`geonp variogram --model-out` wrote), JSON, or words: exponential:range=500,sill=3,nugget=0.1.",
    ),
    ANISOTROPY,
    FAMILY,
    click.option(
        "--drift",
        type=click.Path(),
        multiple=True,
        metavar="RASTER",
        help="Kriging: a covariate that is used whatever comes out: --covariate RASTER with --covariate-policy "
        "always, for a raster without holes; repeatable.",
    ),
    click.option(
        "--kind",
        type=click.Choice(["ordinary", "universal", "simple"]),
        help="Kriging: unknown local mean (the default), unknown local plane, one mean.",
    ),
    click.option("--neighbours", type=click.IntRange(min=1), help="Observations a pixel is estimated from."),
    click.option("--latent", is_flag=True, help="Kriging: variance without the nugget."),
    click.option(
        "--memory",
        callback=_bytes,
        metavar="SIZE",
        help="Memory that the run may take in all: 500M, 2G. A quarter of it is for kriging's systems. "
        "[default: a quarter of what is free, 1.5 GB beside the program at most]",
    ),
)


@dataclass(frozen=True)
class Kriging:
    """How a survey is to be kriged; None (or False) where the method's own choice stands."""

    variogram: str | None
    anisotropy: tuple[float, float] | None
    families: tuple[str, ...]
    drift: tuple[str, ...]
    kind: str | None
    neighbours: int | None
    latent: bool
    memory: int | None

    @property
    def stated(self) -> bool:
        """Whether anything was said about how to krige."""
        return any(getattr(self, f.name) for f in fields(self) if f.name != "memory")

    def apply(self, method: Method) -> Method:
        """Return `method` with these parameters.

        Raises
        ------
        UsageError
            If the method has no such parameter, or they cannot be combined.
        InputError
            If the file that should hold a covariance does not.
        """
        given = (
            self.variogram,
            self.anisotropy,
            self.families or None,
            self.drift or None,
            self.kind,
            self.neighbours,
            False if self.latent else None,
        )
        changes: dict[str, Any] = {
            name: value for name, value in zip(_OPTION, given, strict=True) if value is not None
        }
        known = {f.name for f in fields(cast(Any, method))}
        for name in changes:
            if name not in known:
                raise UsageError(
                    f"method '{method.name}' takes no {_OPTION[name]}; leave it out, or use --method kriging"
                )
        if self.memory is not None:
            from geonp.memory import Budget

            share = Budget.of(self.memory).share
            if "memory" in known:
                changes["memory"] = share
        if self.variogram is not None:
            from .covariance import read_covariances

            found = read_covariances(self.variogram)
            changes["covariance"] = found[0] if len(set(found)) == 1 else found
        if self.drift:
            changes["drift"] = tuple(open_named(path) for path in self.drift)
        return cast("Method", replace(cast(Any, method), **changes))


def open_named(path: str) -> xr.DataArray:
    """Open a raster lazily, and name it by its file."""
    from geonp.io import open_field

    return open_field(path).rename(path)
