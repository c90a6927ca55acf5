"""The image-faced neural process (IFNP): the latent path alone.

Source: "Image-faced attentive neural process", Computer Systems & Applications 32(1), 2023, section 2.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from geonp.models.latent import LatentConfig, LatentModel


class IFNP(LatentModel):
    """Image-faced neural process (figure 2, solid lines); see `LatentModel`.

    All it knows of the context is one vector: it gives the gist of a field, and does not honour observations.
    With `attention` on R' it is one of the paper's ablations: squeeze-and-excitation is its IFANP (SENet).
    """

    name: ClassVar[str] = "ifnp"

    def __init__(self, config: LatentConfig) -> None:
        super().__init__(config)

    def aggregate(self, features: Tensor) -> Tensor:
        """Return R' after the attention, if there is one."""
        seen: Tensor = self.attention(features)
        return seen
