"""The non-local U-Net: a short U-Net that looks over the whole image at the bottom and on the way up."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import relu

from geonp.nn import pyramid
from geonp.nn.aggregation import GlobalAggregation
from geonp.nn.attentions import attention as attention_block
from geonp.nn.cost import Cost, convolution, doubling
from geonp.nn.imageblock import ImageBlock, interleaved


class ResidualStep(nn.Module):
    """S x + conv(relu(conv(relu(x)))), at the same resolution or half of it (regular and down-sampling).

    S is the identity; where the size is halved, every second row and column, mixed by channel.

    Parameters
    ----------
    inputs, outputs : channels; equal unless the size is halved.
    kernel : side of the convolutions, odd.
    halve : whether the size is halved, rounded up.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, halve: bool) -> None:
        super().__init__()
        self.inputs, self.outputs, self.kernel, self.halve = inputs, outputs, kernel, halve
        step = 2 if halve else 1
        self.first = nn.Conv2d(inputs, outputs, kernel, stride=step, padding=kernel // 2)
        self.second = nn.Conv2d(outputs, outputs, kernel, padding=kernel // 2)
        self.short = nn.Conv2d(inputs, outputs, 1, stride=2) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (B, C', H, W) or (B, C', H / 2, W / 2)."""
        ready = relu(x)
        change: Tensor = self.second(relu(self.first(ready)))
        kept: Tensor = self.short(ready if self.halve else x)
        return kept + change

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of a result of `height` x `width` pixels."""
        total = convolution(self.inputs, self.outputs, self.kernel, height, width)
        total += convolution(self.outputs, self.outputs, self.kernel, height, width)
        return total + convolution(self.inputs, self.outputs, 1, height, width) if self.halve else total


class BottomStep(nn.Module):
    """x + aggregate(relu(x))."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.aggregate = GlobalAggregation(channels, channels, heads, upward=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape, (B, C, H, W)."""
        found: Tensor = self.aggregate(relu(x))
        return x + found


class UpStep(nn.Module):
    """deconv(x) + aggregate(relu(x)), at twice the resolution.

    Parameters
    ----------
    inputs, outputs : channels.
    heads : attentions in parallel; divides `outputs`.
    """

    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.aggregate = GlobalAggregation(inputs, outputs, heads, upward=True)
        self.short = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (B, C', 2 H, 2 W)."""
        ready = relu(x)
        found: Tensor = self.short(ready) + self.aggregate(ready)
        return found

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of doubling an image of `height` x `width` pixels."""
        return self.aggregate.cost(height, width) + doubling(self.inputs, self.outputs, 3, height, width)


class NonLocalUNet(ImageBlock):
    """Three resolutions; global aggregation at the bottom and on the way up; skips are added.

    e_0 = R(conv(x)),  e_i = R_down(e_{i-1})
    d_L = a(e_L + G(e_L)),  d_i = e_i + deconv(d_{i+1}) + G_up(d_{i+1})
    y = W relu(d_0)

    R are residual blocks of two convolutions, G is `GlobalAggregation`, a the attention. Channels double with
    every resolution.

    Source: Wang, Zou, Shen and Ji (2020), "Non-local U-Nets for biomedical image segmentation", fig. 1 and 2.
    Its batch normalisation and dropout are left out: a pixel's value must not depend on what else is in the batch.

    Parameters
    ----------
    channels_in, channels_out : of the image and of the result.
    width : channels at full resolution; the paper's are 32.
    depth : resolutions; the paper's are 3.
    kernel : side of the convolutions, odd.
    attention : a key of `ATTENTIONS`, at the coarsest resolution.
    """

    reach = None

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        depth: int = 3,
        kernel: int = 3,
        attention: str = "none",
    ) -> None:
        super().__init__()
        self.kernel = kernel
        widths = [width << i for i in range(depth)]
        steps = list(pairwise(widths))
        heads = math.gcd(width, 4)
        self.enter = nn.Conv2d(channels_in, width, kernel, padding=kernel // 2)
        self.first = ResidualStep(width, width, kernel, halve=False)
        self.down = nn.ModuleList(ResidualStep(a, b, kernel, halve=True) for a, b in steps)
        self.bottom = BottomStep(widths[-1], heads)
        self.attention = attention_block(attention, widths[-1])
        self.up = nn.ModuleList(UpStep(b, a, heads) for a, b in steps)
        self.leave = nn.Conv2d(width, channels_out, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, channels_out, H, W)."""
        seen = [self.first(self.enter(interleaved(image)))]
        for block in self.down:
            seen.append(block(seen[-1]))
        result: Tensor = self.attention(self.bottom(seen[-1]))
        for i in reversed(range(len(self.up))):
            result = seen[i] + pyramid.cropped(self.up[i](result), seen[i])
        found: Tensor = self.leave(relu(result))
        return found

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost; the last aggregation's map of H W x H W / 4 weights a head dominates it."""
        fine, *coarse = pyramid.sizes(height, width, len(self.down) + 1)
        total = convolution(self.enter.in_channels, self.enter.out_channels, self.kernel, *fine)
        total += self.first.cost(*fine) + convolution(
            self.leave.in_channels, self.leave.out_channels, 1, *fine
        )
        for i, size in enumerate(coarse):
            for part in (self.down[i], self.up[i]):
                assert isinstance(part, ResidualStep | UpStep)
                total += part.cost(*size)
        last = [fine, *coarse][-1]
        return total + self.bottom.aggregate.cost(*last) + self.attention.cost(*last)
