"""What the mean of the field is allowed to be: known, constant, a plane, or a multiple of other rasters."""

from __future__ import annotations

from typing import Literal, get_args

from geonp.errors import UsageError
from geonp.kriging.arrays import Array, namespace
from geonp.kriging.covariance import Covariance

Kind = Literal["simple", "ordinary", "universal"]
"""Known mean, unknown constant mean, unknown plane."""

KINDS: tuple[Kind, ...] = get_args(Kind)


def check_kind(kind: str, covariance: Covariance, covariates: int = 0) -> Kind:
    """Return `kind` if it can be carried out.

    Raises
    ------
    UsageError
        If it is unknown; if simple kriging is asked for with covariates, or with an unbounded variogram,
        which needs weights that sum to one; or if a plane is asked for on the globe.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind of kriging {kind!r}; use one of {', '.join(KINDS)}")
    if kind == "simple" and covariates:
        raise UsageError(
            "simple kriging knows its mean and takes no drift; use kind='ordinary', which fits the drift's "
            "coefficients, or subtract the drift yourself"
        )
    if kind == "simple" and not covariance.bounded:
        raise UsageError(
            "a power variogram has no sill, so the mean must be estimated; use kind='ordinary' or a bounded "
            "family"
        )
    if kind == "universal" and covariance.metric == "great-circle":
        raise UsageError(
            "a plane in latitude and longitude has no meaning on the globe; project the coordinates, or give "
            "the trend as drift"
        )
    return kind


def drift_columns(kind: Kind, offsets: Array, covariates: Array, valid: Array | None = None) -> Array:
    """Return the drift columns (..., n, p) of points; 0 in rows of padding.

    Parameters
    ----------
    offsets : (..., n, 2), coordinates relative to the neighbourhood's centre, in units of its size.
    covariates : (..., n, q), external drift, centred and scaled.
    valid : (..., n), 1 for points and 0 for padding; None where there is no padding.
    """
    if kind == "simple":
        return offsets[..., :0]
    xp = namespace(offsets)
    parts = [xp.ones_like(offsets[..., :1])]
    if kind == "universal":
        parts.append(offsets)
    columns = xp.concat([*parts, covariates], axis=-1)
    return columns if valid is None else columns * valid[..., None]


def standardiser(covariates: Array, valid: Array) -> tuple[Array, Array]:
    """Return mean and spread (..., 1, q) of the observations' covariates (..., n, q), padding left out.

    A covariate that is constant in a neighbourhood has spread 1: its coefficient cannot be told there.
    """
    xp = namespace(covariates)
    weight = (valid / xp.clip(valid.sum(-1), min=1)[..., None])[..., None]
    mean = (covariates * weight).sum(-2)[..., None, :]
    spread = xp.sqrt(((covariates - mean) ** 2 * weight).sum(-2))[..., None, :]
    flat = spread <= 1e-12 * xp.clip(xp.abs(mean), min=float(xp.finfo(mean.dtype).smallest_normal))
    return mean, xp.where(flat, xp.ones_like(spread), spread)
