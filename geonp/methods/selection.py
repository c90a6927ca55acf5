"""Which covariates help? Asked of the survey itself, before they are used.

Observed pixels are hidden as the missing ones are: singly, each told by its neighbours, and, where the survey
has gaps, in circles that reach as far as those. They are told by regression kriging with and without covariates.
What does not lower the CRPS of either kind by more than chance would (nineteen times in twenty), or by as much raises
that of both together, each counted as its share of the missing pixels, is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from geonp.covariates import Laid
from geonp.errors import InputError
from geonp.field import steps
from geonp.kriging.holdout import WIDE, HoldOut, ball_holdout, near_holdout, score, spacing_of
from geonp.kriging.survey import Block
from geonp.methods.errors import Errors, Stated
from geonp.methods.kriging import sampled
from geonp.methods.policy import Policy
from geonp.methods.regression import Sample, Trend

Array = NDArray[np.float64]
_FEWEST = 20
"""Observations below which nobody can tell whether a covariate helps."""
_TESTS, _NEIGHBOURS = 800, 32
_MOST_BANDS = 3
_FOLDS, _LEARNT = 5, 800
_CHANCE = 1.96
"""Standard errors that a gain must reach: in one of two kinds of trials chance does so once in twenty times."""
_USELESS = "does not help on hidden observations"
_TOLD = 1e-6
"""Part of a covariate's variance that the others must leave."""


@dataclass(frozen=True)
class Selection:
    """Which covariates are used, and why the others are not.

    Parameters
    ----------
    used : numbers of those that are, from 0.
    dropped : label and reason of each of the others.
    hidden : observations that were hidden and told, all bands together.
    without, beside : mean CRPS on them without covariates and with those used, in deviations of each band; NaN
        where nothing was tried.
    """

    used: tuple[int, ...]
    dropped: tuple[tuple[str, str], ...] = ()
    hidden: int = 0
    without: float = math.nan
    beside: float = math.nan

    @property
    def gain(self) -> float:
        """Part of the CRPS that the covariates take away."""
        return 1 - self.beside / self.without


def select(
    field: xr.DataArray, laid: Laid, policy: Policy, seed: int, errors: Stated | None = None
) -> Selection:
    """Return which covariates to use for a field, which is observed only where all of them are known.

    Where `errors` of the observations are stated, those that err more count less, the hidden ones too.

    Under `auto`, all are tried together; then the one without which observations are told best is left out, as
    long as it does not help by more than chance; last, those left must beat none in the same way.

    Raises
    ------
    InputError
        Under `always`, if a covariate is constant at the observations or follows from the others, or there are
        too few observations for coefficients.
    """
    bands = field.sizes["band"]
    chosen = np.unique(np.linspace(0, bands - 1, min(bands, _MOST_BANDS)).round().astype(int))
    measured = None if errors is None else Errors.of(errors, field)
    pieces = [sampled(field, int(band), seed, laid, measured) for band in chosen]
    samples = [Sample.of(blocks, steps(field)) for blocks in pieces]
    most = max(map(len, samples))
    count = len(laid.labels)
    useless = _useless(max(samples, key=len), laid.labels)
    if policy == "always":
        if useless:
            raise InputError(f"the covariate {useless[0][0]} {useless[0][1]}; leave it out")
        if most < count + 2:
            raise InputError(
                f"{most} observations where the covariates are known are too few for the coefficients of {count}; "
                "give fewer covariates"
            )
        return Selection(tuple(range(count)))
    if most < max(_FEWEST, 4 * (count + 1)):
        reason = f"cannot be tried on {most} observations"
        return Selection((), tuple((label, reason) for label in laid.labels))
    rivals = [
        _Rivals(s, _hidden(s, blocks, steps(field), seed), seed)
        for s, blocks in zip(samples, pieces, strict=True)
        if len(s) >= _FEWEST and np.ptp(s.values) > 0
    ]
    bad = {label for label, _ in useless}
    start = tuple(i for i in range(count) if laid.labels[i] not in bad)
    return _chosen(rivals, start, laid.labels, useless)


def _chosen(
    rivals: Sequence[_Rivals],
    start: tuple[int, ...],
    labels: Sequence[str],
    useless: Sequence[tuple[str, str]],
) -> Selection:
    """Leave out covariates one by one as long as they do not help."""
    used, dropped = start, list(useless)
    while used:
        fewer = {out: tuple(i for i in used if i != out) for out in used}
        help_ = {out: _help(rivals, left, used) for out, left in fewer.items()}
        least = min(used, key=lambda out: help_[out])
        if help_[least] > _CHANCE:
            break
        dropped.append((labels[least], _USELESS))
        used = fewer[least]
    if used and _help(rivals, (), used) <= _CHANCE:
        dropped += [(labels[i], _USELESS) for i in used]
        used = ()
    best = used or start
    without, beside = (
        float(np.mean([r.mean(c) / r.spread for r in rivals])) if rivals else math.nan for c in ((), best)
    )
    return Selection(used, tuple(dropped), sum(len(r) for r in rivals), without, beside)


@dataclass(frozen=True)
class _Hidden:
    """Observations to be told, by kind (from neighbours; across gaps), and the share of missing pixels of each."""

    kinds: tuple[HoldOut, ...]
    shares: tuple[float, ...]


