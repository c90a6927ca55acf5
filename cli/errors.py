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
        return [] if self.stated is None or _number(self.stated) is not None else [self.stated]

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

        if self.stated is not None and self.column is not None:
            raise UsageError("--error and --error-column say the same thing in two ways: give one of them")
        if self.column is not None:
            field, errors = reading.open_with_errors(survey, self.column)
            return field, with_errors(method, errors.rename(f"{survey}: {self.column}"))
        field = reading.open(survey)
        if self.stated is None:
            return field, method
        number = _number(self.stated)
        if number is not None:
            return field, with_errors(method, number)
        raster = open_named(self.stated)
        if reading.crs is not None:
            from geonp.io.grid import with_crs

            raster = with_crs(raster, reading.crs)
        if reading.band and raster.sizes["band"] > max(reading.band) - 1 and raster.sizes["band"] > 1:
            raster = raster.isel(band=[number - 1 for number in reading.band])
        return field, with_errors(method, raster)


def errors(command: F) -> F:
    """Add --error and --error-column, and pass on what they say as `errors`."""

    @click.option(
        "--error",
        "stated",
        metavar="RASTER|NUMBER",
        help="Standard deviation of the error of every observation, in the units of the survey: a raster on its "
        "pixels, or one number. Those that err more weigh less. Kriging and bundled.",
    )
    @click.option(
        "--error-column",
        metavar="NAME",
        help="Points: the column or attribute that holds the standard deviation of each one's error.",
    )
    @functools.wraps(command)
    def run(*args: Any, stated: str | None, error_column: str | None, **options: Any) -> Any:
        return command(*args, errors=Errors(stated, error_column), **options)

    return cast(F, run)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
