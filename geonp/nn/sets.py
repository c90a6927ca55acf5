"""Layers on lists of points: a multi-layer perceptron, a mean over a set, attention of several heads."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class MLP(nn.Sequential):
    """Linear layers with rectifiers between them, over the last dimension: (..., inputs) -> (..., outputs).

    Weights start at Normal(0, 2 / inputs) and biases at zero (He et al. 2015, "Delving deep into rectifiers",
    eq. 10): torch's own start halves what passes at every layer, and a deep head then learns late.

    Parameters
    ----------
    inputs, width, outputs : channels of the input, of the hidden layers, of the output.
    hidden : hidden layers; 0 is a single linear map.
    """

    def __init__(self, inputs: int, width: int, outputs: int, hidden: int) -> None:
        sizes = [inputs, *[width] * hidden, outputs]
        steps: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layer = nn.Linear(before, after)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            steps += [layer, nn.ReLU()]
        super().__init__(*steps[:-1])


def set_mean(points: Tensor, valid: Tensor) -> Tensor:
    """Return r = 1/n sum_i r_i over the valid points, (B, D); 0 for a set without any.

    Source: Garnelo et al. (2018), "Conditional neural processes", eq. 2-3: a commutative aggregator.

    Parameters
    ----------
    points : (B, N, D).
    valid : (B, N), False at padding.
    """
    weight = valid.to(points.dtype)[..., None]
    return (points * weight).sum(1) / weight.sum(1).clamp_min(1)


class MultiheadCrossAttention(nn.Module):
    """Cross attention of several heads from points to a set.

    head_h = softmax(Q W_h^Q (K W_h^K)^T / sqrt(d)) V W_h^V with d = channels / heads; the heads, side by side,
    go through W^O (Vaswani et al. 2017, section 3.2; Kim et al. 2019, "Attentive neural processes", section 3).

    Parameters
    ----------
    channels : of queries, keys, values and result; a multiple of `heads`.
    heads : attentions in parallel.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.merge = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Return what every query found, (B, Q, C); 0 for an empty set.

        Parameters
        ----------
        queries : (B, Q, C).
        keys, values : (B, N, C), N >= 1.
        valid : (B, N), False at padding.
        """
        some = valid.any(1)
        # A row without a key is NaN in a softmax: the first one stands in, and its answer is taken out.
        open_keys = valid.clone()
        open_keys[:, 0] |= ~some
        parts = (self.query(queries), self.key(keys), self.value(values))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        found = scaled_dot_product_attention(q, k, v, attn_mask=open_keys[:, None, None, :])
        merged: Tensor = self.merge(found.transpose(1, 2).flatten(2))
        return torch.where(some[:, None, None], merged, 0.0)
