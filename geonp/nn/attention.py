"""The two attention modules of the image-faced attentive neural process (IFANP).

Source: "Image-faced attentive neural process", Computer Systems & Applications 32(1), 2023, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, scaled_dot_product_attention


def window_weights(window: int) -> Tensor:
    """Return the weights of a local pooling aggregation, (window, window), summing to one.

    Eq. 8 with the pixel at the middle of the window as x_i: a softmax over the window of minus the Euclidean
    distance, counted in pixels of the feature map.
    """
    offset = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    return torch.softmax(-torch.hypot(offset[:, None], offset[None, :]).flatten(), 0).view(window, window)


class LocalPoolingAggregation(nn.Module):
    """Local pooling aggregation (LPA, eq. 7): every pixel becomes a weighted mean of its window.

    The weights fall with distance (`window_weights`) and are the same for every channel. At an edge
    of the map the softmax runs over the pixels that exist. A window of 1 is the identity.

    Parameters
    ----------
    window : side of the window in pixels, odd.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window is {window}, expected an odd number of pixels")
        self.window = window

    def forward(self, features: Tensor) -> Tensor:
        """Aggregate features (B, C, H, W); the shape is kept."""
        if self.window == 1:
            return features
        channels, reach = features.shape[1], self.window // 2
        weights = window_weights(self.window).to(features)
        kernel = weights.expand(channels, 1, -1, -1)
        total = conv2d(features, kernel, padding=reach, groups=channels)
        there = conv2d(features.new_ones(1, 1, *features.shape[2:]), weights[None, None], padding=reach)
        return total / there


def cross_attention(queries: Tensor, keys: Tensor, values: Tensor, valid: Tensor) -> Tensor:
    """Return the responses y_i = sum_j softmax_j(queries_i . keys_j) values_j of eq. 9 and 10.

    Parameters
    ----------
    queries : (B, Q, D), embedded positions theta(x_i).
    keys : (B, N, D), embedded context positions theta(x_j), N >= 1.
    values : (B, N, E), context representations r_j.
    valid : (B, N), True at context points, False at padding.

    Returns
    -------
    Tensor
        (B, Q, E); 0 for a field without any valid point.
    """
    # A row without a key is NaN in a softmax: the first padding key stands in for it, with a value of zero.
    open_keys = valid.clone()
    open_keys[:, 0] |= ~valid.any(1)
    values = values * valid[..., None]
    mask = open_keys[:, None, None, :]
    q, k, v = queries[:, None], keys[:, None], values[:, None]
    out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
    return out[:, 0]


class CoordinateEmbedding(nn.Module):
    """The embedding theta(x) = W_theta e(x) of eq. 10, e being the coordinate encoder of figure 5.

    The encoder is a stack of 1 x 1 convolutions, here linear layers on lists of points. The paper leaves its
    non-linearity open. Sines are used: with random frequencies, theta(x_i) . theta(x_j) starts as a smooth,
    nearly translation-invariant kernel of x_i - x_j (Rahimi and Recht, 2007), so that attention is local from
    the first step on; rectifiers need many thousands of steps to get there.

    Parameters
    ----------
    channels : dimension of the embedding.
    frequency : standard deviation of the first layer's weights, in radians per half canvas.
    sharpness : theta(x) . theta(x) before training; the larger, the more local the attention.
    """

    def __init__(self, channels: int, frequency: float = 4.0, sharpness: float = 12.0) -> None:
        super().__init__()
        self.first = nn.Linear(2, channels)
        self.second = nn.Linear(channels, channels)
        self.theta = nn.Linear(channels, channels, bias=False)
        nn.init.normal_(self.first.weight, std=frequency)
        nn.init.uniform_(self.first.bias, -math.pi, math.pi)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)
        # A sine of random phase has a mean square of one half.
        nn.init.orthogonal_(self.theta.weight, gain=math.sqrt(2 * sharpness / channels))

    def forward(self, points: Tensor) -> Tensor:
        """Embed points (..., 2) as (..., channels)."""
        waves = torch.sin(self.first(points))
        embedded: Tensor = self.theta(waves + torch.sin(self.second(waves)))
        return embedded


class GlobalCrossAttention(nn.Module):
    """Global cross attention (GCA, eq. 9 and 10): context representations, weighted by where they lie.

    Parameters
    ----------
    channels : dimension of the embedding and of the representations.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed = CoordinateEmbedding(channels)

    def forward(self, where: Tensor, seen: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Return the representation at every point of `where`, (B, Q, C).

        Parameters
        ----------
        where : (B, Q, 2), coordinates asked about (M, flattened).
        seen : (B, N, 2), coordinates of the context (M+, flattened and squeezed).
        values : (B, N, C), representations of the context.
        valid : (B, N), False at padding.
        """
        return cross_attention(self.embed(where), self.embed(seen), values, valid)


class ContextIndex:
    """The pixels of a batch's context masks, listed: the "squeeze" of figure 5, which removes unknown pixels.

    Lists are as long as the batch's fullest context (at least one entry); shorter ones are padded.

    Parameters
    ----------
    mask : (B, 1, H, W), non-zero at context pixels.
    """

    def __init__(self, mask: Tensor) -> None:
        seen = mask.flatten(1) > 0
        count = seen.sum(1)
        longest = max(int(count.max()), 1)
        order = torch.argsort(seen.to(torch.uint8), dim=1, descending=True, stable=True)
        self._pixels = order[:, :longest]
        self.valid = torch.arange(longest, device=mask.device) < count[:, None]

    def gather(self, image: Tensor) -> Tensor:
        """Return the context pixels of an image (B, C, H, W) as a list (B, N, C)."""
        points = image.flatten(2).transpose(1, 2)
        return points.gather(1, self._pixels[..., None].expand(-1, -1, points.shape[2]))
