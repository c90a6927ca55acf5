"""Correlations as functions of a squared distance, with their slopes: what a gradient of a likelihood needs."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import kve

from geonp.kriging.conditioning import Array

FITTED = ("exponential", "matern12", "matern32", "matern52", "matern", "gaussian", "spherical", "power")
"""Families whose likelihood has a gradient."""

SHAPED = {"matern": (0.3, 0.7, 1.0, 2.0, 3.5), "power": (0.3, 0.6, 0.9, 1.2, 1.5, 1.8)}
"""Families with a number of their own (`nu`, `exponent`), and values of it to begin a search from."""

_LEAST_SQUARE = 1e-200
_LEAST_T = 1e-8
_NOWHERE = 1e6
"""Squared distance, in ranges, at which nobody lies: a missing neighbour."""


def correlation(family: str, shape: float, form: Array, squares: Array, slope: bool) -> tuple[Array, Array]:
    """Return correlations (n,) and their derivatives by the squared distance in ranges, form @ squares.

    Without `slope` the second is anything. Every pass over memory counts: constants ride along in `form`.

    Parameters
    ----------
    family : a name of `FITTED`; formulas are those of `geonp.kriging.covariance`.
    shape : nu ("matern") or the exponent ("power"); anything for the others.
    form : (F,) quadratic form that makes squared distances, in squared ranges, of `squares`.
    squares : (F, n) products of coordinate differences.
    """
    if family == "gaussian":
        rho = form * -0.5 @ squares
        np.exp(rho, out=rho)
        return rho, rho * -0.5 if slope else rho
    if family == "spherical":
        h = np.sqrt(np.clip(form @ squares, _LEAST_SQUARE, 1.0))
        rho = 1 - 1.5 * h + 0.5 * h**3
        return rho, 0.75 * (h - 1 / h) if slope else rho
    if family == "matern":
        return _matern(shape, form @ squares, slope)
    if family == "power":
        # The covariance that is locally equivalent to the variogram, over its value at zero.
        q = np.maximum(form @ squares, _LEAST_SQUARE)
        grown = q ** (shape / 2) / -(1 + 1 / (2 - shape))
        rho = np.where(q < _NOWHERE, 1 + grown, 0.0)
        return rho, np.where(q < _NOWHERE, grown / q * (shape / 2), 0.0) if slope else rho
    nu = {"matern32": 1.5, "matern52": 2.5}.get(family, 0.5)
    t = form * (2 * nu) @ squares
    if nu == 0.5:
        np.sqrt(np.maximum(t, _LEAST_SQUARE, out=t), out=t)
        rho = np.exp(-t)
        return rho, np.divide(rho, t, out=t) * -0.5 if slope else rho
    np.sqrt(np.maximum(t, 0, out=t), out=t)
    decay = np.exp(-t)
    linear = t * decay
    if nu == 1.5:
        linear += decay
        decay *= -1.5
        return linear, decay
    # 1 + t + t^2 / 3, and the slope -5/6 (1 + t), both times exp(-t).
    t *= linear
    t /= 3
    linear += decay
    t += linear
    linear *= -5 / 6
    return t, linear


def _matern(nu: float, square: Array, slope: bool) -> tuple[Array, Array]:
    """Return Matern correlations of squared distances, and slopes: d/dt t^nu K_nu = -t^nu K_(nu-1).

    (DLMF 10.29.4; t^2 is 2 nu times the squared distance.)
    """
    t = np.sqrt(np.maximum(square * (2 * nu), _LEAST_T**2))
    near = t <= _LEAST_T
    log_scale = (1 - nu) * math.log(2) - math.lgamma(nu) + nu * np.log(t) - t
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        size = np.exp(log_scale)
        rho = np.where(near, 1.0, np.minimum(np.nan_to_num(size * kve(nu, t), posinf=1.0), 1.0))
        if not slope:
            return rho, rho
        fall = np.where(near, 0.0, np.nan_to_num(-nu * size * kve(nu - 1, t) / t, neginf=0.0))
    return rho, fall
