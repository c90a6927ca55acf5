"""The convolutional conditional neural process (ConvCNP), in the sizes of the geostatistics report.

Sources: Gordon et al. (2020), "Convolutional conditional neural processes"; the report on geostatistical
interpolation with a ConvCNP, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from geonp.errors import ModelError
from geonp.models.base import Gaussian
from geonp.models.checks import check_name, check_odd, check_range
from geonp.models.likelihood import ConditionalModel, gaussian, outputs
from geonp.models.sizes import Sizes
from geonp.nn.attentions import ATTENTIONS
from geonp.nn.encoders import ENCODERS, encoder
from geonp.nn.imageblock import ImageBlock
from geonp.nn.scaled import Scaled
from geonp.nn.setconv import SetConv
from geonp.nn.sets import MLP
from geonp.tasks import Task


@dataclass(frozen=True)
class ConvConfig(Sizes):
    """Sizes of a convolutional neural process; `channels` are those of the encoder.

    Parameters
    ----------
    encoder : a name of `geonp.nn.encoders`.
    depth, kernel : of the encoder; None for its own usual ones (residual: 5 blocks of 9 x 9 pixels).
    attention : a name of `geonp.nn.attentions`, inside the encoder.
    head_layers, head_width : hidden layers of the perceptron at every pixel.
    reach : rows and columns over which the set convolution sees an observation.
    covariates : rasters that are known everywhere and read beside the observations.
    """

    encoder: str = "residual"
    depth: int | None = None
    kernel: int | None = None
    attention: str = "none"
    head_layers: int = 4
    head_width: int = 128
    reach: int = 8
    covariates: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("encoder", self.encoder, ENCODERS)
        check_name("attention", self.attention, ATTENTIONS)
        if self.depth is not None:
            check_range("depth", self.depth, 1, 64)
        if self.kernel is not None:
            check_range("kernel", self.kernel, 1, 63)
            if ENCODERS[self.encoder].odd:
                check_odd("kernel", self.kernel)
        check_range("head_layers", self.head_layers, 0, 32)
        check_range("head_width", self.head_width, 1, 4096)
        check_range("reach", self.reach, 1, 1024)
        check_range("covariates", self.covariates, 0, 256)

    def image_encoder(self, channels_in: int, channels_out: int) -> ImageBlock:
        """Return a new encoder of these sizes."""
        return encoder(
            self.encoder, channels_in, channels_out, self.channels, self.depth, self.kernel, self.attention
        )


class PixelHead(nn.Module):
    """A perceptron at every pixel: (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, config: ConvConfig) -> None:
        super().__init__()
        self.mlp = MLP(inputs, config.head_width, outputs, config.head_layers)

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs."""
        out: Tensor = self.mlp(features.movedim(1, -1))
        return out.movedim(-1, 1)


def covariates_of(task: Task, scaled: Scaled) -> Tensor:
    """Return the covariates of a task as channels, (B, K, H, W), 0 (their mean in the training set) where unknown."""
    count = len(scaled.offset)
    if task.covariates is None or task.covariates.shape[1] != count:
        found = 0 if task.covariates is None else task.covariates.shape[1]
        raise ModelError(
            f"the network reads {count} covariate(s) and {found} are given; give those it was trained with, in "
            "their order (--covariate)"
        )
    channels = scaled(task.covariates)
    return torch.where(channels.isfinite(), channels, 0.0)


class ConvCNP(ConditionalModel):
    """Set convolution with a density channel -> image encoder -> perceptron at every pixel.

    Covariates, where there are some, go into the encoder beside the set convolution.

    It sees no coordinates: with a convolutional encoder a shifted context gives a shifted answer, as far as
    the edge of the canvas is out of reach.

    The report's: a residual network of 5 blocks with 2 convolutions of 9 x 9 pixels each, and a decoder of 4
    layers of 128 neurons. It leaves open: the channels (128, as in its decoder), whether convolutions are
    separable (they are, as in the reference code of Dubois et al. 2020, "Neural process family", whose layout
    the report has), normalisation (none here), and the set convolution, of which it says that the aggregator
    is that of an attentive CNP: here the weighted mean by distance of Gordon et al. Pixels lie on the grid, so
    that the second set convolution, to points off the grid, is not needed.
    """

    name: ClassVar[str] = "convcnp"
    config: ConvConfig

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.config = config
        self.setconv = SetConv(config.reach)
        if config.covariates:
            self.beside = Scaled(config.covariates)
        self.encoder = config.image_encoder(1 + config.bands + config.covariates, config.channels)
        self.head = PixelHead(config.channels, outputs(config.bands, config.noise), config)

    @property
    def covariates(self) -> int:
        """Covariates K that the network reads."""
        return self.config.covariates

    @property
    def receptive_field(self) -> int | None:
        """Pixels around a pixel that can influence it; None where the encoder or its attention sees all."""
        beside = self.encoder.reach
        return None if beside is None else beside + self.setconv.reach

    def forward(self, task: Task) -> Gaussian:
        """Return the distribution of every pixel."""
        seen = self.setconv(task.values, task.context, task.spacing)
        if self.config.covariates:
            seen = torch.cat([seen, covariates_of(task, self.beside)], 1)
        out = self.head(self.encoder(seen))
        return gaussian(out, self.config.noise, task.values.dtype)
