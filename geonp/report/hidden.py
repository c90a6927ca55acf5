"""What a method says of pixels that it was not shown, and how that compares with what was there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from scipy.special import ndtr

from geonp.errors import InputError, MethodError

Array = NDArray[np.float64]

_FEWEST = 20
"""Values in a class of distance."""


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """Hidden values of one band beside what a method predicts there.

    Parameters
    ----------
    method : its name.
    truth, mean : (n,), in the units of the field.
    variance : (n,), or None where the method has none.
    distance : (n,), metres to the nearest pixel that was seen; infinite where none was.
    row, col : (n,), where in the raster.
    """

    method: str
    truth: Array
    mean: Array
    variance: Array | None
    distance: Array
    row: NDArray[np.int64] = field(repr=False)
    col: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(
        cls,
        method: str,
        truth: ArrayLike,
        mean: ArrayLike,
        variance: ArrayLike | None,
        seen: ArrayLike,
        hidden: ArrayLike,
        spacing: tuple[float, float],
        origin: tuple[int, int] = (0, 0),
    ) -> Hidden:
        """Pick the hidden pixels out of rasters.

        Parameters
        ----------
        truth, mean, variance : (y, x); the variance is None where there is none.
        seen, hidden : (y, x), True where the method saw a value, and where it is asked for one.
        spacing : pixel size (dy, dx) in metres.
        origin : row and column of the first pixel in the raster.

        Raises
        ------
        InputError
            If no value is known at a hidden pixel, or a prediction there is not finite.
        """
        there = np.asarray(truth, np.float64)
        chosen = np.asarray(hidden, bool) & np.isfinite(there)
        if not chosen.any():
            raise InputError("no value is known at a hidden pixel; there is nothing to compare with")
        predicted = np.asarray(mean, np.float64)[chosen]
        if not np.isfinite(predicted).all():
            raise InputError(
                f"{int((~np.isfinite(predicted)).sum())} predictions of hidden pixels are not finite"
            )
        row, col = np.nonzero(chosen)
        return cls(
            method,
            there[chosen],
            predicted,
            None if variance is None else np.asarray(variance, np.float64)[chosen],
            distance_to_seen(seen, spacing)[chosen],
            row + origin[0],
            col + origin[1],
        )

    @classmethod
    def join(cls, parts: Sequence[Hidden]) -> Hidden:
        """Put the parts together that one method says in several windows."""
        known = [part.variance for part in parts if part.variance is not None]
        return cls(
            parts[0].method,
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.mean for part in parts]),
            np.concatenate(known) if len(known) == len(parts) else None,
            np.concatenate([part.distance for part in parts]),
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.col for part in parts]),
        )

    def __len__(self) -> int:
        return self.truth.size

    @property
    def error(self) -> Array:
        """Prediction minus truth."""
        return self.mean - self.truth

    @property
    def std(self) -> Array:
        """Standard deviations.

        Raises
        ------
        MethodError
            If the method has no variance.
        """
        if self.variance is None:
            raise MethodError(
                f"method '{self.method}' gives no variance: it cannot be checked against its errors"
            )
        return np.sqrt(self.variance)

    @property
    def standardised(self) -> Array:
        """(truth - mean) / std; 0 where both error and deviation are 0."""
        rest, std = self.truth - self.mean, self.std
        with np.errstate(divide="ignore"):
            return np.divide(rest, std, out=np.zeros_like(rest), where=rest != 0)

    @property
    def pit(self) -> Array:
        """Probability integral transform: the predicted chance of a value below the true one.

        Uniform between 0 and 1 where the predictive distributions are right (Gneiting, Balabdaoui and Raftery
        2007, Probabilistic forecasts, calibration and sharpness, section 3.1).
        """
        return np.asarray(ndtr(self.standardised))

    def coverage(self, levels: ArrayLike) -> Array:
        """Return, for each level, the share of the truth inside the central interval of that probability."""
        inside = np.sort(np.abs(2 * self.pit - 1))
        # What a rounding puts a hair outside of an interval of probability 1 is inside.
        return np.searchsorted(inside, np.asarray(levels, np.float64), side="right") / inside.size

    def sample(self, most: int, seed: int = 0) -> NDArray[np.int64]:
        """Return the indices of at most `most` values, drawn at random and in order."""
        return np.sort(np.random.default_rng(seed).permutation(len(self))[:most])

    def by_distance(self, classes: int = 10) -> ByDistance:
        """Return errors in classes of distance to the nearest observation that hold as many values each.

        There are fewer classes than asked for where one would hold less than 20 values; values at one distance
        stay in one class.
        """
        return ByDistance.of(self, max(1, min(classes, len(self) // _FEWEST)))


@dataclass(frozen=True, slots=True, eq=False)
class ByDistance:
    """Errors in classes of distance to the nearest observation.

    Parameters
    ----------
    distance : (k,), mean of each class, in metres.
    count : (k,), values in each.
    rmse : (k,), root mean squared error.
    std : (k,), root of the mean predicted variance; None where the method has none.
    """

    distance: Array
    count: NDArray[np.int64]
    rmse: Array
    std: Array | None

    @classmethod
    def of(cls, hidden: Hidden, classes: int) -> ByDistance:
        """See `Hidden.by_distance`."""
        known = np.isfinite(hidden.distance)
        away, error = hidden.distance[known], hidden.error[known]
        if not away.size:
            return cls(np.empty(0), np.empty(0, np.int64), np.empty(0), None)
        edges = np.unique(np.quantile(away, np.linspace(0, 1, classes + 1)[1:-1], method="lower"))
        label = np.searchsorted(edges, away, side="left")
        _, label = np.unique(label, return_inverse=True)
        count = np.bincount(label)
        std = None
        if hidden.variance is not None:
            std = np.sqrt(np.bincount(label, hidden.variance[known]) / count)
        return cls(
            np.bincount(label, away) / count, count, np.sqrt(np.bincount(label, error**2) / count), std
        )


def distance_to_seen(seen: ArrayLike, spacing: tuple[float, float]) -> Array:
    """Return the distance of every pixel (y, x) to the nearest one that is seen, in metres; inf without any."""
    known = np.asarray(seen, bool)
    if not known.any():
        return np.full(known.shape, math.inf)
    return np.asarray(distance_transform_edt(~known, sampling=spacing))
