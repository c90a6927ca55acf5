"""The conditional neural process (CNP).

Source: Garnelo et al. (2018), "Conditional neural processes", section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from geonp.models.base import Gaussian
from geonp.models.checks import check_range
from geonp.models.likelihood import ConditionalModel, gaussian, outputs
from geonp.models.sizes import Sizes
from geonp.nn.attention import ContextIndex
from geonp.nn.sets import MLP, set_mean
from geonp.tasks import Task, coordinates


@dataclass(frozen=True)
class PointConfig(Sizes):
    """Sizes of a network of multi-layer perceptrons over points.

    Parameters
    ----------
    encoder_layers, decoder_layers : hidden layers of the perceptrons.
    """

    encoder_layers: int = 2
    decoder_layers: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("encoder_layers", self.encoder_layers, 0, 32)
        check_range("decoder_layers", self.decoder_layers, 0, 32)


class CNP(ConditionalModel):
    """Conditional neural process: points in, their mean representation, points out.

    r_i = h(x_i, y_i), r = mean_i r_i, (mean, deviation) at x = g(x, r)    (eq. 1-3)

    h has three layers and g five, of 128 channels, as for the paper's images. It leaves the lower bound of
    the deviation open (0.01 here, see `SMALLEST_STD`), and what an empty context represents (zero here).
    """

    name: ClassVar[str] = "cnp"
    config: PointConfig

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.config = config
        c, bands = config.channels, config.bands
        self.encoder = MLP(bands + 2, c, c, config.encoder_layers)
        self.decoder = MLP(c + 2, c, outputs(bands, config.noise), config.decoder_layers)

    @property
    def receptive_field(self) -> None:
        """None: every context point says something of every pixel."""
        return None

    def represent(self, task: Task, matrix: Tensor) -> Tensor:
        """Return r, (B, D)."""
        points, valid = seen_points(task, matrix)
        return set_mean(self.encoder(points), valid)

    def forward(self, task: Task) -> Gaussian:
        """Return the distribution of every pixel."""
        matrix = coordinates(task)
        r = self.represent(task, matrix)
        out = at_pixels(self.decoder, matrix, r[:, :, None, None])
        return gaussian(out, self.config.noise, matrix.dtype)


def seen_points(task: Task, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the context as points (x, y), (B, N, 2 + C), and which of them are no padding, (B, N)."""
    context = ContextIndex(task.context)
    return context.gather(torch.cat([matrix, task.values], 1)), context.valid


def at_pixels(mlp: MLP, matrix: Tensor, *parts: Tensor) -> Tensor:
    """Return a perceptron's outputs at every pixel, (B, E, H, W).

    Parameters
    ----------
    mlp : reads coordinates and `parts`, in this order.
    matrix : coordinates, (B, 2, H, W).
    parts : (B, D, H, W), or (B, D, 1, 1) for what is the same everywhere.
    """
    spread = [part.expand(-1, -1, *matrix.shape[2:]) for part in parts]
    out: Tensor = mlp(torch.cat([matrix, *spread], 1).movedim(1, -1))
    return out.movedim(-1, 1)
