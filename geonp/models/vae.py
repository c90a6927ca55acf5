"""The variational auto-encoder (VAE) that the IFNP paper compares with, on masked images.

Source: Kingma and Welling (2014), "Auto-encoding variational Bayes", eq. 10; the IFNP paper, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from geonp.models.base import Gaussian
from geonp.models.checks import check_range
from geonp.models.likelihood import gaussian, outputs
from geonp.models.sizes import LatentImageSizes
from geonp.models.variational import Latent, VariationalModel
from geonp.nn.blocks import ConvEncoder
from geonp.tasks import Task

_SEED = 4
"""Side of the smallest image, from which the decoder grows the canvas."""


@dataclass(frozen=True)
class VAEConfig(LatentImageSizes):
    """Sizes of a variational auto-encoder.

    Parameters
    ----------
    doublings : how often the decoder doubles 4 x 4 pixels: 3 for canvases of 32 pixels, 4 for 64.
    """

    doublings: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("doublings", self.doublings, 0, 8)


class VAE(VariationalModel):
    """Masked image -> q(z) -> whole image, with z held to Normal(0, 1).

    loss = KL(q(z | context) || Normal(0, I)) - E_q ln p(image | z)

    The paper says of its VAE that it predicts whole images and is about as large as the others, and no more.
    Here the encoder reads the image, zero where unknown, and the mask, and sees the context alone in training
    too, so that training and completion are the same task. Unlike the neural processes it has neither
    coordinates nor the division by the mask: the decoder grows z from 4 x 4 pixels by transposed
    convolutions, and the result is fitted to the canvas.
    """

    name: ClassVar[str] = "vae"
    config: VAEConfig

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        c, bands = config.channels, config.bands
        self.encoder = ConvEncoder(bands + 1, c, config.encoder_layers, stride=2)
        self.to_latent = nn.Linear(c * _SEED**2, 2 * config.latent)
        self.from_latent = nn.Linear(config.latent, c * _SEED**2)
        doubled = [
            part for _ in range(config.doublings) for part in (nn.ConvTranspose2d(c, c, 4, 2, 1), nn.GELU())
        ]
        last = nn.Conv2d(c, outputs(bands, config.noise), 3, padding=1)
        self.decoder = nn.Sequential(nn.GELU(), *doubled, last)

    def encode(self, task: Task, matrix: Tensor) -> Latent:
        """Return q(z | context); coordinates are not read."""
        features = self.encoder(torch.cat([task.values * task.context, task.context], 1))
        raw: Tensor = self.to_latent(adaptive_avg_pool2d(features, _SEED).flatten(1))
        return Latent.from_raw(raw.to(matrix.dtype))

    def decode(self, z: Tensor, matrix: Tensor, attended: Tensor | None) -> Gaussian:
        """Return the distribution of every pixel of M's canvas given z (B, D)."""
        seed = self.from_latent(z).unflatten(1, (-1, _SEED, _SEED))
        out: Tensor = self.decoder(seed)
        if out.shape[2:] != matrix.shape[2:]:
            out = interpolate(out, size=matrix.shape[2:], mode="bilinear", align_corners=False)
        return gaussian(out, self.config.noise, matrix.dtype)

    def prior(self, task: Task, matrix: Tensor) -> Latent:
        """Return Normal(0, I)."""
        zeros = matrix.new_zeros(len(matrix), self.config.latent)
        return Latent(zeros, torch.ones_like(zeros))

    def posterior(self, task: Task, matrix: Tensor) -> Latent:
        """Return q(z | context): the encoder never sees the whole image."""
        return self.encode(task, matrix)
