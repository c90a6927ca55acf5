"""Scores of a completion, in float64.

Every function takes arrays of one shape: the truth, the predicted mean, and for probabilistic scores the
predicted variance of a normal distribution. Units are those of the field, squared for none.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, ndtri
from skimage.metrics import structural_similarity

from geonp.errors import InputError, UsageError

Array = NDArray[np.float64]

_SSIM_WINDOW = 7


def rmse(truth: ArrayLike, mean: ArrayLike) -> float:
    """Return the root mean squared error."""
    return math.sqrt(np.mean(_error(truth, mean) ** 2))


def mae(truth: ArrayLike, mean: ArrayLike) -> float:
    """Return the mean absolute error."""
    return float(np.mean(np.abs(_error(truth, mean))))


def bias(truth: ArrayLike, mean: ArrayLike) -> float:
    """Return the mean error, prediction minus truth."""
    return float(np.mean(-_error(truth, mean)))


def psnr(truth: ArrayLike, mean: ArrayLike, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB, 20 log10(data_range / RMSE); inf without error."""
    error = rmse(truth, mean)
    return math.inf if error == 0 else 20 * math.log10(data_range / error) if data_range > 0 else -math.inf


def ssim(
    truth: ArrayLike, mean: ArrayLike, data_range: float, where: ArrayLike | None = None
) -> float | None:
    """Return the mean structural similarity of two images (scikit-image, uniform windows of 7 x 7).

    Parameters
    ----------
    truth, mean : (y, x) or (band, y, x). Where one is unknown (NaN) the other stands in for it.
    where : of the same shape or (y, x): the pixels whose windows are averaged; all of them by default.
        Windows that reach over the edge are left out, as in scikit-image.

    Returns
    -------
    None where no whole window fits, or the range is not positive.

    References
    ----------
    Wang et al. (2004), Image quality assessment: from error visibility to structural similarity, eq. 13.
    """
    a, b = np.asarray(truth, np.float64), np.asarray(mean, np.float64)
    chosen = np.broadcast_to(np.ones(a.shape, bool) if where is None else np.asarray(where, bool), a.shape)
    if min(a.shape[-2:]) < _SSIM_WINDOW or not data_range > 0:
        return None
    margin = _SSIM_WINDOW // 2
    inside = np.zeros(a.shape, bool)
    inside[..., margin:-margin, margin:-margin] = True
    inside &= chosen
    if not inside.any():
        return None
    # A NaN would spread along its whole row in the running sums of the filter.
    a, b = np.where(np.isfinite(a), a, b), np.where(np.isfinite(b), b, a)
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    axis = 0 if a.ndim == 3 else None
    _, similarity = structural_similarity(
        a, b, win_size=_SSIM_WINDOW, data_range=data_range, channel_axis=axis, full=True
    )
    return float(similarity[inside].mean())


