"""The attentive neural process (ANP): a latent path, and cross attention beside it.

Source: Kim et al. (2019), "Attentive neural processes", section 3 and figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from geonp.models.acnp import DeterministicPath, check_heads
from geonp.models.lnp import LatentPointConfig, LatentPointModel
from geonp.tasks import Task


@dataclass(frozen=True)
class AttentiveLatentConfig(LatentPointConfig):
    """Sizes of an attentive neural process.

    Parameters
    ----------
    heads : attentions in parallel; `channels` is a multiple of it.
    """

    heads: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads(self.heads, self.channels)


class ANP(LatentPointModel):
    """Attentive neural process: y = g(x, z, r*(x)), z for the whole, r* for what is near.

    The paper's multi-head attention, without self-attention among the context, which it has as an option. Its
    residual connections are left out too.
    """

    name: ClassVar[str] = "anp"
    config: AttentiveLatentConfig

    def __init__(self, config: AttentiveLatentConfig) -> None:
        super().__init__(config, attended=config.channels)
        self.path = DeterministicPath(config.bands, config.channels, config.encoder_layers, config.heads)

    def attend(self, task: Task, matrix: Tensor) -> Tensor:
        """Return r* at every pixel, (B, channels, H, W)."""
        found: Tensor = self.path(task, matrix)
        return found
