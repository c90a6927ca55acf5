"""Dual attention: every pixel asks all pixels, and every channel all channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geonp.nn.cost import Cost, attention, convolution
from geonp.nn.imageblock import ImageBlock, picture, points
from geonp.nn.multihead import multihead, multihead_cost


class DualAttention(ImageBlock):
    """Position and channel attention, added up.

    s_ji = softmax_i(B_i . C_j),  P_j = sum_i s_ji D_i      over pixels (eq. 1 and 2)
    x_ji = softmax_i(A_i . A_j),  Q_j = sum_i x_ji A_i      over channels (eq. 3 and 4)
    y = A + alpha P + beta Q

    A is the image; B, C and D are linear embeddings of it. alpha and beta start at zero. A channel's likeness to
    another is a sum over all pixels, not a mean (eq. 3): on larger images it is sharper.

    Source: Fu et al. (2019), "Dual attention network for scene segmentation", section 3.2 to 3.4. There each
    branch is A + alpha P or A + beta Q, has a convolution of its own, and the sum of both is taken. Here the image
    is counted once and the convolutions are left to what surrounds the block, so that a new one is the identity.

    Parameters
    ----------
    channels : of the image. B and C have an eighth of them, at least one.
    """

    reach = None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.inner = channels, max(channels // 8, 1)
        self.b = nn.Conv2d(channels, self.inner, 1)
        self.c = nn.Conv2d(channels, self.inner, 1)
        self.d = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def by_position(self, image: Tensor) -> Tensor:
        """Return P, (B, C, H, W)."""
        asked, held, values = points(self.c(image)), points(self.b(image)), points(self.d(image))
        return picture(multihead(asked, held, values, heads=1, scale=1.0), *image.shape[2:])

    def by_channel(self, image: Tensor) -> Tensor:
        """Return Q, (B, C, H, W)."""
        flat = image.flatten(2)
        weights = torch.softmax(torch.bmm(flat, flat.transpose(1, 2)), 2)
        return torch.bmm(weights, flat).view_as(image)

    def forward(self, image: Tensor) -> Tensor:
        """Return y, (B, C, H, W)."""
        return image + self.alpha * self.by_position(image) + self.beta * self.by_channel(image)

    def cost(self, height: int, width: int) -> Cost:
        """Return 4 N^2 C operations over pixels, 4 N C^2 over channels, and the embeddings."""
        pixels = height * width
        embed = convolution(self.channels, 2 * self.inner + self.channels, 1, height, width)
        position = multihead_cost(pixels, pixels, self.inner, self.channels, heads=1)
        return embed + position + attention(self.channels, self.channels, pixels, pixels)
