"""Errors of the observations on the command line: a raster of them, one number, or a column of the points."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from geonp.errors import UsageError

from .kriging import open_named

if TYPE_CHECKING:
    import xarray as xr

    from geonp.methods.base import Method
    from geonp.methods.errors import Stated

    from .options import Reading

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Errors:
    """How far off observations may be, as it was said: `stated` a file or a number, `column` of the points."""

    stated: str | None
    column: str | None

    @property
    def files(self) -> list[str]:
        """The raster of errors, where one is named."""
        return [] if self.stated is None or as_number(self.stated) is not None else [self.stated]

    def open(self, survey: str, reading: Reading, method: Method) -> tuple[xr.DataArray, Method]:
        """Open a survey, and return it with the method that knows its errors.

        Raises
        ------
        UsageError
            If errors are stated in two ways, the survey has no columns, or the method takes no errors.
        InputError
            If a file cannot be read.
        """
        from geonp.methods.errors import with_errors

        field, stated = self.read(survey, reading)
        return field, method if stated is None else with_errors(method, stated)

    def read(self, survey: str, reading: Reading) -> tuple[xr.DataArray, Stated | None]:
        """Open a survey, and its errors where any are stated; see `open`."""
        if self.stated is not None and self.column is not None:
            raise UsageError("--error and --error-column say the same thing in two ways: give one of them")
        if self.column is not None:
            field, errors = reading.open_with_errors(survey, self.column)
            return field, errors.rename(f"{survey}: {self.column}")
        field = reading.open(survey)
        if self.stated is None:
            return field, None
        number = as_number(self.stated)
        if number is not None:
            return field, number
        raster = open_named(self.stated)
        if reading.crs is not None:
            from geonp.io.grid import with_crs

            raster = with_crs(raster, reading.crs)
        if reading.band and raster.sizes["band"] > max(reading.band) - 1 and raster.sizes["band"] > 1:
            raster = raster.isel(band=[number - 1 for number in reading.band])
        return field, raster


COLUMN = click.option(
    "--error-column",
    metavar="NAME",
    help="Points: the column or attribute that holds the standard deviation of each one's error.",
)


def errors(command: F) -> F:
    """Add --error and --error-column, and pass on what they say as `errors`."""

    @click.option(
        "--error",
        "stated",
        metavar="RASTER|NUMBER",
        help="Standard deviation of the error of every observation, in the units of the survey: a raster on its "
        "pixels, or one number. Those that err more weigh less. Kriging and bundled.",
    )
    @COLUMN
    @functools.wraps(command)
    def run(*args: Any, stated: str | None, error_column: str | None, **options: Any) -> Any:
        return command(*args, errors=Errors(stated, error_column), **options)

    return cast(F, run)


def as_number(text: str) -> float | None:
    """Return the number that `text` is, None where it is the name of a file."""
    try:
        return float(text)
    except ValueError:
        return None
