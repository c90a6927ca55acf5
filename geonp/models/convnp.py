"""The convolutional neural process (ConvNP): a ConvCNP whose encoder tells a random field.

Source: Foong et al. (2020), "Meta-learning stationary stochastic process prediction with convolutional neural
processes".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from geonp.errors import ModelError
from geonp.models.base import Gaussian, Model
from geonp.models.checks import check_range
from geonp.models.convcnp import ConvConfig, PixelHead
from geonp.models.likelihood import gaussian, outputs
from geonp.models.variational import noise, repeat
from geonp.nn.setconv import SetConv
from geonp.tasks import Task


@dataclass(frozen=True)
class ConvLatentConfig(ConvConfig):
    """Sizes of a convolutional neural process with a latent field.

    Parameters
    ----------
    latent : channels of the latent field z.
    samples : draws L of z in the loss.
    prediction_samples : draws from which the predictive mean and deviation are made.
    """

    channels: int = 64
    latent: int = 16
    samples: int = 4
    prediction_samples: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.covariates:
            raise ModelError("convnp reads no covariates; use convcnp, which does")
        check_range("latent", self.latent, 1, 1024)
        check_range("samples", self.samples, 1, 1024)
        check_range("prediction_samples", self.prediction_samples, 2, 1024)


class ConvNP(Model):
    """Set convolution -> encoder -> a normal distribution of z at every pixel -> second encoder -> pixels.

    z is independent from pixel to pixel; the second encoder makes coherent surfaces of it (section 3).
    The loss is the paper's maximum likelihood (eq. 6), not an evidence lower bound:

    -ln 1/L sum_l prod_targets p(y | x, z_l),   z_l ~ p(z | context)

    A prediction is the normal distribution with mean and variance of the mixture over a fixed set of draws:
    the same ones whenever a canvas of that size is told.

    Both encoders have the same sizes. The paper leaves sizes to its appendix; 16 latent channels are its own.
    """

    name: ClassVar[str] = "convnp"
    config: ConvLatentConfig

    def __init__(self, config: ConvLatentConfig) -> None:
        super().__init__()
        self.config = config
        self.setconv = SetConv(config.reach)
        self.encoder = config.image_encoder(1 + config.bands, 2 * config.latent)
        self.decoder = config.image_encoder(config.latent, config.channels)
        self.head = PixelHead(config.channels, outputs(config.bands, config.noise), config)

    @property
    def receptive_field(self) -> int | None:
        """Pixels around a pixel that can influence it; None where an encoder or its attention sees all."""
        first, second = self.encoder.reach, self.decoder.reach
        return None if first is None or second is None else first + second + self.setconv.reach

    def encode(self, task: Task) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of z at every pixel, (B, D, H, W) each."""
        raw: Tensor = self.encoder(self.setconv(task.values, task.context, task.spacing))
        mean, spread = raw.to(task.values.dtype).chunk(2, 1)
        return mean, 0.01 + softplus(spread)

    def decode(self, z: Tensor) -> Gaussian:
        """Return the distribution of every pixel given z (B, D, H, W)."""
        return gaussian(self.head(self.decoder(z)), self.config.noise, z.dtype)

    def forward(self, task: Task) -> Gaussian:
        """Return mean and deviation of the mixture over a fixed set of draws."""
        mean, std = self.encode(task)
        generator = torch.Generator(mean.device).manual_seed(0)
        count = self.config.prediction_samples
        # One canvas of noise for all fields, so that a field does not depend on its place in the batch.
        drawn = mean.new_empty(count, 1, *mean.shape[1:]).normal_(generator=generator)
        told = [self.decode(mean + std * one) for one in drawn]
        means, stds = torch.stack([t.mean for t in told]), torch.stack([t.std for t in told])
        variance = stds.square().mean(0) + means.var(0, unbiased=False)
        return Gaussian(means.mean(0), variance.sqrt())

    def realisations(self, task: Task, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the mean surfaces of `count` draws of the latent field, (count, B, C, H, W)."""
        mean, std = self.encode(task)
        drawn = noise(mean, count, generator)
        return torch.stack([self.decode(mean + std * one).mean for one in drawn])

    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        """Return the negative log likelihood estimated from L draws, per target pixel."""
        mean, std = self.encode(task)
        draws: int = self.config.samples
        drawn = noise(mean, draws, generator, task.share)
        told = self.decode((mean + std * drawn).flatten(0, 1))
        density = told.log_prob(repeat(task.values, draws)) * repeat(task.target, draws)
        fields = density.sum((1, 2, 3)).view(draws, -1)
        likelihood = torch.logsumexp(fields, 0) - math.log(draws)
        return -likelihood.sum() / task.target.sum().clamp_min(1)
