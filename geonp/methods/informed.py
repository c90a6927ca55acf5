"""Methods side by side: as they are, with covariates, and told of the errors of the observations."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from geonp.errors import UsageError
from geonp.methods.base import Method
from geonp.methods.covaried import with_covariates
from geonp.methods.errors import Stated, takes_errors, with_errors

WITH, TOLD = " + covariates", " + errors"
"""What the label of a method ends with that is told of them."""


def informed(
    methods: Sequence[Method],
    covariates: xr.DataArray | Sequence[xr.DataArray],
    policy: str,
    errors: Stated | None,
) -> list[dict[str, Method]]:
    """Return every method by its label, followed by itself with covariates, and told of errors, where there are any.

    Parameters
    ----------
    methods : methods; repeated names are numbered from the second on.
    covariates, policy : see `geonp.methods.covaried.with_covariates`.
    errors : see `geonp.methods.errors.with_errors`; None where there are none.

    Returns
    -------
    list of dict
        One dict a method, the best informed last.

    Raises
    ------
    UsageError
        If there are errors, and none of the methods takes any.
    """
    if errors is not None and not any(map(takes_errors, methods)):
        raise UsageError("none of the methods takes errors of observations; add kriging or bundled")
    found = []
    for name, method in zip(unique([method.name for method in methods]), methods, strict=True):
        variants = {name: method}
        follows, label = with_covariates(method, covariates, policy), name
        if follows is not method:
            label = f"{name}{WITH}"
            variants[label] = follows
        if errors is not None and takes_errors(method):
            variants[f"{label}{TOLD}"] = with_errors(follows, errors)
        found.append(variants)
    return found


def unique(names: Sequence[str]) -> list[str]:
    """Return the names, repeated ones numbered from the second on."""
    return [
        name if name not in names[:index] else f"{name} {names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]
