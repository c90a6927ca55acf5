"""Softmax attention of lists of queries to lists of keys, by the fused kernel where there is one."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from geonp.nn.cost import Cost, attention


def multihead(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, scale: float | None = None
) -> Tensor:
    """Return softmax(scale Q K^T) V, head by head, (B, N, E).

    The fused kernels, which never write the map of weights, want as many channels of a value as of a query. Zeros
    make up the difference: they change neither a score nor a sum, and cost less than the map.

    Source: Vaswani et al. (2017), "Attention is all you need", eq. 1 and section 3.2.2.

    Parameters
    ----------
    queries, keys, values : (B, N, C), (B, M, C), (B, M, E).
    heads : C and E are cut into so many parts, each of which attends by itself.
    scale : the paper's 1 / sqrt(C / heads) where None.
    """
    parts = [_split(x, heads) for x in (queries, keys, values)]
    widest, wanted = max(x.shape[3] for x in parts), parts[2].shape[3]
    # With strides other than those of (B, heads, N, C / heads) fused kernels decline.
    q, k, v = (pad(x, (0, widest - x.shape[3])).contiguous() for x in parts)
    scale = parts[0].shape[3] ** -0.5 if scale is None else scale
    found = scaled_dot_product_attention(q, k, v, scale=scale)
    return found[..., :wanted].transpose(1, 2).flatten(2)


def multihead_cost(queries: int, keys: int, depth: int, values: int, heads: int) -> Cost:
    """Return the cost of `multihead` for one image.

    Parameters
    ----------
    queries, keys : how many there are.
    depth, values : channels of a query or key, and of a value, over all heads.
    heads : attentions in parallel.
    """
    widest = max(depth, values) // heads
    return attention(queries, keys, widest, widest, batch=heads)


def _split(points: Tensor, heads: int) -> Tensor:
    batch, count, channels = points.shape
    return points.reshape(batch, count, heads, channels // heads).transpose(1, 2)
