"""The neural process (NP) with a latent variable, which the geostatistics report calls LNP.

Source: Garnelo et al. (2018), "Neural processes", section 2; figure 1 of the IFNP paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from geonp.models.base import Gaussian
from geonp.models.checks import check_range
from geonp.models.cnp import PointConfig, at_pixels, seen_points
from geonp.models.likelihood import gaussian, outputs
from geonp.models.variational import Latent, VariationalModel
from geonp.nn.sets import MLP, set_mean
from geonp.tasks import Task


@dataclass(frozen=True)
class LatentPointConfig(PointConfig):
    """Sizes of a neural process with a latent variable.

    Parameters
    ----------
    latent : dimension of z.
    samples : draws K of z in the loss.
    """

    latent: int = 128
    samples: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("latent", self.latent, 1, 4096)
        check_range("samples", self.samples, 1, 1024)


class LatentPointModel(VariationalModel):
    """A latent path of perceptrons: r_i = h(x_i, y_i), r = mean_i r_i, z ~ N(mu(r), sigma(r)), y = g(x, z).

    Parameters
    ----------
    config : sizes.
    attended : channels that `attend` adds to the decoder's input.
    """

    config: LatentPointConfig

    def __init__(self, config: LatentPointConfig, attended: int = 0) -> None:
        super().__init__()
        self.config = config
        c, bands, hidden = config.channels, config.bands, config.decoder_layers
        self.encoder = MLP(bands + 2, c, c, config.encoder_layers)
        self.to_latent = MLP(c, c, 2 * config.latent, 1)
        heads = outputs(bands, config.noise)
        self.decoder = MLP(config.latent + 2 + attended, c, heads, hidden)

    def encode(self, task: Task, matrix: Tensor) -> Latent:
        """Return q(z | context)."""
        points, valid = seen_points(task, matrix)
        raw: Tensor = self.to_latent(set_mean(self.encoder(points), valid))
        return Latent.from_raw(raw.to(matrix.dtype))

    def decode(self, z: Tensor, matrix: Tensor, attended: Tensor | None) -> Gaussian:
        """Return the distribution of every pixel given z (B, D), M (B, 2, H, W) and R_pred."""
        parts = (z[:, :, None, None],) if attended is None else (z[:, :, None, None], attended)
        return gaussian(at_pixels(self.decoder, matrix, *parts), self.config.noise, matrix.dtype)


class NP(LatentPointModel):
    """Neural process: what the context says goes through the distribution of one vector alone.

    Sizes are those of the CNP; the paper leaves them open, and the bounds of the deviation of z (0.01 to 1
    here) too.
    """

    name: ClassVar[str] = "np"

    def __init__(self, config: LatentPointConfig) -> None:
        super().__init__(config)
