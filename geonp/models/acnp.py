"""The attentive conditional neural process (ACNP): the deterministic path of an attentive neural process.

Source: Kim et al. (2019), "Attentive neural processes", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from geonp.errors import ModelError
from geonp.models.base import Gaussian
from geonp.models.checks import check_range
from geonp.models.cnp import PointConfig, at_pixels, seen_points
from geonp.models.likelihood import ConditionalModel, gaussian, outputs
from geonp.nn.sets import MLP, MultiheadCrossAttention
from geonp.tasks import Task, coordinates


@dataclass(frozen=True)
class AttentivePointConfig(PointConfig):
    """Sizes of an attentive conditional neural process.

    Parameters
    ----------
    heads : attentions in parallel; `channels` is a multiple of it.
    """

    heads: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(self.heads, self.channels)


def check_heads(heads: int, channels: int) -> None:
    """Raise ModelError unless `channels` can be shared among `heads`."""
    check_range("heads", heads, 1, 256)
    if channels % heads:
        raise ModelError(f"heads is {heads} and channels {channels}; give channels a multiple of heads")


class DeterministicPath(nn.Module):
    """r*(x) = attention(query a(x), keys a(x_i), values h(x_i, y_i)): each pixel has its own view of the context.

    The coordinates' embedding a is shared by queries and keys, as in the paper.

    Parameters
    ----------
    bands : bands C.
    channels : channels of everything.
    hidden : hidden layers of h.
    heads : attentions in parallel.
    """

    def __init__(self, bands: int, channels: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.encoder = MLP(bands + 2, channels, channels, hidden)
        self.embed = MLP(2, channels, channels, 1)
        self.attention = MultiheadCrossAttention(channels, heads)

    def forward(self, task: Task, matrix: Tensor) -> Tensor:
        """Return r* at every pixel, (B, channels, H, W)."""
        points, valid = seen_points(task, matrix)
        where = matrix.flatten(2).transpose(1, 2)
        found: Tensor = self.attention(
            self.embed(where), self.embed(points[..., :2]), self.encoder(points), valid
        )
        return found.transpose(1, 2).reshape(-1, found.shape[2], *matrix.shape[2:])


class AttentiveCNP(ConditionalModel):
    """Attentive conditional neural process: a CNP in which cross attention takes the place of the mean.

    The paper's multi-head attention, without self-attention among the context, which it has as an option. Its
    residual connections are left out too.
    """

    name: ClassVar[str] = "acnp"
    config: AttentivePointConfig

    def __init__(self, config: AttentivePointConfig) -> None:
        super().__init__()
        self.config = config
        c, bands = config.channels, config.bands
        self.path = DeterministicPath(bands, c, config.encoder_layers, config.heads)
        self.decoder = MLP(c + 2, c, outputs(bands, config.noise), config.decoder_layers)

    @property
    def receptive_field(self) -> None:
        """None: attention reaches over the whole canvas."""
        return None

    def forward(self, task: Task) -> Gaussian:
        """Return the distribution of every pixel."""
        matrix = coordinates(task)
        out = at_pixels(self.decoder, matrix, self.path(task, matrix))
        return gaussian(out, self.config.noise, matrix.dtype)
