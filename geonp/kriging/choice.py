"""The choice of a covariance among candidates, its reason, and what a user should be warned of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.spatial import KDTree

from geonp.errors import UsageError
from geonp.kriging.candidates import Found, Origin, Search, Settings
from geonp.kriging.conditioning import Array, Index
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.holdout import WIDE, HoldOut, Score, merge, near_holdout, score, spacing_of
from geonp.kriging.sample import FEWEST, Sample
from geonp.kriging.threads import one_thread

_TESTS, _TRAINING_TESTS = 800, 400
_FEWEST_TESTS = 20
_SURROUNDING = 32
_INTERLEAVED = 1.5
_REFITTED = 2
_EQUAL = 0.02
_TOO_FEW = 50
_UNBOUNDED = 5.0
"""Range in extents of the data beyond which the likelihood no longer tells one range from another."""
_NOISE_GAIN = 6.0
"""Log likelihood that a covariance must gain over noise: three parameters gain as much once in a hundred."""
_NORMAL_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Candidate:
    """A covariance that was considered.

    Parameters
    ----------
    name : its families, joined by " + ".
    origin : how its parameters were found.
    covariance : in units of the data.
    log_likelihood : Vecchia log likelihood of the same factors for every candidate.
    bic : Bayesian information criterion, lower is better.
    crps, rmse, coverage : on the hold-outs: mean score, root mean squared error, and the fraction of hidden
        values within their central 90 % interval; NaN where there were no hold-outs.
    """

    name: str
    origin: Origin
    covariance: Covariance
    log_likelihood: float
    bic: float
    crps: float = math.nan
    rmse: float = math.nan
    coverage: float = math.nan


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the hold-outs were like.

    Parameters
    ----------
    count : hidden observations.
    gap_share : fraction of targets that lie in gaps (further from the data than twice its spacing).
    target_distance, hidden_distance : median and largest distance to the nearest observation, of the targets
        and of the hidden observations.
    """

    count: int
    gap_share: float
    target_distance: tuple[float, float]
    hidden_distance: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted covariance and how it came about.

    Parameters
    ----------
    covariance : the one chosen.
    candidates : all that were considered, the chosen one first.
    reason : one sentence on why it was chosen.
    log_likelihood : of the chosen one.
    trend : coefficients, in units of the data: constant, then (linear) slopes by y and x, then covariates.
    alarms : what a user should know before trusting it; empty where there is nothing.
    observations : N.
    terms : factors of the likelihood that were used.
    rehearsal : what the hold-outs were like; None where targets lie among the data, or are unknown.
    """

    covariance: Covariance
    candidates: tuple[Candidate, ...]
    reason: str
    log_likelihood: float
    trend: tuple[float, ...]
    alarms: tuple[str, ...]
    observations: int
    terms: int
    rehearsal: Rehearsal | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What the covariance is for.

    Parameters
    ----------
    distance : (M,) from targets to the nearest observation.
    rehearse : hides observations as targets in gaps are hidden, given the usual spacing of the observations,
        the number to tell, and a number that varies the draw.
    """

    distance: Array
    rehearse: Callable[[float, int, int], HoldOut]


def choose(sample: Sample, settings: Settings, seed: int, task: Task | None) -> Fit:
    """Return the covariance that suits `task`: see `geonp.kriging.fit`.

    One thread does each search: systems of some dozens of observations are too small for more, and sums then do
    not depend on how many there are. Several searches run at once.
    """
    if settings.stretch is not None and sample.metric != "euclidean":
        raise UsageError(
            "an anisotropy has no fixed direction on the globe; leave it out, or project the coordinates"
        )
    simple = _fallback(sample, settings.stretch)
    if simple is not None:
        return simple
    with one_thread() as workers:
        return _choose(sample, settings, seed, task, workers)


