"""Is the network better than kriging here, and are its deviations right? Asked of the survey itself.

Some observed pixels are hidden: single ones, and, where the survey has gaps, those that its own gaps cover when
they are laid elsewhere. Kriging and the network predict them from the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from geonp.kriging.board import Pixels
from geonp.kriging.evidence import gather
from geonp.kriging.features import Kriged
from geonp.kriging.holdout import Gaps, alike, gap_regions
from geonp.kriging.raster import RasterKriging
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey
from geonp.masks import HoldOut, Mask, hold_out
from geonp.methods.beside import Rehearsal
from geonp.methods.calibration import UNCALIBRATED, Calibration
from geonp.methods.correction import Correction
from geonp.models.kriged import crps

Array = NDArray[np.float64]

_HIDDEN = 0.12
_ROUNDS, _ROUNDS_LARGE = 4, 2
_LARGE = 128 * 128
_FEWEST_TO_JUDGE = 30
_GAPPY = 0.05
_PIXELS = (1.0, 1.0)
_LEAST_OBSERVED = 12


@dataclass(frozen=True, slots=True)
class Hidden:
    """Observations of a window that are hidden together.

    Parameters
    ----------
    held : (rows, columns), True where hidden.
    judged : the part of them that predictions are judged on: as far from data as what is missing.
    group : from 1, by which gap each was hidden, 0 where none was; errors in one gap are not independent.
    """

    held: Mask
    judged: Mask
    group: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial found.

    Parameters
    ----------
    network : whether the network answers.
    calibration : by what the network's deviations are multiplied.
    hidden : observations that were hidden and predicted.
    network_crps, kriging_crps : mean scores on them, in the units of the field; NaN where none was hidden.
    """

    network: bool = True
    calibration: Calibration = UNCALIBRATED
    hidden: int = 0
    network_crps: float = math.nan
    kriging_crps: float = math.nan

    def report(self) -> dict[str, float | int]:
        """Return the figures for the outputs' tags."""
        if not self.hidden:
            return {"hidden": 0}
        return {
            "hidden": self.hidden,
            "network_crps": float(f"{self.network_crps:.6g}"),
            "kriging_crps": float(f"{self.kriging_crps:.6g}"),
        }


@dataclass(frozen=True)
class Trial:
    """How a network is tried against the kriging that it corrects, on bands that it completes together.

    Parameters
    ----------
    solvers : kriging's covariance of each band, and how it is solved.
    correction : the network.
    centres : near each band's mean.
    insist : let the network answer whatever comes out.
    calibrate : whether deviations are scaled.
    seed : of which observations are hidden.
    rivals : as `solvers`, of the kriging that would answer alone; None where that is the one that is corrected.
    """

    solvers: tuple[Solver, ...]
    correction: Correction
    centres: tuple[float, ...]
    insist: bool
    calibrate: bool
    seed: int
    rivals: tuple[Solver, ...] | None = None

    def judge(
        self,
        samples: Sequence[NDArray[np.float32]],
        spacing: tuple[float, float],
        errors: Sequence[NDArray[np.float32] | None] | None = None,
        beside: Sequence[Rehearsal] | None = None,
    ) -> Verdict:
        """Return the verdict on some windows (band, rows, columns), NaN where not observed.

        `errors` are the error variances of the observations, where they are stated: what is hidden is then predicted
        with its error on top. `beside` are the windows of the covariates that the network reads.

        Notes
        -----
        Kriging is preferred where its mean CRPS is lower by more than one standard error of the paired
        differences, gaps taken as a whole. Deviations are calibrated by distance where gaps were laid.
        """
        if self.insist and not self.calibrate:
            return Verdict()
        parts: list[Array] = []
        groups: list[NDArray[np.int64]] = []
        graded = False
        for number, values in enumerate(samples):
            rng = np.random.default_rng([self.seed, 2, number])
            own = None if errors is None else errors[number]
            shown = None if beside is None else beside[number]
            for one in hidden(observed_together(values), rng):
                parts.append(self._predict(values, one, spacing, own, shown))
                first = 1 + max((int(group.max()) for group in groups), default=0)
                groups.append(first + np.tile(_numbered(one.group[one.judged]), len(values)))
                graded |= bool(one.group.any())
        if not parts:
            return Verdict()
        truth, mean, std, network_mean, network_std, off, away = np.concatenate(parts, 1)
        group = np.concatenate(groups)

        def calibrated(mean: Array, std: Array) -> tuple[Calibration, Array]:
            """Return how deviations are calibrated, and the scores then."""
            found = UNCALIBRATED
            if self.calibrate:
                found = Calibration.learnt(np.abs(truth - mean) / np.hypot(std, off), away, group, graded)
            return found, scores(truth, mean, np.hypot(std * found.at(away), off))

        # By the same rule for both, so that it is their means and patterns that are compared.
        calibration, ours = calibrated(network_mean, network_std)
        _, theirs = calibrated(mean, std)
        worse = ours - theirs
        margin = standard_error(worse, group)
        lost = len(worse) >= _FEWEST_TO_JUDGE and worse.mean() > margin
        network = self.insist or not lost
        return Verdict(network, calibration, len(worse), float(ours.mean()), float(theirs.mean()))

    def _predict(
        self,
        values: NDArray[np.float32],
        one: Hidden,
        spacing: tuple[float, float],
        errors: NDArray[np.float32] | None,
        beside: Rehearsal | None,
    ) -> Array:
        """Return what there is to tell of judged observations, (7, n).

        The truth, kriging's mean and deviation, the network's, the deviation of the observation's own error, and the
        distance from what was not hidden.
        """
        told = predict_held(
            self.correction, self.solvers, self.centres, values, one.held, spacing, errors, beside
        )
        if self.rivals is not None:
            told[1:3] = krige_held(self.rivals, self.centres, values, one.held, spacing, errors)
        off = np.zeros_like(told[0]) if errors is None else np.sqrt(errors[:, one.held].astype(np.float64))
        left = np.isfinite(values).all(0) & ~one.held
        away = np.broadcast_to(distance_transform_edt(~left)[one.held], off.shape)
        return np.concatenate([told, off[None], away[None]])[:, :, one.judged[one.held]].reshape(7, -1)


