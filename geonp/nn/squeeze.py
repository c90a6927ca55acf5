"""Squeeze-and-excitation: the image as a whole says how much each channel counts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from geonp.nn.cost import Cost, convolution
from geonp.nn.imageblock import ImageBlock


class SqueezeExcitation(ImageBlock):
    """Channels weighted by what they hold on average.

    z_c = mean_ij x_c(i, j)              (squeeze, eq. 2)
    s = sigmoid(W_2 relu(W_1 z))         (excitation, eq. 3)
    y_c = s_c x_c                        (eq. 4)

    Source: Hu, Shen and Sun (2018), "Squeeze-and-excitation networks". W_1 and W_2 carry biases.

    Parameters
    ----------
    channels : C of the image.
    reduction : W_1 has C / reduction outputs, at least 4: of a single rectifier that is off nothing is learnt. The
        paper's is 16.
    """

    reach = None

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(channels // reduction, 4)
        self.first = nn.Conv2d(channels, inner, 1)
        self.second = nn.Conv2d(inner, channels, 1)

    def weights(self, image: Tensor) -> Tensor:
        """Return s of eq. 3, (B, C, 1, 1), between 0 and 1."""
        excited: Tensor = self.second(relu(self.first(image.mean((2, 3), keepdim=True))))
        return excited.sigmoid()

    def forward(self, image: Tensor) -> Tensor:
        """Return the weighted image, (B, C, H, W)."""
        return image * self.weights(image)

    def cost(self, height: int, width: int) -> Cost:
        """Return 4 C^2 / reduction operations, whatever the size."""
        inner, channels = self.first.out_channels, self.second.out_channels
        return convolution(channels, inner, 1, 1, 1) + convolution(inner, channels, 1, 1, 1)
