"""The kriged IFANP: kriging, corrected by an image-faced attentive network that knows where it stands.

Kriging is attention whose weights come from a linear solve; what it misses is learnt. Values are in units of
what kriging knows: (y - k) / s, with k the kriging mean and s its deviation at every pixel. In these units
kriging says Normal(0, 1) everywhere; the network shifts and scales that. Its head starts at zero, so that
untrained it *is* kriging.

It may read rasters of other things beside the observations (covariates), each as two channels: its value, and by how
much kriging would miss it, had it been observed where the field was. The second is what makes it easy to use: where
the field follows the covariate, kriging misses both alike. Their weights start at zero too, so that a network that was
widened for them says what it said before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from geonp.errors import ModelError
from geonp.models.base import Gaussian, Model
from geonp.models.checks import check_range
from geonp.nn.scaled import Scaled
from geonp.nn.unet import UNet
from geonp.tasks import Task

COVARIATES = 13
"""Channels a band that kriging gives (`geonp.kriging.features.CHANNELS`)."""

_WEIGHT, _LOG_SCALE = 0, 1
_MOST_LOG_FACTOR = 3.0
_LINEAR = 8.0
"""Deviations up to which a covariate's miss is read as it is, and logarithmically beyond."""


@dataclass(frozen=True)
class KrigedConfig:
    """Sizes of a kriged IFANP.

    Parameters
    ----------
    bands : bands C, told jointly; the bundled weights have one and take bands one by one.
    width : channels at half resolution, a multiple of 8; level i has width (1 + i / 2).
    levels : resolutions, 1/2, 1/4, ...
    code_window : side of the local pooling aggregation at the lowest resolution, odd.
    attention_window : side of the cross attention at the last resolution but one, odd; 0 leaves it out.
    mean_weight : weight of the squared error of the mean beside the CRPS in the loss.
    upright : fields are pictures of one kind with a right way up: never turned, in training or prediction.
    covariates : rasters K that are read beside the observations.
    depth : residual blocks in a row at every resolution but the first, which has one.

    Raises
    ------
    ModelError
        If a value is out of its range.
    """

    bands: int = 1
    width: int = 64
    levels: int = 4
    code_window: int = 5
    attention_window: int = 7
    mean_weight: float = 0.25
    upright: bool = False
    covariates: int = 0
    depth: int = 1

    def __post_init__(self) -> None:
        check_range("bands", self.bands, 1, 256)
        check_range("width", self.width, 8, 1024)
        check_range("levels", self.levels, 2, 8)
        check_range("code_window", self.code_window, 1, 31)
        check_range("attention_window", self.attention_window, 0, 31)
        check_range("covariates", self.covariates, 0, 256)
        check_range("depth", self.depth, 1, 16)
        if self.width % 8:
            raise ModelError(f"width is {self.width}; give a multiple of 8")
        for name in ("code_window", "attention_window"):
            size = getattr(self, name)
            if size and size % 2 == 0:
                raise ModelError(f"{name} is {size}; give an odd number of pixels")
        if not 0 <= self.mean_weight < math.inf:
            raise ModelError(f"mean_weight is {self.mean_weight}; give a number from 0 up")


