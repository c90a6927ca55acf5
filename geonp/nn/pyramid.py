"""The steps of a U-Net, for images of any size.

Halving rounds up, so that no pixel is left out; doubling is cropped to the size of what it joins. No row or column
is ever made up. There is no normalisation: statistics of the canvas would make a pixel's value depend on the
canvas it is computed in.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from geonp.nn.cost import Cost, convolution, doubling


def sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Return height and width at every resolution of `levels`, the finest first."""
    found = [(height, width)]
    for _ in range(levels - 1):
        height, width = -(-height // 2), -(-width // 2)
        found.append((height, width))
    return found


def reach(levels: int, kernel: int) -> int:
    """Return the pixels beside a pixel that a U-Net with two convolutions a block looks at, an upper bound.

    The widest way leads down to the coarsest of `levels` resolutions and up again: two convolutions at every
    resolution each way, and a shift within a coarsest pixel.
    """
    coarsest = 1 << (levels - 1)
    return kernel // 2 * (4 * (coarsest - 1) + 2 * coarsest) + coarsest - 1


def halved(image: Tensor) -> Tensor:
    """Return the maximum over 2 x 2 pixels; windows at an odd edge hold the pixels that exist."""
    return max_pool2d(image, 2, ceil_mode=True)


def cropped(image: Tensor, like: Tensor) -> Tensor:
    """Return the upper left part of an image that has the size of `like`."""
    return image[..., : like.shape[2], : like.shape[3]]


class DoubleConv(nn.Sequential):
    """relu(conv(relu(conv(x)))), with zeros around the image.

    First weights are normal with variance 2 / N, N numbers going into each output, so that the size of what passes
    through many layers stays the same (He et al. 2015; Ronneberger et al. 2015, section 3).

    Parameters
    ----------
    inputs, outputs : channels.
    kernel : side of the convolutions in pixels, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, kernel, padding=kernel // 2),
            nn.ReLU(),
        )
        self.inputs, self.outputs, self.kernel = inputs, outputs, kernel
        for layer in (self[0], self[2]):
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of both convolutions."""
        first = convolution(self.inputs, self.outputs, self.kernel, height, width)
        return first + convolution(self.outputs, self.outputs, self.kernel, height, width)


class UpConv(nn.ConvTranspose2d):
    """A pixel becomes 2 x 2 pixels, each by weights of its own.

    Parameters
    ----------
    inputs, outputs : channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, stride=2)

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of doubling an image of `height` x `width` pixels."""
        return doubling(self.in_channels, self.out_channels, 2, height, width)
