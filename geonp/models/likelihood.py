"""From a network's outputs to a distribution of every pixel, and its score."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from geonp.models.base import Gaussian, Model
from geonp.tasks import Task

# Observations are scaled to unit variance: below this deviation a likelihood explodes on rounded data.
SMALLEST_STD = 0.01


def outputs(bands: int, noise: float | None) -> int:
    """Return how many channels `gaussian` takes."""
    return 2 * bands if noise is None else bands


def gaussian(out: Tensor, noise: float | None, dtype: torch.dtype) -> Gaussian:
    """Return the distribution that a network's channels tell.

    Parameters
    ----------
    out : (B, 2 C, H, W), means and raw deviations; (B, C, H, W), means alone, where `noise` is given.
    noise : standard deviation of every pixel; None where the network tells it: 0.01 + softplus(raw).
    dtype : of the result. Reduced precision is for the network, not for its likelihood.
    """
    out = out.to(dtype)
    if noise is not None:
        return Gaussian(out, torch.full_like(out, noise))
    mean, raw = out.chunk(2, 1)
    return Gaussian(mean, SMALLEST_STD + softplus(raw))


class ConditionalModel(Model):
    """A model without a latent variable: pixels are independent given the context.

    Its loss is the negative log density of the targets, summed over bands and divided by the number of target
    pixels (Garnelo et al. 2018, "Conditional neural processes", eq. 4).
    """

    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        """Return the negative log density per target pixel; nothing is drawn."""
        told: Gaussian = self(task)
        score = told.log_prob(task.values) * task.target
        return -score.sum() / task.target.sum().clamp_min(1)
