"""A network that is a function of coordinates: Fourier features, then layers of sines (SIREN)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

OMEGA = 30.0
"""omega_0 of Sitzmann et al.: the layers' weights are that much smaller and learn that much faster."""


class FourierFeatures(nn.Module):
    """gamma(x) = [sin(2 pi B x), cos(2 pi B x)] (Tancik et al. 2020, section 5), B fixed.

    Parameters
    ----------
    frequencies : B, (F, D): cycles per unit of length along every coordinate.
    """

    frequencies: Tensor

    def __init__(self, frequencies: Tensor) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies)

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., 2 F) for points (..., D)."""
        phase = 2 * math.pi * points @ self.frequencies.mT
        return torch.cat([phase.sin(), phase.cos()], -1)


class SineLayer(nn.Module):
    """sin(omega_0 (W x + b)) (Sitzmann et al. 2020, "Implicit neural representations", section 3.2).

    W, of shape (outputs, inputs), is uniform in +-sqrt(6 / inputs) / omega_0. With inputs that are themselves
    sines, what enters the sine is then about Normal(0, 1) before training, at any depth (theorem 1.8).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        bound = math.sqrt(6 / inputs) / OMEGA
        nn.init.uniform_(self.linear.weight, -bound, bound)
        nn.init.uniform_(self.linear.bias, -1 / (OMEGA * math.sqrt(inputs)), 1 / (OMEGA * math.sqrt(inputs)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs)."""
        return torch.sin(OMEGA * self.linear(x))


class Siren(nn.Module):
    """Fourier features -> sine layers -> a linear last layer; positional encoding and SIREN in one.

    Parameters
    ----------
    frequencies : of the Fourier features, (F, D).
    width : neurons of a sine layer.
    layers : sine layers.
    """

    def __init__(self, frequencies: Tensor, width: int, layers: int) -> None:
        super().__init__()
        entry = SineLayer(2 * len(frequencies), width)
        self.first = entry.linear
        self.body = nn.Sequential(
            FourierFeatures(frequencies),
            entry,
            *(SineLayer(width, width) for _ in range(layers - 1)),
        )
        self.last = nn.Linear(width, 1)

    def features(self, points: Tensor) -> Tensor:
        """Return what the last layer reads, (N, width), for points (N, D)."""
        found: Tensor = self.body(points)
        return found

    def forward(self, points: Tensor) -> Tensor:
        """Return one value a point, (N,)."""
        value: Tensor = self.last(self.features(points))
        return value[:, 0]
