"""The residual convolutional network of the convolutional conditional neural process (ConvCNP)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from geonp.nn.attentions import attention as attention_block
from geonp.nn.cost import Cost, convolution
from geonp.nn.imageblock import ImageBlock, interleaved


class SeparableConv(nn.Sequential):
    """A convolution of every channel by itself, then a mix of the channels at every pixel (Chollet, 2017)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels),
            nn.Conv2d(channels, channels, 1),
        )


class PreactivationBlock(nn.Module):
    """h + conv(relu(conv(relu(h)))): a residual block with two separable convolutions."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.first = SeparableConv(channels, kernel)
        self.second = SeparableConv(channels, kernel)

    def forward(self, h: Tensor) -> Tensor:
        """Return features of the same shape, (B, C, H, W)."""
        change: Tensor = self.second(relu(self.first(relu(h))))
        return h + change


class ResidualCNN(ImageBlock):
    """Residual blocks at full resolution.

    h_0 = W_in x
    h_l = h_{l-1} + conv(relu(conv(relu(h_{l-1}))))    (He et al. 2016, "Identity mappings", eq. 1 and fig. 4e)
    y = W_out relu(a(h_L))

    Convolutions are separable by channel and pad with zeros; a is the attention. The defaults are those of
    the ConvCNP report: 5 blocks, that is 10 convolutions, of 9 x 9 pixels.

    Parameters
    ----------
    channels_in, channels_out : of the image and of the result.
    width : channels of h.
    depth : blocks.
    kernel : side of the convolutions, odd.
    attention : a key of `ATTENTIONS`, at full resolution after the last block.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        depth: int = 5,
        kernel: int = 9,
        attention: str = "none",
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.enter = nn.Conv2d(channels_in, width, 1)
        self.blocks = nn.Sequential(*(PreactivationBlock(width, kernel) for _ in range(depth)))
        self.attention = attention_block(attention, width)
        self.leave = nn.Conv2d(width, channels_out, 1)

    @property
    def reach(self) -> int | None:
        """Half a kernel for each of the 2 x depth convolutions."""
        beside = self.attention.reach
        return None if beside is None else 2 * len(self.blocks) * (self.kernel // 2) + beside

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, channels_out, H, W)."""
        seen = self.blocks(self.enter(interleaved(image)))
        found: Tensor = self.leave(relu(self.attention(seen)))
        return found

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost, in proportion to the pixels (without attention)."""
        inner = self.enter.out_channels
        layer = convolution(inner, inner, self.kernel, height, width, groups=inner)
        layer += convolution(inner, inner, 1, height, width)
        ends = convolution(self.enter.in_channels, inner, 1, height, width)
        ends += convolution(inner, self.leave.out_channels, 1, height, width)
        return layer * (2 * len(self.blocks)) + ends + self.attention.cost(height, width)
