"""What kriging tells a network about a survey: the same numbers for training and for prediction.

A network that corrects kriging sees the field in units of what kriging knows. The *standardised residual*
(y - k) / s, with k the kriging mean and s its deviation, is what it learns to predict; untouched it has
mean 0 and deviation 1, which is kriging. What it sees are the channels below: pure functions of a bounded
neighbourhood (`REACH` pixels), free of units, so that a field a + b y has the channels of y.

Standardised leave-one-out residuals t = e / s_loo come almost free from the factor that kriging made
(Dubrule 1983, Mathematical Geology 15(6)). Their local root mean square says where the terrain is rougher or
smoother than the covariance believes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

CHANNELS = (
    "weight",
    "log_scale",
    "log_scale_wide",
    "detail",
    "relief",
    "trend",
    "deviation",
    "leave_one_out",
    "density",
    "density_wide",
    "noise",
    "inside",
    "aspect",
)
"""The channels that `features` stacks, in order; the network knows the first two by their place."""

NARROW, MIDDLE, WIDE = 5, 17, 33
REACH = max(2 * (MIDDLE // 2), WIDE // 2)
"""Pixels around a pixel that its channels are computed from, beyond those that kriging itself read."""

_PRIOR_OBSERVATIONS = 4.0
_TINY = 1e-12


class Kriged(NamedTuple):
    """What kriging makes of a batch of surveys, every tensor (B, 1, H, W).

    Parameters
    ----------
    observed : 1 at observed pixels, else 0.
    mean : kriging mean of the latent field, everywhere.
    std : kriging deviation of the observable, positive everywhere.
    surprise : leave-one-out residual (observation minus what the others predict) over its deviation; 0
        where it is not known.
    judged : 1 where it is known, a part of the observed pixels.
    misfit : (observation - mean) / std at observed pixels, else 0: what kriging takes for noise.
    inside : 1 on the raster, 0 where a canvas goes beyond it.
    """

    observed: Tensor
    mean: Tensor
    std: Tensor
    surprise: Tensor
    judged: Tensor
    misfit: Tensor
    inside: Tensor


def box(image: Tensor, side: int) -> Tensor:
    """Return the mean over windows of `side` x `side` pixels (odd), zeros beyond the canvas.

    Differences of running sums, whose cost does not grow with the window; in double precision, in which the
    sums of a canvas keep the digits of a window's.
    """
    total = image.double()
    for axis in (2, 3):
        before, after = side // 2 + 1, side // 2
        frame = (0, 0, before, after) if axis == 2 else (before, after)
        sums = pad(total, frame).cumsum(axis)
        total = sums.narrow(axis, side, image.shape[axis]) - sums.narrow(axis, 0, image.shape[axis])
    return (total / side**2).to(image)


def features(kriged: Kriged, noise_std: Tensor, spacing: Tensor, unit: Tensor) -> Tensor:
    """Return the channels of `CHANNELS`, (B, K, H, W).

    Parameters
    ----------
    kriged : what kriging made of the surveys.
    noise_std : (B,), square root of the nugget, in the units of the field.
    spacing : (B, 2), pixel size (dy, dx).
    unit : (B,), a typical kriging deviation of the whole field, for the channel `weight` alone, which no
        prediction depends on.
    """
    inside = kriged.inside
    here = {side: box(inside, side).clamp_min(1e-6) for side in (NARROW, MIDDLE, WIDE)}

    def average(image: Tensor, side: int) -> Tensor:
        return box(image * inside, side) / here[side]

    seen = kriged.observed
    surprise = kriged.surprise * kriged.judged
    squared = surprise.square().clamp(max=400.0)

    def scale(side: int) -> Tensor:
        # A few imagined residuals of size one: where nothing was observed, the covariance is believed.
        prior = _PRIOR_OBSERVATIONS / side**2
        return ((box(squared, side) + prior) / (box(kriged.judged, side) + prior)).sqrt()

    local, wide = scale(MIDDLE), scale(WIDE)
    deviation = kriged.std * local
    typical = average(deviation.square(), MIDDLE).sqrt().clamp_min(_TINY)

    def detail(side: int, gain: float) -> Tensor:
        return torch.asinh((kriged.mean - average(kriged.mean, side)) / typical * gain)

    column = (slice(None), None, None, None)
    aspect = (spacing[:, 0] / spacing[:, 1]).log().to(inside)[column]
    channels = [
        kriged.std / unit.to(inside)[column],
        local.log(),
        wide.log(),
        detail(NARROW, 1.0),
        detail(MIDDLE, 0.5),
        detail(WIDE, 0.25),
        (deviation / typical).clamp(max=8.0),
        torch.asinh(surprise / local),
        average(seen, NARROW).sqrt(),
        average(seen, MIDDLE).sqrt(),
        (noise_std.to(inside)[column] / typical).clamp(max=8.0),
        torch.ones_like(inside),
        aspect.expand_as(inside),
    ]
    return torch.cat(channels, 1) * inside
