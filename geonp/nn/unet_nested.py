"""The nested U-Net (U-Net++): skips that are U-Nets themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geonp.nn import pyramid
from geonp.nn.attentions import attention as attention_block
from geonp.nn.cost import Cost, convolution
from geonp.nn.imageblock import ImageBlock, interleaved
from geonp.nn.pyramid import DoubleConv, UpConv


class NestedUNet(ImageBlock):
    """A U-Net of every depth at once, sharing what they compute.

    x^{i,0} = H(max2x2(x^{i-1,0}))
    x^{i,j} = H([x^{i,0}, ..., x^{i,j-1}, U(x^{i+1,j-1})])     (eq. 1)
    y = mean_j W_j x^{0,j},  j = 1 ... L

    i is the resolution and j the place along the skip; H, U and [., .] are those of `ClassicUNet`. x^{0,j} is the
    result of the U-Net with j + 1 resolutions (deep supervision): their mean is the paper's accurate mode, one of
    them alone (`branches`) its fast mode.

    Source: Zhou et al. (2018), "UNet++: a nested U-Net architecture for medical image segmentation", section 3.

    Parameters
    ----------
    channels_in, channels_out : of the image and of the result.
    width : channels at full resolution; they double with every resolution.
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
        self.kernel, self.depth = kernel, depth
        widths = [width << i for i in range(depth)]
        self.backbone = nn.ModuleList(
            DoubleConv(channels_in if i == 0 else widths[i - 1], widths[i], kernel) for i in range(depth)
        )
        self.attention = attention_block(attention, widths[-1])
        # Row i, column j - 1: the node x^{i,j} and the up-convolution that leads to it.
        self.up = nn.ModuleList(
            nn.ModuleList(UpConv(widths[i + 1], widths[i]) for _ in range(1, depth - i))
            for i in range(depth - 1)
        )
        self.join = nn.ModuleList(
            nn.ModuleList(DoubleConv((j + 1) * widths[i], widths[i], kernel) for j in range(1, depth - i))
            for i in range(depth - 1)
        )
        self.leave = nn.ModuleList(nn.Conv2d(width, channels_out, 1) for _ in range(max(depth - 1, 1)))

    @property
    def reach(self) -> int | None:
        """What the deepest way sees; None with an attention that sees everything."""
        return None if self.attention.reach is None else pyramid.reach(self.depth, self.kernel)

    def branches(self, image: Tensor, count: int | None = None) -> list[Tensor]:
        """Return W_j x^{0,j} for j = 1 ... L, each (B, channels_out, H, W).

        Parameters
        ----------
        image : (B, channels_in, H, W).
        count : how many, the shallowest first; deeper resolutions are not computed (the paper's pruning). All
            where None.
        """
        count = len(self.leave) if count is None else count
        levels = min(count + 1, self.depth)
        rows = [[self.backbone[0](interleaved(image))]]
        for i in range(1, levels):
            rows.append([self.backbone[i](pyramid.halved(rows[-1][0]))])
        if levels == self.depth:
            rows[-1] = [self.attention(rows[-1][0])]
        for j in range(1, levels):
            for i in range(levels - j):
                up, join = self._node(i, j)
                upper = pyramid.cropped(up(rows[i + 1][j - 1]), rows[i][0])
                rows[i].append(join(torch.cat((*rows[i], upper), 1)))
        nodes = rows[0][1:] or rows[0]
        return [head(node) for head, node in zip(self.leave, nodes, strict=False)]

    def forward(self, image: Tensor) -> Tensor:
        """Return the mean of all branches, (B, channels_out, H, W)."""
        return torch.stack(self.branches(image)).mean(0)

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost, in proportion to the pixels (without attention)."""
        sizes = pyramid.sizes(height, width, self.depth)
        total = self.attention.cost(*sizes[-1])
        for head in self.leave:
            assert isinstance(head, nn.Conv2d)
            total += convolution(head.in_channels, head.out_channels, 1, height, width)
        for block, size in zip(self.backbone, sizes, strict=True):
            assert isinstance(block, DoubleConv)
            total += block.cost(*size)
        for i in range(self.depth - 1):
            for j in range(1, self.depth - i):
                up, join = self._node(i, j)
                total += up.cost(*sizes[i + 1]) + join.cost(*sizes[i])
        return total

    def _node(self, i: int, j: int) -> tuple[UpConv, DoubleConv]:
        """Return what makes x^{i,j}."""
        ups, joins = self.up[i], self.join[i]
        assert isinstance(ups, nn.ModuleList)
        assert isinstance(joins, nn.ModuleList)
        up, join = ups[j - 1], joins[j - 1]
        assert isinstance(up, UpConv)
        assert isinstance(join, DoubleConv)
        return up, join
