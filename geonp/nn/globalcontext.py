"""Global context: one summary of the image, the same for every pixel, is added to all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from geonp.nn.cost import Cost, convolution, product
from geonp.nn.imageblock import ImageBlock, points


class GlobalContext(ImageBlock):
    """The global context block: attention that does not depend on who asks.

    a_j = softmax_j(W_k x_j)
    z_i = x_i + W_v2 relu(LN(W_v1 sum_j a_j x_j))        (eq. 5)

    W_v2 starts at zero, so that a new block is the identity.

    Source: Cao et al. (2019), "GCNet: non-local networks meet squeeze-excitation networks and beyond", section
    3.3; LN is layer normalisation.

    Parameters
    ----------
    channels : of the image.
    reduction : W_v1 has C / reduction outputs, at least 4: what is normalised over fewer says little. The paper's
        is 16 for hundreds of channels.
    """

    reach = None

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.channels, self.inner = channels, max(channels // reduction, 4)
        self.key = nn.Conv2d(channels, 1, 1)
        self.first = nn.Linear(channels, self.inner)
        self.norm = nn.LayerNorm(self.inner)
        self.second = nn.Linear(self.inner, channels)
        for weights in self.second.parameters():
            nn.init.zeros_(weights)

    def weights(self, image: Tensor) -> Tensor:
        """Return a, (B, 1, H W)."""
        return torch.softmax(self.key(image).flatten(2), 2)

    def forward(self, image: Tensor) -> Tensor:
        """Return z of eq. 5, (B, C, H, W)."""
        context = torch.bmm(self.weights(image), points(image))[:, 0]
        change: Tensor = self.second(relu(self.norm(self.first(context))))
        return image + change[:, :, None, None]

    def cost(self, height: int, width: int) -> Cost:
        """Return 4 H W C operations, and 4 C^2 / reduction whatever the size."""
        pixels = height * width
        pooling = convolution(self.channels, 1, 1, height, width) + product(1, pixels, self.channels)
        return pooling + product(1, self.channels, self.inner) + product(1, self.inner, self.channels)
