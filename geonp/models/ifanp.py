"""The image-faced attentive neural process (IFANP): local pooling on the latent path, attention beside it.

Source: "Image-faced attentive neural process", Computer Systems & Applications 32(1), 2023, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from geonp.models.checks import check_odd, check_range
from geonp.models.latent import LatentConfig, LatentModel, known
from geonp.nn.attention import ContextIndex, GlobalCrossAttention, LocalPoolingAggregation
from geonp.nn.blocks import ConvEncoder
from geonp.tasks import Task


@dataclass(frozen=True)
class IFANPConfig(LatentConfig):
    """Sizes of an IFANP.

    Parameters
    ----------
    lpa_window : side of the aggregation window on the latent path, odd; 1 leaves the aggregation out.
    gca_layers : stacked cross attentions on the deterministic path; 0 leaves the path out.
    """

    lpa_window: int = 3
    gca_layers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("lpa_window", self.lpa_window, 1, 255)
        check_range("gca_layers", self.gca_layers, 0, 32)
        check_odd("lpa_window", self.lpa_window)


class IFANP(LatentModel):
    """Image-faced attentive neural process (figure 2, all lines).

    Local pooling aggregation smooths R' before the pooling. On the deterministic path encoder-2 represents
    the context, and cross attention carries it to every pixel by the likeness of embedded coordinates.
    Stacked attentions read the context representation that the one before them gives.

    Attention over absolute coordinates holds on the canvas it was trained on: on another size it is a guess.
    """

    name: ClassVar[str] = "ifanp"
    config: IFANPConfig

    def __init__(self, config: IFANPConfig) -> None:
        c = config.channels
        super().__init__(config, attended=c if config.gca_layers else 0)
        self.lpa = LocalPoolingAggregation(config.lpa_window)
        if config.gca_layers:
            self.encoder2 = ConvEncoder(config.bands + 2, c, config.encoder_layers)
        self.gca = nn.ModuleList(GlobalCrossAttention(c) for _ in range(config.gca_layers))

    def aggregate(self, features: Tensor) -> Tensor:
        """Return R' after local pooling aggregation, and after the attention, if there is one."""
        smoothed: Tensor = self.attention(self.lpa(features))
        return smoothed

    def attend(self, task: Task, matrix: Tensor) -> Tensor | None:
        """Return R_pred, (B, C, H, W)."""
        if not self.gca:
            return None
        context = ContextIndex(task.context)
        seen, where = context.gather(matrix), matrix.flatten(2).transpose(1, 2)
        values = context.gather(self.encoder2(known(task, matrix)))
        *inner, last = self.gca
        for layer in inner:
            values = layer(seen, seen, values, context.valid)
        predicted: Tensor = last(where, seen, values, context.valid)
        return predicted.transpose(1, 2).reshape(-1, predicted.shape[2], *matrix.shape[2:])