class _Rivals:
    """Regression kriging of one band with any of its covariates, tried on hidden observations."""

    def __init__(self, sample: Sample, hidden: _Hidden, seed: int) -> None:
        self.sample, self.hidden, self.seed = sample, hidden, seed
        self.spread = float(sample.values.std())
        self._known: dict[tuple[int, ...], tuple[Array, ...]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.hidden.kinds))

    def mean(self, covariates: tuple[int, ...]) -> float:
        """Return the mean CRPS with some of the covariates, each kind counted as its share of the pixels."""
        told = zip(self.hidden.shares, self.crps(covariates), self.hidden.kinds, strict=True)
        return float(sum(share * (crps @ kind.weight) for share, crps, kind in told))

    def crps(self, covariates: tuple[int, ...]) -> tuple[Array, ...]:
        """Return the CRPS of every hidden observation with some of the covariates, by kind."""
        if covariates not in self._known:
            whole = self.sample
            s = replace(whole, columns=whole.columns[:, list(covariates)])
            covariance = s.covariance(self.seed)
            found = tuple(np.empty(len(kind)) for kind in self.hidden.kinds)
            # Coefficients are never learnt from what is told with them: each fifth is told by the others'.
            order = np.random.default_rng([self.seed, 7]).permutation(len(s))
            fold = order % _FOLDS
            for turn in range(_FOLDS):
                learnt = order[fold[order] != turn][:_LEARNT]
                rest = s.values - s.columns @ Trend.given(covariance, s.only(learnt)).slopes
                for kind, out in zip(self.hidden.kinds, found, strict=True):
                    told = fold[kind.sets[:, -1]] == turn
                    if told.any():
                        out[told] = score(covariance, s.coords, rest, _part(kind, told), s.errors).crps
            self._known[covariates] = found
        return self._known[covariates]


def _part(hidden: HoldOut, chosen: NDArray[np.bool_]) -> HoldOut:
    return HoldOut(*(getattr(hidden, f.name)[chosen] for f in fields(HoldOut)))


def _help(rivals: Sequence[_Rivals], one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return by how many standard errors `other` has the lower mean CRPS.

    It is the more convincing of the two kinds of hidden observations that counts, unless over all missing
    pixels, each kind counted as its share of them, `other` harms by more than chance; a gap counts as one observation.
    """
    found = []
    total, uncertain = 0.0, 0.0
    for kind in range(max((len(r.hidden.kinds) for r in rivals), default=0)):
        means, variances = [], []
        for r in rivals:
            if kind >= len(r.hidden.kinds):
                continue
            hidden = r.hidden.kinds[kind]
            difference = (r.crps(one)[kind] - r.crps(other)[kind]) / r.spread
            mean = float(difference @ hidden.weight)
            by_gap = np.bincount(hidden.group, hidden.weight * (difference - mean))
            means.append(mean)
            variances.append(float((by_gap**2).sum()))
            total += r.hidden.shares[kind] * mean
            uncertain += r.hidden.shares[kind] ** 2 * variances[-1]
        found.append(sum(means) / max(math.sqrt(sum(variances)), 1e-300))
    if not found:
        return 0.0
    harms = total < -_CHANCE * math.sqrt(uncertain)
    return min(found) if harms else max(found)


def _hidden(sample: Sample, blocks: Sequence[Block], step: tuple[float, float], seed: int) -> _Hidden:
    """Return observations to be told as missing pixels will be: from neighbours, and across the survey's gaps."""
    rng = np.random.default_rng([seed, 6])
    told = rng.permutation(len(sample))
    usual = float(np.median(spacing_of(KDTree(sample.coords), sample.coords[told[:5000]])))
    pixel = (abs(step[0]), abs(step[1]))
    seen = [np.isfinite(b.values) for b in blocks]
    away = np.concatenate([distance_transform_edt(~m, sampling=pixel)[~m] for m in seen if m.any()])
    wide = away[away > WIDE * usual]
    near = near_holdout(sample.coords, told[:_TESTS], _NEIGHBOURS)
    if not wide.size:
        return _Hidden((near,), (1.0,))
    gaps = ball_holdout(sample.coords, rng.choice(wide, min(wide.size, 20_000)), _TESTS, _NEIGHBOURS, rng)
    if len(gaps) < _FEWEST:
        return _Hidden((near,), (1.0,))
    share = wide.size / away.size
    return _Hidden((near, gaps), (1 - share, share))


def _useless(sample: Sample, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return the covariates that are constant at the observations, or follow from those before them."""
    centred = sample.columns - sample.columns.mean(0)
    size = np.linalg.norm(centred, axis=0)
    flat = size <= 1e-6 * np.maximum(np.abs(sample.columns).max(0), 1e-300) * math.sqrt(len(sample))
    found = [(labels[i], "is constant at the observations") for i in np.flatnonzero(flat).tolist()]
    kept: list[Array] = []
    for i in np.flatnonzero(~flat).tolist():
        left = centred[:, i] / size[i]
        for basis in kept:
            left = left - (left @ basis) * basis
        if (length := float(np.linalg.norm(left))) ** 2 <= _TOLD:
            found.append((labels[i], "follows from the other covariates"))
        else:
            kept.append(left / length)
    return found
