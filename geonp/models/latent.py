"""What IFNP and IFANP share: convolutional encoders, a pooling that zeros do not dilute, a decoder."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geonp.models.base import Gaussian
from geonp.models.checks import check_name, check_range
from geonp.models.likelihood import gaussian, outputs
from geonp.models.sizes import LatentImageSizes
from geonp.models.variational import Latent, VariationalModel
from geonp.nn.attentions import ATTENTIONS, attention
from geonp.nn.blocks import ConvEncoder, DeconvDecoder, masked_mean
from geonp.tasks import Task

__all__ = ["Latent", "LatentConfig", "LatentModel", "known"]


@dataclass(frozen=True)
class LatentConfig(LatentImageSizes):
    """Sizes of an image-faced neural process; `encoder_layers` are those of encoders 1 and 2.

    Parameters
    ----------
    decoder_layers : transposed convolutions of the decoder.
    attention : a name of `geonp.nn.attentions`; the block that R' goes through before the pooling, where the
        local pooling aggregation of an IFANP is too (after it, where there are both).
    """

    decoder_layers: int = 3
    attention: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("decoder_layers", self.decoder_layers, 2, 32)
        check_name("attention", self.attention, ATTENTIONS)


class LatentModel(VariationalModel):
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
        self.attention = attention(config.attention, c)
        self.encoder3 = nn.Sequential(nn.Conv2d(c, c, 1), nn.GELU(), nn.Conv2d(c, 2 * config.latent, 1))
        heads = outputs(bands, config.noise)
        self.decoder = DeconvDecoder(config.latent + 2 + attended, c, heads, config.decoder_layers)

    @abc.abstractmethod
    def aggregate(self, features: Tensor) -> Tensor:
        """Return R' (B, C, h, w) as it enters the pooling."""

    def encode(self, task: Task, matrix: Tensor) -> Latent:
        """Return q(z | context)."""
        features = self.aggregate(self.encoder1(known(task, matrix)))
        raw = self.encoder3(masked_mean(features, task.context)).flatten(1)
        return Latent.from_raw(raw.to(matrix.dtype))

    def decode(self, z: Tensor, matrix: Tensor, attended: Tensor | None) -> Gaussian:
        """Return the distribution of every pixel given z (B, D), M (B, 2, H, W) and R_pred."""
        expanded = z[:, :, None, None].expand(-1, -1, *matrix.shape[2:])
        parts = [expanded, matrix] if attended is None else [expanded, matrix, attended]
        out = self.decoder(torch.cat(parts, 1).contiguous(memory_format=torch.channels_last))
        return gaussian(out, self.config.noise, matrix.dtype)


def known(task: Task, matrix: Tensor) -> Tensor:
    """Return image and coordinate matrix, zero outside the context, (B, C + 2, H, W)."""
    both = torch.cat([task.values, matrix], 1) * task.context
    return both.contiguous(memory_format=torch.channels_last)