def predict_held(
    correction: Correction,
    solvers: Sequence[Solver],
    centres: Sequence[float],
    values: NDArray[np.float32],
    held: Mask,
    spacing: tuple[float, float],
    errors: NDArray[np.float32] | None = None,
    beside: Rehearsal | None = None,
) -> Array:
    """Return truth, kriging's mean and deviation, and the network's, of held observations, (5, C, n).

    Parameters are those of `rehearse`, and the covariates of the window, for a network that reads some; means are
    relative to the centres.
    """
    told = rehearse(solvers, centres, values, held, spacing, correction.stride, errors)
    noise = [solver.covariance.nugget**0.5 for solver in solvers]
    shown = None
    if beside is not None:
        observed = np.isfinite(values).all(0) & ~held
        shown = beside.shown(observed, solvers[0], spacing, correction.stride)
    shift, factor = correction(told, noise, spacing, shown)
    rows, cols = np.nonzero(held)
    layers = (told.mean[:, 0], told.std[:, 0], shift.cpu(), factor.cpu())
    mean, std, moved, scaled = (a[:, rows, cols].double().numpy() for a in layers)
    truth = values[:, rows, cols].astype(np.float64) - np.array(centres)[:, None]
    return np.stack([truth, mean, std, mean + moved * std, std * scaled])


def krige_held(
    solvers: Sequence[Solver],
    centres: Sequence[float],
    values: NDArray[np.float32],
    held: Mask,
    spacing: tuple[float, float],
    errors: NDArray[np.float32] | None = None,
) -> Array:
    """Return mean (relative to the centres) and deviation of held observations by kriging alone, (2, C, n).

    Parameters are those of `rehearse`.
    """
    shape = (values.shape[1], values.shape[2])
    found = []
    for left, solver, centre in zip(_without(values, held, errors), solvers, centres, strict=True):
        kriging = RasterKriging(shape, spacing, Survey.of([left], held.size), solver)
        mean, variance = kriging.complete(left, Pixels(0, 0, *shape), spacing)
        found.append([mean[held] - centre, np.sqrt(variance[held] + solver.covariance.nugget)])
    return np.array(found).transpose(1, 0, 2)


