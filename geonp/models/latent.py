"""What IFNP and IFANP share: a latent path, a decoder, and the evidence lower bound."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from geonp.errors import ModelError
from geonp.models.base import Gaussian, Model
from geonp.nn.blocks import ConvEncoder, DeconvDecoder, masked_mean
from geonp.nn.likelihood import normal_log_density
from geonp.tasks import Task, coordinates

# Observations are scaled to unit variance: below this deviation a likelihood explodes on rounded data.
SMALLEST_STD = 0.01


@dataclass(frozen=True)
class LatentConfig:
    """Sizes of a network with a latent path.

    Parameters
    ----------
    bands : bands C of the fields.
    channels : channels of every representation.
    latent : dimension of z.
    encoder_layers, decoder_layers : convolutions of encoders 1 and 2, transposed convolutions of the decoder.
    samples : draws K of z in the loss (eq. 6).
    noise : standard deviation of the likelihood in scaled units; None learns one for every pixel.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    bands: int = 1
    channels: int = 32
    latent: int = 32
    encoder_layers: int = 3
    decoder_layers: int = 3
    samples: int = 1
    noise: float | None = None

    def __post_init__(self) -> None:
        check_range("bands", self.bands, 1, 1024)
        check_range("channels", self.channels, 1, 4096)
        check_range("latent", self.latent, 1, 4096)
        check_range("encoder_layers", self.encoder_layers, 1, 32)
        check_range("decoder_layers", self.decoder_layers, 2, 32)
        check_range("samples", self.samples, 1, 1024)
        if self.noise is not None and not (math.isfinite(self.noise) and self.noise > 0):
            raise ModelError(f"noise is {self.noise}; give a positive deviation, or None to learn it")


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ModelError unless low <= value <= high."""
    if not low <= value <= high:
        raise ModelError(f"{name} is {value}; give a number from {low} to {high}")


class Latent(NamedTuple):
    """An independent normal distribution of z: mean and standard deviation, (B, D)."""

    mean: Tensor
    std: Tensor

    def draw(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Return `count` draws for every field, (count, B, D), differentiable in mean and deviation."""
        noise = self.mean.new_empty(count, *self.mean.shape).normal_(generator=generator)
        return self.mean + self.std * noise

    def divergence(self, other: Latent) -> Tensor:
        """Return KL(self || other) for every field, (B,), in nats."""
        ratio = (self.std / other.std).square()
        shift = ((self.mean - other.mean) / other.std).square()
        return 0.5 * (ratio + shift - 1 - ratio.log()).sum(1)


class LatentModel(Model):
    """An image-faced neural process: image -> distribution of z -> distribution of every pixel.

    Encoder-1 reads the image and the coordinate matrix, both zero where unknown; it has stride 2 and no
    biases, so that it is zero far from data. `aggregate` may smooth its map R'. The average of R' over the
    canvas is divided by that of the mask, and encoder-3 gives mean and deviation of z. The decoder reads z,
    expanded over the canvas, the full coordinate matrix M, and what `attend` adds to them.

    Subclasses override `aggregate` and `attend`.

    Parameters
    ----------
    config : sizes.
    attended : channels that `attend` adds to the decoder's input.
    """

    config: LatentConfig

    def __init__(self, config: LatentConfig, attended: int = 0) -> None:
        super().__init__()
        self.config = config
        c, bands = config.channels, config.bands
        self.encoder1 = ConvEncoder(bands + 2, c, config.encoder_layers, stride=2, bias=False)
        self.encoder3 = nn.Sequential(nn.Conv2d(c, c, 1), nn.GELU(), nn.Conv2d(c, 2 * config.latent, 1))
        heads = 2 * bands if config.noise is None else bands
        self.decoder = DeconvDecoder(config.latent + 2 + attended, c, heads, config.decoder_layers)

    @property
    def bands(self) -> int:
        """Bands C that the network expects."""
        return self.config.bands

    @property
    def receptive_field(self) -> None:
        """None: z gathers the whole canvas."""
        return None

    @abc.abstractmethod
    def aggregate(self, features: Tensor) -> Tensor:
        """Return R' (B, C, h, w) as it enters the pooling."""

    @abc.abstractmethod
    def attend(self, task: Task, matrix: Tensor) -> Tensor | None:
        """Return the deterministic representation R_pred (B, C, H, W) given the matrix M, or None."""

    def encode(self, task: Task, matrix: Tensor) -> Latent:
        """Return q(z | context)."""
        features = self.aggregate(self.encoder1(known(task, matrix)))
        mean, raw = self.encoder3(masked_mean(features, task.context)).flatten(1).to(matrix.dtype).chunk(2, 1)
        # Bounded on both sides: a deviation that vanishes makes the divergence explode.
        return Latent(mean, 0.01 + 0.99 * torch.sigmoid(raw))

    def decode(self, z: Tensor, matrix: Tensor, attended: Tensor | None) -> Gaussian:
        """Return the distribution of every pixel given z (B, D), M (B, 2, H, W) and R_pred."""
        expanded = z[:, :, None, None].expand(-1, -1, *matrix.shape[2:])
        parts = [expanded, matrix] if attended is None else [expanded, matrix, attended]
        out = self.decoder(torch.cat(parts, 1).contiguous(memory_format=torch.channels_last))
        out = out.to(matrix.dtype)  # reduced precision is for the network, not for its likelihood
        if self.config.noise is not None:
            return Gaussian(out, torch.full_like(out, self.config.noise))
        mean, raw = out.chunk(2, 1)
        return Gaussian(mean, SMALLEST_STD + softplus(raw))

    def forward(self, task: Task) -> Gaussian:
        """Return the distribution of every pixel at the mean of q(z | context)."""
        matrix = coordinates(task)
        return self.decode(self.encode(task, matrix).mean, matrix, self.attend(task, matrix))

    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        """Return the negative evidence lower bound (eq. 6) per target pixel.

        KL(q(z | full) || q(z | context)) - 1/K sum_k sum_targets ln p(y | z_k, m), z_k ~ q(z | full), summed
        over the batch and divided by its number of target pixels; "full" is every known pixel.
        """
        matrix = coordinates(task)
        prior = self.encode(task, matrix)
        posterior = self.encode(task.everything_seen(), matrix)
        attended = self.attend(task, matrix)
        draws = self.config.samples
        z = posterior.draw(draws, generator).flatten(0, 1)
        fields = self.decode(z, repeat(matrix, draws), None if attended is None else repeat(attended, draws))
        score = normal_log_density(repeat(task.values, draws), *fields) * repeat(task.target, draws)
        pixels = task.target.sum().clamp_min(1)
        return (posterior.divergence(prior).sum() - score.sum() / draws) / pixels


def known(task: Task, matrix: Tensor) -> Tensor:
    """Return image and coordinate matrix, zero outside the context, (B, C + 2, H, W)."""
    both = torch.cat([task.values, matrix], 1) * task.context
    return both.contiguous(memory_format=torch.channels_last)


def repeat(batch: Tensor, times: int) -> Tensor:
    """Return a batch (B, ...) `times` over, (times * B, ...)."""
    return batch if times == 1 else batch.repeat(times, *[1] * (batch.ndim - 1))