class KrigedIFANP(Model):
    """Kriging in, better than kriging out: a U-Net with local pooling aggregation and cross attention.

    `Task.values` are (y - k) / s; `Task.covariates` are the channels of `geonp.kriging.features`, band by
    band, (B, C * COVARIATES, H, W), and behind them those of the K covariates (`with_beside`). Without any of them
    the network has the observations alone, and untrained says Normal(0, 1).

    The mean is exp(g l) o_1 and the deviation exp(g l + o_2), where o are the network's outputs, l the
    logarithm of the local scale that the leave-one-out residuals show, and g a learnt number that starts at 0.
    """

    name: ClassVar[str] = "kriged-ifanp"
    config: KrigedConfig

    def __init__(self, config: KrigedConfig) -> None:
        super().__init__()
        self.config = config
        bands = config.bands
        inputs = 1 + bands * COVARIATES
        self.net = UNet(
            inputs,
            2 * bands,
            config.width,
            config.levels,
            config.code_window,
            config.attention_window,
            config.depth,
        )
        self.gate = nn.Parameter(torch.zeros(1))
        if config.covariates:
            self.net.stem = _Wider(self.net.stem, 4 * (2 * config.covariates + 1))
            self.beside = Scaled(config.covariates)

    @property
    def bands(self) -> int:
        """Bands C that the network expects."""
        return self.config.bands

    @property
    def covariates(self) -> int:
        """Covariates K that the network reads."""
        return self.config.covariates

    @property
    def receptive_field(self) -> int:
        """Pixels around a pixel that can influence it, through the network alone."""
        return self.net.reach

    @property
    def stride(self) -> int:
        """The network is equivariant to shifts by multiples of this many pixels."""
        return self.net.stride

    def forward(self, task: Task) -> Gaussian:
        """Return the distribution of every pixel of (y - k) / s."""
        b, c, h, w = task.values.shape
        observed = task.context.to(task.values.dtype)
        given = self._told(task)
        misfit = torch.asinh(task.values * observed)
        told = given[:, :, _WEIGHT + 1 :].flatten(1, 2)
        x = torch.cat([observed, misfit, told], 1)
        if self.config.covariates:
            x = torch.cat([x, self._beside(task)], 1)
        down, right = -h % self.stride, -w % self.stride
        if down or right:
            x, observed = (pad(a, (0, right, 0, down)) for a in (x, observed))
        out = self.net(x, observed)[:, :, :h, :w].float()
        shift, factor = out.view(b, 2, c, h, w).unbind(1)
        log_scale = self.gate * given[:, :, _LOG_SCALE]
        bounded = _MOST_LOG_FACTOR * torch.tanh(factor / _MOST_LOG_FACTOR)
        return Gaussian(log_scale.exp() * shift, (log_scale + bounded).exp())

    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        """Return CRPS and squared error as shares of kriging's own on the same pixels, averaged over fields.

        With w the kriging deviation, field by field: sum w CRPS(model) / sum w CRPS(Normal(0, 1)), plus
        `mean_weight` times the same ratio of w^2 squared errors. 1 + `mean_weight` is kriging. Both sums
        are kept away from zero by what kriging expects of itself.
        """
        told = self(task)
        weight = self._told(task)[:, :, _WEIGHT].float()
        weight = torch.where(weight > 0, weight, 1.0) * task.target
        values = torch.where(task.target > 0, task.values, 0.0).float().clamp(-50, 50)
        sums = (1, 2, 3)
        there = (task.target.sum(sums) > 0).float()
        ours = (weight * crps(values, told.mean, told.std)).sum(sums)
        kriging = (weight * crps(values, torch.zeros_like(values), torch.ones_like(values))).sum(sums)
        expected = weight.sum(sums) / math.sqrt(math.pi)  # E CRPS(Normal(0, 1)) under itself
        ratio = ours / (0.8 * kriging + 0.2 * expected).clamp_min(1e-6)
        squared = (weight**2 * (values - told.mean) ** 2).sum(sums)
        base = 0.8 * (weight**2 * values**2).sum(sums) + 0.2 * (weight**2).sum(sums)
        miss = squared / base.clamp_min(1e-6)
        total: Tensor = ((ratio + self.config.mean_weight * miss) * there).sum()
        return total / self.weight(task)

    def weight(self, task: Task) -> Tensor:
        """Return the number of fields that have a target: the loss is a mean over fields."""
        return (task.target.sum((1, 2, 3)) > 0).float().sum().clamp_min(1)

    def hidden(self) -> list[Tensor]:
        """Return the kernels of all convolutions but the last one."""
        layers = (layer for layer in self.net.modules() if isinstance(layer, nn.Conv2d))
        return [layer.weight for layer in layers if layer is not self.net.head]

    def _told(self, task: Task) -> Tensor:
        """Return kriging's channels as (B, bands, COVARIATES, H, W), zeros where there are none."""
        b, bands, h, w = task.values.shape
        if task.covariates is None:
            return task.values.new_zeros(b, bands, COVARIATES, h, w)
        kriging, beside = bands * COVARIATES, 2 * self.config.covariates
        if task.covariates.shape[1] != kriging + beside:
            raise ValueError(
                f"covariates are {tuple(task.covariates.shape)}; {bands} band(s) need {kriging} channels, those of "
                f"geonp.kriging.features, and {self.config.covariates} covariate(s) {beside} more"
            )
        return task.covariates[:, :kriging].reshape(b, bands, COVARIATES, h, w)

    def _beside(self, task: Task) -> Tensor:
        """Return the channels of the covariates, (B, 2 K + 1, H, W); all 0 where any of them is unknown."""
        b, bands, h, w = task.values.shape
        count = self.config.covariates
        if task.covariates is None:
            return task.values.new_zeros(b, 2 * count + 1, h, w)
        values, missed = task.covariates[:, bands * COVARIATES :].chunk(2, 1)
        known = values.isfinite().all(1, keepdim=True)
        linear = _LINEAR * torch.asinh(missed / _LINEAR)
        channels = torch.cat([torch.asinh(self.beside(values)), linear], 1)
        return torch.cat([known.to(channels), torch.where(known, channels, 0.0)], 1)


class _Wider(nn.Conv2d):
    """A convolution that reads some more channels, with weights of their own that start at zero.

    They are summed apart, so that what the first channels give is the same to the last bit.
    """

    def __init__(self, narrow: nn.Conv2d, more: int) -> None:
        super().__init__(narrow.in_channels, narrow.out_channels, 3, padding=1)
        self.weight, self.bias = narrow.weight, narrow.bias
        self.beside = nn.Parameter(torch.zeros(narrow.out_channels, more, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        own, more = x[:, : self.in_channels], x[:, self.in_channels :]
        own, more = (part.contiguous(memory_format=torch.channels_last) for part in (own, more))
        return super().forward(own) + conv2d(more, self.beside, padding=1)


def widened(model: KrigedIFANP, covariates: int) -> KrigedIFANP:
    """Return a network that reads covariates too, and, whatever they are, says what `model` says until it is trained.

    Parameters
    ----------
    model : a network that reads none.
    covariates : how many there will be, at least 1.
    """
    wide = KrigedIFANP(replace(model.config, covariates=covariates))
    wide.load_state_dict(wide.state_dict() | model.state_dict())
    return wide.train(model.training)


def with_beside(told: Tensor, values: Tensor, missed: Tensor) -> Tensor:
    """Return the channels that a network with covariates is given, (B, C * COVARIATES + 2 K, H, W).

    Parameters
    ----------
    told : (B, C * COVARIATES, H, W), the channels of kriging.
    values : (B, K, H, W), the covariates as they are, NaN where one is unknown.
    missed : (B, K, H, W), by how much kriging misses them: had they been observed where the field was, kriged with the
        correlation that it was kriged with, (value - mean) / deviation, and where the field was observed the
        leave-one-out residual over its deviation; in units in which the squares of the latter average 1.
    """
    return torch.cat([told, values, missed], 1)


def crps(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the CRPS of a normal forecast (Gneiting and Raftery 2007, eq. 21), elementwise."""
    z = (value - mean) / std
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return std * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
