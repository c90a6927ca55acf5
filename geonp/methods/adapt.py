"""Fine-tuning on the survey at hand: the network learns from observations that are hidden from kriging.

Observations are hidden as the survey itself misses pixels: one by one, or in blocks as wide as its gaps. A part
of them is set aside first; what was learnt is kept only if it predicts that part better.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray

from geonp.kriged_tiles import Example, Mask, assemble, example, varied
from geonp.kriging import quick
from geonp.methods.correction import Correction
from geonp.methods.ground import Ground
from geonp.methods.trial import hidden, observed_together, predict_held, scores
from geonp.models.kriged import KrigedIFANP

Values = NDArray[np.float32]

_CROP = 96
_BATCH = 8
_EXAMPLES = 96
_SHARE_OF_KRIGING = 0.35  # of the time
_LEARNING_RATE = 5e-4
_FEWEST_SEEN, _FEWEST_HELD = 16, 4


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What came of fine-tuning.

    Parameters
    ----------
    kept : whether the network that learnt is used.
    steps : that it took.
    held : observations that were set aside.
    before, after : CRPS on them, in units of the deviation of the survey; NaN where none was set aside.
    """

    kept: bool
    steps: int
    held: int
    before: float
    after: float

    def report(self) -> dict[str, float | int | bool]:
        """Return the figures for the outputs' tags."""
        told: dict[str, float | int | bool] = {"kept": self.kept, "steps": self.steps, "held": self.held}
        if self.held:
            told |= {"crps_before": float(f"{self.before:.5g}"), "crps_after": float(f"{self.after:.5g}")}
        return told


def adapt(
    correction: Correction, grounds: Sequence[Ground], seconds: float, seed: int
) -> tuple[Correction, Adaptation]:
    """Return the network, fine-tuned on a survey for some seconds, or as it was where that did not help.

    Parameters
    ----------
    correction : the network.
    grounds : the survey, bands that are completed together by bands that are completed together.
    seconds : to spend on learning; two trials on the observations that were set aside come on top.
    seed : of what is hidden, and of the order of learning.

    Notes
    -----
    How far learning comes in a time depends on the machine: results are repeatable only as far as that is.
    """
    end = monotonic() + seconds
    rng = np.random.default_rng([seed, 5])
    aside = [[_set_aside(window, rng) for window in ground.samples] for ground in grounds]
    left = [
        replace(ground, samples=tuple(_without(w, h) for w, h in zip(ground.samples, masks, strict=True)))
        for ground, masks in zip(grounds, aside, strict=True)
    ]
    held = sum(int(mask.sum()) for masks in aside for mask in masks)
    examples = _examples(left, monotonic() + _SHARE_OF_KRIGING * seconds, rng)
    if not examples or not held:
        return correction, Adaptation(False, 0, 0, math.nan, math.nan)
    learnt = copy.deepcopy(correction.model)
    steps = _learn(learnt, examples, end, rng, correction.device)
    tuned = replace(correction, model=learnt)
    before, after = (_score(one, grounds, aside) for one in (correction, tuned))
    kept = after < before
    return tuned if kept else correction, Adaptation(kept, steps, held, before, after)


def _set_aside(window: Values, rng: np.random.Generator) -> Mask:
    """Return the observations of a window that nothing is learnt from."""
    masks = hidden(observed_together(window), rng)
    return masks[-1].held if masks else np.zeros(window.shape[1:], bool)


def _examples(grounds: Sequence[Ground], end: float, rng: np.random.Generator) -> list[Example]:
    """Return crops of the survey with some of their observations hidden, all of one size."""
    windows = [(ground, window) for ground in grounds for window in ground.samples]
    size = min(_CROP, *(side for _, window in windows for side in window.shape[1:]))
    size -= size % 2
    found: list[Example] = []
    for _ in range(4 * _EXAMPLES):
        if len(found) == _EXAMPLES or (monotonic() > end and len(found) >= _BATCH):
            break
        ground, window = windows[int(rng.integers(len(windows)))]
        row, col = (int(rng.integers(side - size + 1)) for side in window.shape[1:])
        crop = window[:, row : row + size, col : col + size]
        masks = hidden(observed_together(crop), rng)
        if not masks:
            continue
        held = masks[int(rng.integers(len(masks)))].held
        known = np.isfinite(observed_together(crop))
        seen = known & ~held
        covariance = ground.krigings[0].solver.covariance
        if seen.sum() < _FEWEST_SEEN or held.sum() < _FEWEST_HELD or covariance.sill <= 0:
            continue
        values = np.where(known, crop, 0).astype(np.float64)
        if not values[:, seen].std(1).all():
            continue
        dy, dx = spacing = ground.krigings[0].spacing
        kriged = quick.krige(values, seen, spacing, covariance)
        found.append(example(values, seen, known, (abs(dy), abs(dx)), kriged))
    return found


def _learn(
    model: KrigedIFANP,
    examples: list[Example],
    end: float,
    rng: np.random.Generator,
    device: torch.device,
) -> int:
    """Train a network until the time is up; return the steps taken."""
    start, steps = monotonic(), 0
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=_LEARNING_RATE, weight_decay=0.0)
    while (now := monotonic()) < end:
        share = (now - start) / (end - start)
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * min(1.0, (steps + 1) / 10) * 0.5 * (1 + math.cos(math.pi * share))
        drawn = [examples[int(i)] for i in rng.integers(len(examples), size=_BATCH)]
        if not model.config.upright:
            # Crops are square: those that are turned have the size of those that are not.
            drawn = [varied(one, rng) for one in drawn]
        optimiser.zero_grad()
        loss = model.loss(assemble(drawn).to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)):
            optimiser.step()
        steps += 1
    model.eval()
    return steps


def _score(correction: Correction, grounds: Sequence[Ground], aside: Sequence[Sequence[Mask]]) -> float:
    """Return the mean CRPS of what was set aside, each band in units of its deviation."""
    found = []
    for ground, masks in zip(grounds, aside, strict=True):
        solvers = [kriging.solver for kriging in ground.krigings]
        unit = np.sqrt([[solver.covariance.total_sill] for solver in solvers])
        spacing = ground.krigings[0].spacing
        for window, held in zip(ground.samples, masks, strict=True):
            if held.any():
                told = predict_held(correction, solvers, ground.centres, window, held, spacing)
                truth, _, _, mean, std = told
                found.append((scores(truth, mean, std) / unit).ravel())
    return float(np.concatenate(found).mean())


def _without(window: Values, held: Mask) -> Values:
    return np.where(held, np.float32(np.nan), window)
