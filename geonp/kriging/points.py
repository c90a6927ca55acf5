"""Scattered observations, checked once: finite, matching, no two at one place."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geonp.errors import GeonpWarning, InputError
from geonp.kriging.covariance import Covariance

Array = NDArray[np.float64]

_SAME_PLACE = 1e-10
"""Points nearer than this part of the survey's extent are one place."""


@dataclass(frozen=True, slots=True)
class Observations:
    """What was measured, one observation a place.

    Parameters
    ----------
    coords : (N, 2), (y, x) in metres, or (latitude, longitude) in degrees on the globe.
    values : (N,).
    noise : (N,), nugget and error variance of each value.
    drift : (N, q), external drift.
    merged : how many observations were merged into another at their place.
    """

    coords: Array
    values: Array
    noise: Array
    drift: Array
    merged: int

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(
        cls,
        coords: ArrayLike,
        values: ArrayLike,
        covariance: Covariance,
        errors: ArrayLike | None = None,
        drift: ArrayLike | None = None,
    ) -> Observations:
        """Check what was measured, leave out values that are NaN, and merge observations of one place.

        Those are replaced by their mean, weighted by the inverse of nugget plus error variance, which changes
        no prediction elsewhere. Without nugget and errors nothing explains why they differ; their plain mean
        is taken, with a warning.

        Raises
        ------
        InputError
            If nothing is observed, shapes do not match, coordinates, errors or drift are not finite, an error
            variance is negative, or degrees are outside their range.
        """
        place = check_coords(coords, covariance, "coords")
        z = np.asarray(values, np.float64)
        if z.shape != place.shape[:1]:
            raise InputError(f"{len(place)} coordinates need as many values, got shape {z.shape}")
        noise = np.full(len(z), covariance.nugget)
        if errors is not None:
            noise = noise + error_variances(errors, z)
        covariates = check_drift(drift, len(z), "drift")
        if np.isinf(z).any():
            raise InputError(f"{np.isinf(z).sum()} values are infinite; leave them out or set them to NaN")
        seen = ~np.isnan(z)
        if not seen.any():
            raise InputError(f"none of {len(z)} values is a number: there is nothing to krige from")
        return cls._merge(place[seen], z[seen], noise[seen], covariates[seen])

    @classmethod
    def _merge(cls, coords: Array, values: Array, noise: Array, drift: Array) -> Observations:
        extent = float(np.ptp(coords, axis=0).max()) or 1.0
        cell = np.round((coords - coords.min(0)) / (extent * _SAME_PLACE)).astype(np.int64)
        _, first, which = np.unique(cell, axis=0, return_index=True, return_inverse=True)
        which = which.reshape(-1)
        merged = len(values) - len(first)
        if not merged:
            return cls(coords, values, noise, drift, 0)
        exact = noise <= 0
        some_exact = np.bincount(which, exact) > 0
        # An error-free observation settles its place.
        weight = np.where(some_exact[which], exact, 1 / np.where(exact, 1, noise))
        total = np.bincount(which, weight)
        mean = np.bincount(which, weight * values) / total
        apart = np.zeros(len(first))
        np.maximum.at(apart, which, np.where(exact, np.abs(values - mean[which]), 0))
        if (clash := int((apart > 1e-9 * (np.abs(mean) + 1e-300)).sum())) > 0:
            warnings.warn(
                f"{clash} places have several error-free values that differ; their mean is taken: give a "
                "nugget or error variances if they are repeated measurements",
                GeonpWarning,
                stacklevel=4,
            )
        order = np.argsort(first, kind="stable")
        combined = np.where(some_exact, 0, 1 / total)
        kept = first[order]
        return cls(coords[kept], mean[order], combined[order], drift[kept], merged)


