"""The global aggregation block of the non-local U-Net."""

from __future__ import annotations

from torch import Tensor, nn

from geonp.nn.cost import Cost, convolution, doubling
from geonp.nn.imageblock import picture, points
from geonp.nn.multihead import multihead, multihead_cost


class GlobalAggregation(nn.Module):
    """Every pixel of the result is a weighted sum over all pixels of the image.

    Y = W_o softmax(Q K^T / sqrt(D)) V,  Q = query(X), K = W_k X, V = W_v X

    The result has the size of Q: where the query transform doubles the size, so does the block.

    Source: Wang, Zou, Shen and Ji (2020), "Non-local U-Nets for biomedical image segmentation", "Global aggregation
    block".

    Parameters
    ----------
    inputs, outputs : channels. Q, K and V have as many as the result.
    heads : attentions in parallel; divides `outputs`.
    upward : whether the query transform is a transposed convolution of stride 2, 3 x 3 pixels; else it is linear.
    """

    def __init__(self, inputs: int, outputs: int, heads: int, upward: bool) -> None:
        super().__init__()
        self.inputs, self.outputs, self.heads, self.upward = inputs, outputs, heads, upward
        self.query = (
            nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
            if upward
            else nn.Conv2d(inputs, outputs, 1)
        )
        self.key = nn.Conv2d(inputs, outputs, 1)
        self.value = nn.Conv2d(inputs, outputs, 1)
        self.merge = nn.Conv2d(outputs, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return Y, (B, C', H, W) or (B, C', 2 H, 2 W)."""
        query = self.query(image)
        found = multihead(points(query), points(self.key(image)), points(self.value(image)), self.heads)
        merged: Tensor = self.merge(picture(found, *query.shape[2:]))
        return merged

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost for an image of `height` x `width` pixels: 4 N M C' operations and the embeddings."""
        pixels, times = height * width, 4 if self.upward else 1
        embed = convolution(self.inputs, self.outputs, 1, height, width)
        query = doubling(self.inputs, self.outputs, 3, height, width) if self.upward else embed
        pairs = multihead_cost(times * pixels, pixels, self.outputs, self.outputs, self.heads)
        merge = convolution(self.outputs, self.outputs, 1, height, width) * times
        return query + embed * 2 + pairs + merge
