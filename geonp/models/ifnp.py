"""The image-faced neural process (IFNP): the latent path alone.

Source: "Image-faced attentive neural process", Computer Systems & Applications 32(1), 2023, section 2.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from geonp.models.latent import LatentConfig, LatentModel
from geonp.tasks import Task


class IFNP(LatentModel):
    """Image-faced neural process (figure 2, solid lines); see `LatentModel`.

    All it knows of the context is one vector: it gives the gist of a field, and does not honour observations.
    """

    name: ClassVar[str] = "ifnp"

    def __init__(self, config: LatentConfig) -> None:
        super().__init__(config)

    def aggregate(self, features: Tensor) -> Tensor:
        """Return R' as it is."""
        return features

    def attend(self, task: Task, matrix: Tensor) -> None:
        """There is no deterministic path."""
        return
