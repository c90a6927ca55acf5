"""Convolutional encoders and decoders, and the pooling that unknown pixels do not dilute."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class ConvEncoder(nn.Sequential):
    """Convolutions of 3 x 3 pixels with GELU between them.

    Parameters
    ----------
    inputs, channels : channels of the input and of every layer's output.
    layers : number of convolutions.
    stride : step of every convolution but the first, in pixels.
    bias : without biases, an input of zeros is encoded as zeros.
    """

    def __init__(self, inputs: int, channels: int, layers: int, stride: int = 1, bias: bool = True) -> None:
        steps: list[nn.Module] = [nn.Conv2d(inputs, channels, 3, padding=1, bias=bias)]
        for _ in range(layers - 1):
            steps += [nn.GELU(), nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=bias)]
        super().__init__(*steps)


class DeconvDecoder(nn.Sequential):
    """Transposed convolutions of 3 x 3 pixels that keep the canvas, GELU between them.

    Parameters
    ----------
    inputs, channels, outputs : channels of the input, of the hidden layers, of the output.
    layers : number of transposed convolutions, at least 2.
    """

    def __init__(self, inputs: int, channels: int, outputs: int, layers: int) -> None:
        widths = [inputs, *[channels] * (layers - 1), outputs]
        steps: list[nn.Module] = []
        for before, after in pairwise(widths):
            steps += [nn.ConvTranspose2d(before, after, 3, padding=1), nn.GELU()]
        super().__init__(*steps[:-1])


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Return r = r' / m: pooled features over the pooled mask, (B, C, 1, 1).

    Average pooling over the canvas dilutes what was encoded by the zeros of unknown pixels; the mask goes
    through the same pooling, and the division undoes it (IFNP, section 2.2). An empty mask gives 0.

    Parameters
    ----------
    features : (B, C, h, w), R'; its resolution may be lower than the mask's.
    mask : (B, 1, H, W), 1 at known pixels.
    """
    pooled, share = features.mean((2, 3), keepdim=True), mask.mean((2, 3), keepdim=True)
    return torch.where(share > 0, pooled / share.clamp_min(torch.finfo(share.dtype).tiny), 0.0)
