"""What is known beside a survey, on the command line: covariates, and the errors of its observations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import covariate
from . import errors as error

if TYPE_CHECKING:
    import xarray as xr

    from geonp.methods.base import Method

    from .options import Reading

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Known:
    """Covariates and errors, as they were stated."""

    covariates: covariate.Covariates
    errors: error.Errors

    @property
    def files(self) -> list[str]:
        """The rasters that are named."""
        return [*self.covariates.files, *self.errors.files]

    def open(self, survey: str, reading: Reading, method: Method) -> tuple[xr.DataArray, Method]:
        """Open a survey, and return it with the method that knows its errors (`Errors.open`) and its covariates."""
        field, told = self.errors.open(survey, reading, method)
        return field, self.covariates.apply(told)


def known(command: F) -> F:
    """Add --covariate, --covariate-policy, --error and --error-column, and pass on what they say as `known`."""

    @covariate.covariates
    @error.errors
    @functools.wraps(command)
    def run(*args: Any, covariates: covariate.Covariates, errors: error.Errors, **options: Any) -> Any:
        return command(*args, known=Known(covariates, errors), **options)

    return cast(F, run)
