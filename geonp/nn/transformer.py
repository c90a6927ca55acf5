"""The patch transformer (vision transformer, ViT), from an image to an image."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, pad, pixel_shuffle

from geonp.nn.attentions import attention as attention_block
from geonp.nn.cost import Cost, convolution, product
from geonp.nn.imageblock import ImageBlock, picture, points
from geonp.nn.multihead import multihead, multihead_cost


class TransformerLayer(nn.Module):
    """A layer of the transformer.

    x' = x + MSA(LN(x))                                                   (ViT eq. 2)
    x'' = x' + W_2 gelu(W_1 LN(x') + b_1) + b_2                           (ViT eq. 3)

    MSA is multi-head self-attention (`multihead`), LN layer normalisation of each token by itself.

    Parameters
    ----------
    width : channels of a token; W_1 has four times as many outputs.
    heads : attentions in parallel; divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.before = nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.first = nn.Linear(width, 4 * width)
        self.second = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape, (B, N, D)."""
        queries, keys, values = self.ask(self.before(tokens)).chunk(3, 2)
        tokens = tokens + self.merge(multihead(queries, keys, values, self.heads))
        change: Tensor = self.second(gelu(self.first(self.between(tokens))))
        return tokens + change

    def cost(self, count: int) -> Cost:
        """Return 24 N D^2 + 4 N^2 D operations for `count` tokens."""
        linear = product(count, self.width, 8 * self.width) + product(count, 4 * self.width, self.width)
        return linear + multihead_cost(count, count, self.width, self.width, self.heads)


class PatchTransformer(ImageBlock):
    """The image in patches of p x p pixels, each a token that attends to all.

    x_0 = [x_p^1 E; ...; x_p^N E] + E_pos,  N = ceil(H / p) ceil(W / p)   (ViT eq. 1)
    y = the patches LN(x_L) W, put together again

    There is no class token, as nothing is classified; W makes p x p pixels of a token. At an odd edge the patches
    are filled up with zeros, which E passes over, and the result is cropped. E_pos is learnt on 16 x 16 places;
    for another number of patches it is interpolated (ViT, section 3.2), so that a network holds best on canvases
    of the size it was trained on.

    Source: Dosovitskiy et al. (2021), "An image is worth 16x16 words", section 3.1 (eq. 2.5 to 2.9 of the chapter
    on attention and U-Nets).

    Parameters
    ----------
    channels_in, channels_out : of the image and of the result.
    width : channels of a token.
    depth : layers.
    kernel : side p of a patch in pixels.
    attention : a key of `ATTENTIONS`, on the grid of patches after the last layer.
    """

    reach = None
    places = 16

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        depth: int = 6,
        kernel: int = 4,
        attention: str = "none",
    ) -> None:
        super().__init__()
        self.patch = kernel
        self.embed = nn.Conv2d(channels_in, width, kernel, stride=kernel)
        self.position = nn.Parameter(torch.empty(1, width, self.places, self.places))
        nn.init.normal_(self.position, std=0.02)
        self.layers = nn.ModuleList(TransformerLayer(width, math.gcd(width, 4)) for _ in range(depth))
        self.attention = attention_block(attention, width)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, channels_out * kernel * kernel)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return E_pos for a grid of patches, (1, D, rows, columns)."""
        if (rows, columns) == (self.places, self.places):
            return self.position
        return interpolate(self.position, (rows, columns), mode="bilinear", align_corners=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, channels_out, H, W)."""
        height, width = image.shape[2:]
        whole = pad(image, (0, -width % self.patch, 0, -height % self.patch))
        grid = self.embed(whole)
        rows, columns = grid.shape[2:]
        tokens = points(grid + self.positions(rows, columns))
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = points(self.attention(picture(tokens, rows, columns)))
        patches = picture(self.leave(self.norm(tokens)), rows, columns)
        return pixel_shuffle(patches, self.patch)[..., :height, :width]

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost: in the number N of patches, linear and (by the attention) quadratic."""
        rows, columns = -(-height // self.patch), -(-width // self.patch)
        channels = self.embed.out_channels
        total = convolution(self.embed.in_channels, channels, self.patch, rows, columns)
        for layer in self.layers:
            assert isinstance(layer, TransformerLayer)
            total += layer.cost(rows * columns)
        total += product(rows * columns, channels, self.leave.out_features)
        return total + self.attention.cost(rows, columns)
