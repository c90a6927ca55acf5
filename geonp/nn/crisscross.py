"""Criss-cross attention: every pixel asks its row and its column, twice, and so the whole image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geonp.nn.cost import Cost, attention, convolution
from geonp.nn.imageblock import ImageBlock


class CrissCross(ImageBlock):
    """Recurrent criss-cross attention.

    d_iu = Q_u . K_iu,  A_u = softmax_i(d_iu)            (eq. 1)
    H'_u = gamma sum_i A_iu V_iu + H_u                   (eq. 2)

    i runs over the H + W - 1 pixels in the row and the column of u, itself once; Q, K and V are linear
    embeddings of H. A second pass with the same weights carries everything everywhere: a pixel at (y, x) reaches
    (y', x') by way of (y, x') and (y', x). Memory grows with H W (H + W - 1), not with (H W)^2.

    Source: Huang et al. (2019), "CCNet: criss-cross attention for semantic segmentation", section 3.2 and 3.3.
    gamma, which starts at zero and makes a new block the identity, is that of the authors' program; eq. 2 has
    gamma = 1.

    Parameters
    ----------
    channels : of the image. Q and K have an eighth of them, at least one.
    passes : times that the attention is applied; the paper's is 2.
    """

    reach = None

    def __init__(self, channels: int, passes: int = 2) -> None:
        super().__init__()
        self.channels, self.inner, self.passes = channels, max(channels // 8, 1), passes
        self.query = nn.Conv2d(channels, self.inner, 1)
        self.key = nn.Conv2d(channels, self.inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def weights(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return A of eq. 1 in two parts: over the column, (B, H, W, H), and over the row, (B, H, W, W).

        The pixel itself is counted in the row; in its column its weight is 0. Together they sum to one.
        """
        query, key = self.query(image), self.key(image)
        column = torch.matmul(_columns(query), _columns(key).transpose(2, 3)).transpose(1, 2)
        row = torch.matmul(_rows(query), _rows(key).transpose(2, 3))
        itself = torch.eye(image.shape[2], dtype=torch.bool, device=image.device)
        column = column.masked_fill(itself[:, None], -torch.inf)
        both = torch.softmax(torch.cat((column, row), 3), 3)
        return both[..., : image.shape[2]], both[..., image.shape[2] :]

    def once(self, image: Tensor) -> Tensor:
        """Return H' of eq. 2, (B, C, H, W)."""
        column, row = self.weights(image)
        value = self.value(image)
        above = torch.matmul(column.transpose(1, 2), _columns(value)).permute(0, 3, 2, 1)
        beside = torch.matmul(row, _rows(value)).permute(0, 3, 1, 2)
        return image + self.gamma * (above + beside)

    def forward(self, image: Tensor) -> Tensor:
        """Return the image after all passes, (B, C, H, W)."""
        for _ in range(self.passes):
            image = self.once(image)
        return image

    def cost(self, height: int, width: int) -> Cost:
        """Return 2 H W (H + W) (C / 8 + C) operations a pass, and the embeddings."""
        embed = convolution(self.channels, 2 * self.inner + self.channels, 1, height, width)
        columns = attention(height, height, self.inner, self.channels, batch=width)
        rows = attention(width, width, self.inner, self.channels, batch=height)
        return (embed + columns + rows) * self.passes


def _columns(image: Tensor) -> Tensor:
    """Return every column of an image (B, C, H, W) as a list of pixels, (B, W, H, C)."""
    return image.permute(0, 3, 2, 1)


def _rows(image: Tensor) -> Tensor:
    """Return every row of an image (B, C, H, W) as a list of pixels, (B, H, W, C)."""
    return image.permute(0, 2, 3, 1)