def check_coords(coords: ArrayLike, covariance: Covariance, name: str) -> Array:
    """Return coordinates (N, 2) as float64.

    Raises
    ------
    InputError
        If they are not (N, 2), none is given, one is not finite, or degrees are outside their range.
    """
    place = np.asarray(coords, np.float64)
    if place.ndim != 2 or place.shape[1] != 2 or not len(place):
        raise InputError(f"{name} are an array (N, 2) of (y, x) with N >= 1, got shape {place.shape}")
    if not np.isfinite(place).all():
        bad = int((~np.isfinite(place)).any(1).sum())
        raise InputError(f"{bad} of {len(place)} {name} are not finite; leave those points out")
    if covariance.metric == "great-circle":
        lat, lon = np.abs(place).max(0)
        if lat > 90 or lon > 540:
            raise InputError(
                f"great-circle {name} are (latitude, longitude) in degrees, but reach {lat:g} and {lon:g}: "
                "swap the columns, or use the euclidean metric for projected coordinates"
            )
    return place


def check_drift(drift: ArrayLike | None, count: int, name: str) -> Array:
    """Return external drift (N, q) as float64; q is 0 where there is none.

    Raises
    ------
    InputError
        If its length is not `count` or it is not finite somewhere.
    """
    if drift is None:
        return np.zeros((count, 0))
    columns = np.asarray(drift, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or len(columns) != count:
        raise InputError(
            f"{name} has shape {np.shape(drift)}, but there are {count} points; give (N,) or (N, q)"
        )
    if not np.isfinite(columns).all():
        bad = int((~np.isfinite(columns)).any(1).sum())
        raise InputError(
            f"{name} is not finite at {bad} of {count} points: it must be known at every observation and "
            "every target; fill it first, or leave those points out"
        )
    return columns


def error_variances(errors: ArrayLike, values: Array) -> Array:
    """Return error variances (N,), 0 where a value (N,) is NaN.

    Raises
    ------
    InputError
        If there are not as many as values, or one is negative or not finite.
    """
    variance = np.asarray(errors, np.float64)
    if variance.ndim == 0:
        variance = np.full(values.shape, float(variance))
    if variance.shape != values.shape:
        raise InputError(f"{len(values)} values need as many error variances, got shape {variance.shape}")
    wrong = ~np.isfinite(variance) & ~np.isnan(values)
    if wrong.any() or (variance[~np.isnan(values)] < 0).any():
        raise InputError(
            "error variances must be finite and not negative (squared units of the values); "
            f"{int(wrong.sum())} are not finite, the least is {np.nanmin(variance):g}"
        )
    return np.where(np.isnan(values), 0.0, variance)


def warn_of_units(covariance: Covariance, apart: float, degrees: bool) -> None:
    """Warn where a covariance that was given cannot be meant in the unit of the coordinates.

    Parameters
    ----------
    covariance : that was given.
    apart : distance between pixels, or usual distance between observations.
    degrees : whether the coordinates might be degrees.

    Warns
    -----
    GeonpWarning
        If its range is a hundredth of that distance, or degrees would be taken for metres.
    """
    if covariance.metric != "euclidean" or not covariance.bounded or not apart > 0:
        return
    reach = covariance.effective_range
    if reach < 0.01 * apart:
        told = f"is far below the {apart:.4g} between neighbours, so that all pixels between get the mean"
        hint = "ranges are in metres (a degree of latitude is 111 km), or in the units of coordinates without a CRS"
    elif degrees and reach > 1e4 * apart:
        told = f"is far beyond the {apart:.4g} between neighbours, whose coordinates look like degrees"
        hint = "give the covariance metric='great-circle', or project the coordinates"
    else:
        return
    warnings.warn(
        f"the range of the covariance, 95 % of its sill at {reach:.4g}, {told}: {hint}",
        GeonpWarning,
        stacklevel=4,
    )


def covering(covariance: Covariance, extent: float) -> Covariance:
    """Return `covariance` with power structures whose reach covers distances up to `extent`."""
    if covariance.bounded:
        return covariance
    structures = tuple(
        dataclasses.replace(s, range=max(s.range, extent / s.ratio)) if s.family == "power" else s
        for s in covariance.structures
    )
    return dataclasses.replace(covariance, structures=structures)
