"""The U-Net."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from geonp.nn import pyramid
from geonp.nn.attentions import attention as attention_block
from geonp.nn.cost import Cost, convolution
from geonp.nn.imageblock import ImageBlock, interleaved
from geonp.nn.pyramid import DoubleConv, UpConv


class ClassicUNet(ImageBlock):
    """A contracting path, an expanding path, and skips between them.

    e_0 = H(x),  e_i = H(max2x2(e_{i-1}))
    d_L = a(e_L),  d_i = H([e_i, U(d_{i+1})])
    y = W d_0

    H is two convolutions with rectifiers, U an up-convolution that halves the channels, [., .] concatenation, a the
    attention. Channels double with every resolution.

    Source: Ronneberger, Fischer and Brox (2015), "U-Net: convolutional networks for biomedical image
    segmentation", section 2. There the convolutions are not padded and the result is smaller than the image; here
    zeros keep its size.

    Parameters
    ----------
    channels_in, channels_out : of the image and of the result.
    width : channels at full resolution.
    depth : resolutions; the paper's are 5.
    kernel : side of the convolutions, odd.
    attention : a key of `ATTENTIONS`, at the coarsest resolution.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        depth: int = 4,
        kernel: int = 3,
        attention: str = "none",
    ) -> None:
        super().__init__()
        self.kernel, self.widths = kernel, [width << i for i in range(depth)]
        steps = list(pairwise(self.widths))
        self.enter = DoubleConv(channels_in, width, kernel)
        self.down = nn.ModuleList(DoubleConv(a, b, kernel) for a, b in steps)
        self.attention = attention_block(attention, self.widths[-1])
        self.up = nn.ModuleList(UpConv(b, a) for a, b in steps)
        self.join = nn.ModuleList(DoubleConv(2 * a, a, kernel) for a, _ in steps)
        self.leave = nn.Conv2d(width, channels_out, 1)

    @property
    def reach(self) -> int | None:
        """What the widest way sees; None with an attention that sees everything."""
        return None if self.attention.reach is None else pyramid.reach(len(self.widths), self.kernel)

    def skip(self, level: int, seen: Tensor, deeper: Tensor) -> Tensor:
        """Return what is carried across at resolution `level`: e_i as it is.

        Parameters
        ----------
        level : resolution i.
        seen : e_i, (B, C, h, w).
        deeper : d_{i+1}, (B, 2 C, ceil(h / 2), ceil(w / 2)).
        """
        return seen

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, channels_out, H, W)."""
        seen = [self.enter(interleaved(image))]
        for block in self.down:
            seen.append(block(pyramid.halved(seen[-1])))
        result: Tensor = self.attention(seen[-1])
        for i in reversed(range(len(self.up))):
            upper = pyramid.cropped(self.up[i](result), seen[i])
            result = self.join[i](torch.cat((self.skip(i, seen[i], result), upper), 1))
        found: Tensor = self.leave(result)
        return found

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost, in proportion to the pixels (without attention)."""
        fine, *coarse = pyramid.sizes(height, width, len(self.widths))
        total = self.enter.cost(*fine) + convolution(self.widths[0], self.leave.out_channels, 1, *fine)
        for i, (before, after) in enumerate(pairwise([fine, *coarse])):
            for part, size in ((self.down[i], after), (self.up[i], after), (self.join[i], before)):
                assert isinstance(part, DoubleConv | UpConv)
                total += part.cost(*size)
        return total + self.attention.cost(*[fine, *coarse][-1])
