"""The set convolution: scattered observations become an image, and a density says where they were."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_EPSILON = 1e-4
"""Density below which the signal fades to zero instead of being a weighted mean of nothing."""


class SetConv(nn.Module):
    """Set convolution with a density channel, on the pixel grid.

    With psi(d) = exp(-d^2 / (2 l^2)), a Gaussian of learnt length l, and the context {(x_n, y_n)}:

    density(x) = sum_n psi(x - x_n)
    signal(x) = sum_n psi(x - x_n) y_n / (density(x) + epsilon)

    Source: Gordon et al. (2020), "Convolutional conditional neural processes", section 4 and algorithm 1. The
    density channel tells what was observed from what happens to be zero, and the division keeps the signal
    from growing with the number of observations. The paper gives every channel a length of its own; one is
    shared here, as all bands are observed at the same pixels.

    On a grid psi is a product of a function of rows and one of columns, so that two small matrix products do
    what a sum over all pairs would. Distances are metric up to one scale a field: in units of the geometric
    mean of the two sides of a pixel.

    Parameters
    ----------
    reach : observations farther away than this many rows or columns have no weight.
    length : l before training, in pixels.
    """

    def __init__(self, reach: int = 8, length: float = 1.0) -> None:
        super().__init__()
        self.reach = reach
        self.log_length = nn.Parameter(torch.tensor(math.log(length)))

    def forward(self, values: Tensor, context: Tensor, spacing: Tensor) -> Tensor:
        """Return density and signals, (B, 1 + C, H, W).

        Parameters
        ----------
        values : (B, C, H, W); what stands outside the context does not matter, as long as it is finite.
        context : (B, 1, H, W), 1 at observed pixels.
        spacing : (B, 2), sides (dy, dx) of a pixel.
        """
        side = spacing.to(values) / spacing.to(values).prod(1, keepdim=True).sqrt()
        rows = self._weights(values.shape[2], side[:, 0])
        cols = self._weights(values.shape[3], side[:, 1])
        sums = rows @ torch.cat([context, values * context], 1) @ cols
        density, signal = sums[:, :1], sums[:, 1:]
        return torch.cat([density, signal / (density + _EPSILON)], 1)

    def _weights(self, count: int, side: Tensor) -> Tensor:
        """Return psi along one axis, (B, 1, count, count)."""
        place = torch.arange(count, device=side.device)
        offset = (place[:, None] - place[None, :]).abs()
        distance = offset * side[:, None, None, None] / self.log_length.exp()
        return torch.exp(-0.5 * distance.square()) * (offset <= self.reach)
