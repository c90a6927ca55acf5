"""Choosing a covariance: by likelihood where targets lie among data, by rehearsal where they lie in gaps.

1. Maximum likelihood (Vecchia) of each family alone, and of nested sums of a short and a long structure.
2. Where targets are further from the data than the data from each other, longer and rougher candidates join,
   and the best shapes are fitted once more to observations hidden in the gaps' own shapes. All are scored by
   CRPS on other hidden observations, and of those that do not lose to the best by more than chance the one
   with the lowest Bayesian information criterion is chosen.
3. Else that criterion chooses among the likelihood's candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from geonp.errors import InputError, UsageError
from geonp.kriging.candidates import Settings
from geonp.kriging.choice import Candidate, Fit, Rehearsal, Task, choose
from geonp.kriging.conditioning import Array
from geonp.kriging.holdout import WIDE, HoldOut, ball_holdout, gap_holdout, merge
from geonp.kriging.sample import Sample, Trend, positions
from geonp.kriging.survey import Block

__all__ = ["Candidate", "Fit", "Rehearsal", "Settings", "fit_covariance", "fit_grid"]

_SURROUNDING = 32
_FEWEST_TESTS = 20
_ROUNDS = 16
_TARGETS = 20_000


def fit_covariance(
    coords: Array,
    values: Array,
    *,
    seed: int,
    targets: Array | None = None,
    trend: Trend = "constant",
    covariates: Array | None = None,
    errors: Array | None = None,
    metric: str = "euclidean",
    settings: Settings | None = None,
) -> Fit:
    """Fit a covariance to scattered observations.

    Parameters
    ----------
    coords : (N, 2) coordinates (y, x), or (latitude, longitude) in degrees for the great-circle metric.
    values : (N,).
    seed : of the sampling and the ordering.
    targets : (M, 2) where predictions are wanted. Where they are further from the data than the data from each
        other, the choice is made on observations hidden at the targets' own distances.
    trend : mean of the field: a constant, or a plane (Euclidean only).
    covariates : (N, K) further columns of the mean.
    errors : (N,) error variance of each observation, in squared units; the nugget is what comes on top.
    metric : "euclidean" or "great-circle".
    settings : what is tried.

    Returns
    -------
    Fit
        With fewer than 10 observations nothing is fitted: an exponential whose variance is that of the values
        and whose range is a third of the extent. Constant values get the same with a sill near zero.

    Raises
    ------
    InputError
        If there is no observation, a number is not finite, shapes do not agree, an error variance is negative,
        or a covariate is constant.
    UsageError
        If trend or metric is unknown, or a plane or a fixed anisotropy is asked for on the globe.
    """
    sample = Sample.checked(coords, values, trend, covariates, metric, errors)
    settings = settings or Settings()
    if targets is None:
        return choose(sample, settings, seed, None)
    goal = np.asarray(targets, np.float64)
    if goal.ndim != 2 or goal.shape[1] != 2 or not np.isfinite(goal).all():
        raise InputError(f"targets are (M, 2) finite coordinates, got an array of shape {goal.shape}")
    some = goal[np.random.default_rng([seed, 9]).permutation(len(goal))[:_TARGETS]]
    distance = KDTree(sample.points).query(positions(some, metric))[0]
    distance = distance[distance > 0]

    def rehearse(usual: float, tests: int, turn: int) -> HoldOut:
        wide = distance[distance > WIDE * usual]
        return ball_holdout(sample.points, wide, tests, _SURROUNDING, np.random.default_rng([seed, turn]))

    return choose(sample, settings, seed, Task(distance, rehearse))


def fit_grid(
    blocks: NDArray[np.floating] | Sequence[Block],
    spacing: tuple[float, float],
    *,
    seed: int,
    trend: Trend = "constant",
    settings: Settings | None = None,
) -> Fit:
    """Fit a covariance to the observed pixels of a raster, for its missing ones.

    Parameters
    ----------
    blocks : the raster (H, W), NaN where not observed, or some windows of it if it is large; each should be
        several times as wide as the gaps. Where the mean follows covariates, or errors are stated, windows that
        carry them.
    spacing : from a pixel to the next, (down, across); down is negative where y points up. Angles of the
        result are measured in these coordinates.
    seed : of the sampling, the ordering and the placing of gaps.
    trend, settings : as in `fit_covariance`.

    Returns
    -------
    Fit
        See `fit_covariance`. Gaps are rehearsed with their own shapes.

    Raises
    ------
    InputError, UsageError
        As in `fit_covariance`.
    """
    pieces = [Block(0, 0, blocks)] if isinstance(blocks, np.ndarray) else list(blocks)
    if not pieces or any(b.values.ndim != 2 for b in pieces):
        raise InputError(
            f"a raster is (H, W), got {[b.values.shape for b in pieces]}; give one band at a time"
        )
    if not all(math.isfinite(d) and d != 0 for d in spacing):
        raise UsageError(f"spacing is the distance between pixels (down, across), not zero, got {spacing}")
    seen = [np.isfinite(b.values) for b in pieces]
    places = [np.argwhere(m) + np.array([b.row, b.col]) for b, m in zip(pieces, seen, strict=True)]
    coords = np.concatenate(places) * np.array(spacing)
    values = np.concatenate([np.asarray(b.values[m], np.float64) for b, m in zip(pieces, seen, strict=True)])
    covariates = [b.drift[:, m].T for b, m in zip(pieces, seen, strict=True) if b.drift is not None]
    drift = np.concatenate(covariates).astype(np.float64) if covariates else None
    stated = [b.errors[m] for b, m in zip(pieces, seen, strict=True) if b.errors is not None]
    errors = np.concatenate(stated).astype(np.float64) if stated else None
    sample = Sample.checked(coords, values, trend, drift, "euclidean", errors)
    pixel = (abs(spacing[0]), abs(spacing[1]))
    parts = []
    start = 0
    for mask in seen:
        index = np.full(mask.shape, -1, np.int64)
        index[mask] = np.arange(start, start + mask.sum())
        start += int(mask.sum())
        if mask.any() and not mask.all():
            parts.append((mask, index))
    distance = [distance_transform_edt(~m, sampling=pixel)[~m] for m, _ in parts]

    def rehearse(usual: float, tests: int, turn: int) -> HoldOut:
        rng = np.random.default_rng([seed, turn])
        each = max(1, tests // len(parts))
        found = [
            gap_holdout(
                m, i, sample.points, pixel, usual, each, _SURROUNDING, rng, rounds=-(-_ROUNDS // len(parts))
            )
            for m, i in parts
        ]
        if sum(map(len, found)) >= _FEWEST_TESTS:
            return merge(found, [len(f) for f in found])
        # Gaps that cannot be laid anywhere else (between parallel lines) are rehearsed as circles.
        wide = np.concatenate(distance)
        return ball_holdout(sample.points, wide[wide > WIDE * usual], tests, _SURROUNDING, rng)

    task = Task(np.concatenate(distance), rehearse) if parts else None
    return choose(sample, settings or Settings(), seed, task)