def _choose(sample: Sample, settings: Settings, seed: int, task: Task | None, workers: int) -> Fit:
    generator = np.random.default_rng(seed)
    few = generator.permutation(len(sample.values))[:5000]
    tree = KDTree(sample.points, balanced_tree=False, compact_nodes=False)
    apart = spacing_of(tree, sample.points[few])
    usual = float(np.median(apart))
    search, found = Search.of(sample, settings, usual, generator, workers).by_likelihood()
    if task is not None and len(task.distance):
        wide = np.quantile(task.distance, 0.9) > _INTERLEAVED * np.quantile(apart, 0.9)
        share = float((task.distance > WIDE * usual).mean())
        if wide and share > 0:
            hidden = task.rehearse(usual, _TESTS, 0)
            if len(hidden) >= _FEWEST_TESTS:
                return _by_rehearsal(search, found, task, hidden, share, few)
            note = f"{share:.0%} of the targets lie in gaps that could not be rehearsed on the observations"
            return _by_criterion(search, found, (note,))
    return _by_criterion(search, found, ())


def _by_criterion(search: Search, found: Sequence[Found], notes: tuple[str, ...]) -> Fit:
    candidates = search.each(partial(_candidate, search), found)
    order = sorted(range(len(found)), key=lambda i: candidates[i].bic)
    reason = f"{candidates[order[0]].name} has the lowest Bayesian information criterion"
    return _outcome(search, [found[i] for i in order], [candidates[i] for i in order], reason, notes, None)


def _by_rehearsal(
    search: Search, found: list[Found], task: Task, hidden: HoldOut, share: float, few: Index
) -> Fit:
    sample = search.sample
    near = max(1, round(_TESTS * (1 - share)))
    told = few[:near] if share < 1 else few[:0]
    test = merge([hidden, near_holdout(sample.points, told, _SURROUNDING)], [share, 1 - share])
    gap = float(np.quantile(task.distance, 0.9))
    found = found + search.of_longer_range(gap, found)
    scores = search.each(lambda f: _score(search, f, test), found)
    training = task.rehearse(search.usual, _TRAINING_TESTS, 1)
    if len(training) >= _FEWEST_TESTS:
        best_of: dict[tuple[str, ...], Found] = {}
        for i in np.argsort([s.crps @ test.weight for s in scores]):
            best_of.setdefault(found[i].families, found[i])
        shapes = [*best_of.values()][:_REFITTED]
        again = search.each(lambda f: search.for_gaps(f, training.sets), shapes)
        found += again
        scores += search.each(lambda f: _score(search, f, test), again)
    candidates = [_candidate(search, f, s, test) for f, s in zip(found, scores, strict=True)]
    best = min(range(len(found)), key=lambda i: candidates[i].crps)
    equal = [i for i in range(len(found)) if _no_worse(scores[i], scores[best], test)]
    chosen = min(equal, key=lambda i: candidates[i].bic)
    rest = sorted((i for i in range(len(found)) if i != chosen), key=lambda i: candidates[i].crps)
    order = [chosen, *rest]
    rehearsal = Rehearsal(
        len(hidden),
        share,
        (float(np.median(task.distance)), float(task.distance.max())),
        (float(np.median(test.distance)), float(test.distance.max())),
    )
    reason = (
        f"{candidates[chosen].name} ({candidates[chosen].origin}) has the lowest Bayesian information "
        "criterion of those that told hidden observations as well as the best (CRPS "
        f"{candidates[chosen].crps:.4g} against {candidates[best].crps:.4g})"
    )
    notes: tuple[str, ...] = ()
    if np.quantile(task.distance, 0.95) > 1.5 * test.distance.max():
        notes = (
            f"gaps reach {np.quantile(task.distance, 0.95):.4g} from the data, but only "
            f"{test.distance.max():.4g} could be rehearsed: further out the deviation is a guess",
        )
    return _outcome(
        search, [found[i] for i in order], [candidates[i] for i in order], reason, notes, rehearsal
    )


def _score(search: Search, found: Found, test: HoldOut) -> Score:
    s = search.sample
    return score(found.covariance, s.coords, s.values - s.columns @ found.trend, test, s.errors)


def _no_worse(one: Score, best: Score, test: HoldOut) -> bool:
    """Return whether `one` loses to `best` by less than 2 %, or a standard error over gaps."""
    difference = one.crps - best.crps
    mean = float(difference @ test.weight)
    by_gap = np.bincount(test.group, test.weight * (difference - mean))
    return mean <= max(math.sqrt(float((by_gap**2).sum())), _EQUAL * float(best.crps @ test.weight))