def nll(truth: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> float:
    """Return the mean negative log density of a normal distribution, in nats.

    0.5 log(2 pi v) + (truth - mean)^2 / (2 v). With a variance of 0, plus or minus infinity: wrong or right.
    """
    v, error = _variance(variance), _error(truth, mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.log(v) + error**2 / v
    certain = v == 0
    if certain.any():
        score = np.where(certain, np.where(error == 0, -np.inf, np.inf), score)
    return 0.5 * (math.log(2 * math.pi) + float(np.mean(score)))


def crps(truth: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> float:
    """Return the mean continuous ranked probability score of a normal distribution; see `crps_of_each`."""
    return float(np.mean(crps_of_each(truth, mean, variance)))


def crps_of_each(truth: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> Array:
    """Return the continuous ranked probability score of every value, in an array of their shape.

    s [z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)] with z = (truth - mean) / s; the absolute error for s = 0.
    2 Phi(z) - 1 is erf(z / sqrt(2)).

    References
    ----------
    Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, eq. 21.
    """
    std, error = np.sqrt(_variance(variance)), _error(truth, mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = error / (math.sqrt(2) * std)
    score = error * erf(x) + std * (math.sqrt(2 / math.pi) * np.exp(-(x**2)) - 1 / math.sqrt(math.pi))
    certain = std == 0
    return np.asarray(np.where(certain, np.abs(error), score) if certain.any() else score)


def coverage(truth: ArrayLike, mean: ArrayLike, variance: ArrayLike, level: float) -> float:
    """Return the share of the truth inside the central interval of `level` (0.9 for 90 %), ends included."""
    half = _quantile(level) * np.sqrt(_variance(variance))
    return float(np.mean(np.abs(_error(truth, mean)) <= half))


def interval_score(truth: ArrayLike, mean: ArrayLike, variance: ArrayLike, level: float) -> float:
    """Return the mean score of the central interval of `level`: its width plus 2 / (1 - level) x the miss.

    References
    ----------
    Gneiting and Raftery (2007), eq. 43.
    """
    half = _quantile(level) * np.sqrt(_variance(variance))
    miss = np.maximum(np.abs(_error(truth, mean)) - half, 0)
    return float(np.mean(2 * half + 2 / (1 - level) * miss))


def standardised_rmse(truth: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> float:
    """Return the root mean square of (truth - mean) / std: 1 where deviations are as large as they claim."""
    return math.sqrt(np.mean(_standardised(truth, mean, _variance(variance)) ** 2))


@dataclass(frozen=True, slots=True)
class Scores:
    """What a completion scores on `count` values. What needs a variance is None where there is none."""

    count: int
    rmse: float
    mae: float
    bias: float
    psnr: float
    ssim: float | None = None
    nll: float | None = None
    crps: float | None = None
    coverage50: float | None = None
    coverage90: float | None = None
    coverage95: float | None = None
    interval_score90: float | None = None
    standardised_rmse: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return the scores by name, in the order of a table."""
        return asdict(self)


def score(
    truth: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike | None,
    where: ArrayLike,
    data_range: float | None = None,
) -> Scores:
    """Score a completed field.

    Parameters
    ----------
    truth, mean, variance : (y, x) or (band, y, x); the truth is NaN where unknown. A method without a
        variance gives None.
    where : of the same shape or (y, x): the pixels to score, such as those held out. Unknown truth is
        never scored.
    data_range : peak of PSNR and SSIM; by default the range of the known truth of the whole image.

    Raises
    ------
    InputError
        If there is nothing to score, or a scored prediction is not finite.
    """
    truth, mean = np.asarray(truth, np.float64), np.asarray(mean, np.float64)
    known = np.isfinite(truth)
    chosen = np.broadcast_to(np.asarray(where, bool), truth.shape) & known
    if not chosen.any():
        raise InputError("no known pixel was chosen to be scored")
    t, m = truth[chosen], mean[chosen]
    if not np.isfinite(m).all():
        raise InputError(
            f"{int((~np.isfinite(m)).sum())} of {m.size} predictions to be scored are not finite"
        )
    peak = float(np.ptp(truth[known])) if data_range is None else data_range
    scores = Scores(
        count=t.size,
        rmse=rmse(t, m),
        mae=mae(t, m),
        bias=bias(t, m),
        psnr=psnr(t, m, peak),
        ssim=ssim(truth, mean, peak, chosen),
    )
    if variance is None:
        return scores
    v = np.asarray(variance, np.float64)[chosen]
    return replace(
        scores,
        nll=nll(t, m, v),
        crps=crps(t, m, v),
        coverage50=coverage(t, m, v, 0.5),
        coverage90=coverage(t, m, v, 0.9),
        coverage95=coverage(t, m, v, 0.95),
        interval_score90=interval_score(t, m, v, 0.9),
        standardised_rmse=standardised_rmse(t, m, v),
    )


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of geometric means with its bootstrap interval; NaN bounds where one block alone was scored."""

    value: float
    low: float
    high: float
    pairs: int


def geometric_ratio(
    scores: ArrayLike,
    reference: ArrayLike,
    rng: np.random.Generator,
    blocks: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> Ratio:
    """Return the geometric mean of `scores` / `reference` over paired crops, with a block bootstrap interval.

    Parameters
    ----------
    scores, reference : (n,), not negative: what two methods scored on the same crops. Two zeros are a tie;
        pairs with one zero or a value that is not finite have no ratio and are left out.
    blocks : (n,) labels; crops of one block (one raster, say) are drawn together, as they are not
        independent. Each crop is its own block by default.

    Raises
    ------
    InputError
        If no pair of scores can be compared.

    References
    ----------
    Efron and Tibshirani (1993), An introduction to the bootstrap, ch. 8 and 13 (percentile interval).
    """
    a, b = np.atleast_1d(np.asarray(scores, np.float64)), np.atleast_1d(np.asarray(reference, np.float64))
    label = np.arange(a.size) if blocks is None else np.asarray(blocks)
    tie = (a == 0) & (b == 0)
    usable = tie | ((a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b))
    if not usable.any():
        raise InputError("no pair of positive scores to compare")
    a, b, label = np.where(tie, 1.0, a)[usable], np.where(tie, 1.0, b)[usable], label[usable]
    logs = np.log(a) - np.log(b)
    _, block = np.unique(label, return_inverse=True)
    count, total = np.bincount(block), np.bincount(block, logs)
    value = math.exp(logs.mean())
    if count.size < 2:
        return Ratio(value, math.nan, math.nan, logs.size)
    drawn = rng.integers(count.size, size=(resamples, count.size))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.exp(np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
    return Ratio(value, float(low), float(high), logs.size)


def _error(truth: ArrayLike, mean: ArrayLike) -> Array:
    return np.asarray(truth, np.float64) - np.asarray(mean, np.float64)


def _variance(variance: ArrayLike) -> Array:
    v = np.asarray(variance, np.float64)
    if (v < 0).any():
        raise InputError(f"a variance cannot be negative; the least is {v.min()}")
    return v


def _standardised(truth: ArrayLike, mean: ArrayLike, variance: Array) -> Array:
    """Return errors in units of their deviation; no error is 0 of any deviation."""
    error, std = _error(truth, mean), np.sqrt(variance)
    with np.errstate(divide="ignore"):
        return np.divide(error, std, out=np.zeros(np.broadcast(error, std).shape), where=error != 0)


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"a level of {level} is not between 0 and 1; give 0.9 for 90 %")
    return float(ndtri((1 + level) / 2))
