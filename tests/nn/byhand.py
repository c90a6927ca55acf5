"""Formulas that several tests share."""

import math

import torch
from torch import Tensor


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of images (B, C, H, W), head by head, by einsum."""
    batch, channels, rows, columns = q.shape
    a, b, c = (t.flatten(2).reshape(batch, heads, channels // heads, -1) for t in (q, k, v))
    scores = torch.einsum("bhdn,bhdm->bhnm", a, b) / math.sqrt(channels / heads)
    weights = scores.exp() / scores.exp().sum(3, keepdim=True)
    return torch.einsum("bhnm,bhdm->bhdn", weights, c).reshape(batch, channels, rows, columns)