def _candidate(
    search: Search, found: Found, scored: Score | None = None, test: HoldOut | None = None
) -> Candidate:
    sample, terms = search.sample, search.likelihood.terms
    value = search.log_likelihood(found) - terms * math.log(sample.scale)
    bic = found.parameters * math.log(terms) - 2 * value
    covariance = found.covariance.scaled(sample.scale**2)
    name = " + ".join(found.families)
    if scored is None or test is None:
        return Candidate(name, found.origin, covariance, value, bic)
    inside = np.abs(scored.error) <= _NORMAL_95 * scored.deviation
    return Candidate(
        name,
        found.origin,
        covariance,
        value,
        bic,
        float(scored.crps @ test.weight) * sample.scale,
        math.sqrt(float(scored.error**2 @ test.weight)) * sample.scale,
        float(inside @ test.weight),
    )


def _outcome(
    search: Search,
    found: Sequence[Found],
    candidates: Sequence[Candidate],
    reason: str,
    notes: tuple[str, ...],
    rehearsal: Rehearsal | None,
) -> Fit:
    sample, first = search.sample, candidates[0]
    gain = search.log_likelihood(found[0]) - search.of_noise
    told = alarms(first.covariance, search.usual, sample.extent, len(sample.values), sample.flat, gain)
    return Fit(
        first.covariance,
        tuple(candidates),
        reason,
        first.log_likelihood,
        sample.coefficients(found[0].trend),
        (*notes, *told),
        len(sample.values),
        search.likelihood.terms,
        rehearsal,
    )


def alarms(
    covariance: Covariance, usual: float, extent: float, count: int, flat: bool, gain: float
) -> tuple[str, ...]:
    """Return what to know before trusting a fitted covariance.

    Parameters
    ----------
    covariance : that was fitted.
    usual, extent : usual distance between neighbouring observations, and the longest side of their box.
    count : observations.
    flat : whether they all lie on one line.
    gain : log likelihood of the covariance above that of independent values.
    """
    found = []
    if count < _TOO_FEW:
        found.append(f"too few pairs: {count} observations leave the covariance uncertain (100 settle it)")
    gamma = covariance.variogram(np.array([usual]))
    bounded = [s for s in covariance.structures if s.family != "power"]
    longest = max((s.range * math.sqrt(s.ratio) for s in bounded), default=0.0)
    if gain < _NOISE_GAIN or float(gamma[0]) > 0.95 * covariance.total_sill:
        found.append(
            f"pure nugget: observations {usual:.4g} apart, the usual spacing, are hardly more alike than any "
            "others; predictions are little more than the mean"
        )
    elif longest > _UNBOUNDED * extent:
        found.append(
            f"range at a bound: {longest:.4g} against an extent of {extent:.4g}; the variogram does not level "
            "off within the data, and its sill and range mean little apart"
        )
    if flat:
        found.append("the observations lie on one line: nothing is known of the variation across it")
    return tuple(found)


def _fallback(data: Sample, stretch: tuple[float, float] | None) -> Fit | None:
    """Return the fit of data too few or too alike to fit anything to."""
    count, constant = len(data.values), bool(np.ptp(data.values) == 0)
    if count >= FEWEST and not constant and data.extent > 0:
        return None
    if count == 1 or constant:
        # Near zero against the values' own float32 resolution, so that predictions are the constant.
        variance = (1e-6 * max(1.0, abs(data.location))) ** 2
    else:
        variance = data.scale**2 * count / (count - 1)
    if count < FEWEST:
        why = f"{count} observation(s) are too few to fit a covariance (it takes {FEWEST})"
    elif constant:
        why = "all observations have the same value"
    else:
        why = "all observations lie in one place"
    angle, ratio = stretch or (0.0, 1.0)
    structure = Structure("exponential", variance, data.extent / 3 or 1.0, angle=angle, ratio=ratio)
    covariance = Covariance((structure,), 0.01 * variance, data.metric)
    candidate = Candidate("exponential", "fallback", covariance, math.nan, math.nan)
    reason = f"{why}; the range is a third of the extent and the variance that of the values"
    return Fit(covariance, (candidate,), reason, math.nan, (data.location,), (why,), count, 0)
