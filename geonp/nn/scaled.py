"""Covariates in the scale of a training set, which the weights' file keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Scaled(nn.Module):
    """Covariates with mean 0 and deviation 1 in the training set.

    Parameters
    ----------
    count : covariates K.
    """

    offset: Tensor
    spread: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))

    def learn_scale(self, offset: Tensor, spread: Tensor) -> None:
        """Take the scale of a training set.

        Parameters
        ----------
        offset, spread : (K,), means and deviations of the covariates; a deviation of 0 counts as 1.
        """
        self.offset.copy_(offset)
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """Return covariates (B, K, H, W) scaled; what is unknown (NaN) stays so."""
        return (values - self.offset[:, None, None]) / self.spread[:, None, None]
