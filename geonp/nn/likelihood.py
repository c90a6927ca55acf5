"""Densities of predictions."""

from __future__ import annotations

import math

from torch import Tensor


def normal_log_density(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the log density of `value` under independent normal distributions, elementwise.

    Unlike `torch.distributions` it lets what is not finite pass, so that a loss can show it.
    """
    z = (value - mean) / std
    return -0.5 * z.square() - std.log() - 0.5 * math.log(2 * math.pi)