def rehearse(
    solvers: Sequence[Solver],
    centres: Sequence[float],
    values: NDArray[np.float32],
    held: Mask,
    spacing: tuple[float, float],
    stride: int,
    errors: NDArray[np.float32] | None = None,
) -> Kriged:
    """Return what kriging says of a window (band, rows, columns) without its held observations.

    Parameters
    ----------
    solvers, centres : of each band.
    values : NaN where not observed.
    held : (rows, columns), the observations that are hidden.
    spacing : signed pixel size (dy, dx).
    stride : the canvas is a multiple of it.
    errors : (band, rows, columns), error variances of the observations; None where none are stated.
    """
    shape = (values.shape[1], values.shape[2])
    canvas = (-(-shape[0] // stride) * stride, -(-shape[1] // stride) * stride)
    left = _without(values, held, errors)
    krigings = [
        RasterKriging(shape, spacing, Survey.of([block], held.size), solver, smooth=True)
        for block, solver in zip(left, solvers, strict=True)
    ]
    return gather(krigings, left, Pixels(0, 0, *shape), spacing, centres, canvas)


def _without(values: NDArray[np.float32], held: Mask, errors: NDArray[np.float32] | None) -> list[Block]:
    """Return each band without its held observations."""
    own: Sequence[NDArray[np.float32] | None] = [None] * len(values) if errors is None else list(errors)
    return [
        Block(0, 0, np.where(held, np.float32(np.nan), band), errors=error)
        for band, error in zip(values, own, strict=True)
    ]


def hidden(values: NDArray[np.float32], rng: np.random.Generator) -> list[Hidden]:
    """Return the hold-outs of a window (rows, columns): which observed pixels to hide, round by round.

    Single pixels, and, in proportion to the missing pixels that lie far from data, what the window's own gaps
    cover when they are laid over its observations.
    """
    observed = np.isfinite(values)
    if observed.sum() < _LEAST_OBSERVED or observed.all():
        return []
    rounds = _ROUNDS if values.size <= _LARGE else _ROUNDS_LARGE
    share = _gaps(observed)
    laid = 0 if share < _GAPPY else min(max(round(rounds * share), 1), rounds)
    found = [_scattered(observed, rng) for _ in range(rounds - laid)]
    return found + [_laid(observed, rng) for _ in range(laid)]


def _scattered(observed: Mask, rng: np.random.Generator) -> Hidden:
    held = hold_out(HoldOut.RANDOM, observed, _HIDDEN, rng)
    return Hidden(held, held, np.zeros(held.shape, np.int64))


def _laid(observed: Mask, rng: np.random.Generator) -> Hidden:
    """Return what the window's gaps hide; of it, judged are pixels as far from data as those in the gaps are."""
    regions = gap_regions(observed, _PIXELS, _apart(observed))
    owner = Gaps(regions, _PIXELS).lay(observed, _HIDDEN, rng)
    held = owner > 0
    left = observed & ~held
    if not held.any() or left.sum() < _LEAST_OBSERVED:
        return _scattered(observed, rng)
    wanted = distance_transform_edt(~observed)[regions]
    away = distance_transform_edt(~left)[held]
    taken = np.zeros(away.size, bool)
    taken[alike(away, wanted, max(away.size // 3, _FEWEST_TO_JUDGE), rng)] = True
    judged = held.copy()
    judged[held] = taken
    return Hidden(held, judged, owner)


def _numbered(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return groups as numbers from 0; what belongs to none is a group of its own."""
    alone = group == 0
    return np.where(alone, group.max(initial=0) + np.cumsum(alone), group)


def standard_error(differences: Array, group: NDArray[np.int64]) -> float:
    """Return the standard error of the mean of `differences` (n,), those of a group (n,) being dependent.

    The cluster-robust estimate of Liang and Zeger (1986), Biometrika 73(1), for a mean.
    """
    sums = np.bincount(group, differences - differences.mean())
    return float(np.sqrt((sums**2).sum()) / len(differences))


def scores(truth: Array, mean: Array, std: Array) -> Array:
    """Return the CRPS of normal forecasts, elementwise."""
    return crps(*(torch.from_numpy(a) for a in (truth, mean, std))).numpy()


def gappy(values: NDArray[np.float32]) -> bool:
    """Return whether a window (rows, columns) has gaps wider than its observations are apart."""
    observed = np.isfinite(values)
    return bool(observed.any()) and not observed.all() and _gaps(observed) >= _GAPPY


def _gaps(observed: Mask) -> float:
    """Return the share of missing pixels that lie in gaps."""
    return float(gap_regions(observed, _PIXELS, _apart(observed)).sum() / (~observed).sum())


def _apart(observed: Mask) -> float:
    """Return the pixels that the observations would be apart if they were spread evenly."""
    return math.sqrt(observed.size / observed.sum())


def observed_together(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first band, NaN where any band is: what is observed together is hidden together."""
    return np.where(np.isfinite(values).all(0), values[0], np.float32(np.nan))
