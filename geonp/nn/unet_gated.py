"""The attention-gated U-Net: what is deep decides which pixels of the skips get through."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, relu

from geonp.nn import pyramid
from geonp.nn.cost import Cost, convolution
from geonp.nn.unet_classic import ClassicUNet


class AttentionGate(nn.Module):
    """A weight between 0 and 1 for every pixel of a skip.

    q = psi . relu(W_x x + W_g g + b_g) + b_psi          (eq. 1)
    alpha = sigmoid(q)                                   (eq. 2)
    y = alpha x

    W_x takes 2 x 2 pixels at once, to the resolution of g; alpha is interpolated back, bilinearly. At an odd edge
    zeros stand in for pixels that do not exist; W_x has no bias.

    Source: Oktay et al. (2018), "Attention U-Net: learning where to look for the pancreas", section 2.1 and fig. 2.

    Parameters
    ----------
    channels : of the skip x, and of the sum inside; the gating signal g has twice as many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.of_skip = nn.Conv2d(channels, channels, 2, stride=2, bias=False)
        self.of_gate = nn.Conv2d(2 * channels, channels, 1)
        self.score = nn.Conv2d(channels, 1, 1)

    def weights(self, x: Tensor, g: Tensor) -> Tensor:
        """Return alpha at the resolution of g, (B, 1, h, w)."""
        even = pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        scores: Tensor = self.score(relu(self.of_skip(even) + self.of_gate(g)))
        return scores.sigmoid()

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """Return the weighted skip, (B, C, H, W), from x and the gating signal g (B, 2 C, H / 2, W / 2)."""
        alpha = interpolate(self.weights(x, g), scale_factor=2, mode="bilinear", align_corners=False)
        return x * pyramid.cropped(alpha, x)

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost for a gating signal of `height` x `width` pixels."""
        gate = convolution(2 * self.channels, self.channels, 1, height, width)
        skip = convolution(self.channels, self.channels, 2, height, width)
        return gate + skip + convolution(self.channels, 1, 1, height, width)


class GatedUNet(ClassicUNet):
    """A U-Net whose skips pass attention gates: d_i = H([alpha_i e_i, U(d_{i+1})]).

    The gating signal of alpha_i is d_{i+1}. Parameters are those of `ClassicUNet`.
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
        super().__init__(channels_in, channels_out, width, depth, kernel, attention)
        self.gates = nn.ModuleList(AttentionGate(a) for a, _ in pairwise(self.widths))

    @property
    def reach(self) -> int | None:
        """That of the U-Net, and a coarse pixel at every resolution for the interpolation of alpha."""
        plain = super().reach
        return None if plain is None else plain + (2 << len(self.gates)) - 2

    def skip(self, level: int, seen: Tensor, deeper: Tensor) -> Tensor:
        """Return alpha_i e_i."""
        gated: Tensor = self.gates[level](seen, deeper)
        return gated

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of the U-Net and the gates."""
        total = super().cost(height, width)
        for gate, size in zip(self.gates, pyramid.sizes(height, width, len(self.widths))[1:], strict=True):
            assert isinstance(gate, AttentionGate)
            total += gate.cost(*size)
        return total
