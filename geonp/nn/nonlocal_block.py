"""Non-local blocks: every pixel asks all pixels, by one of four pairwise functions.

y_i = 1 / C(x) sum_j f(x_i, x_j) g(x_j),  g(x_j) = W_g x_j    (eq. 1)
z_i = W_z y_i + x_i                                           (eq. 6)

W_z starts at zero, so that a new block is the identity. W_g has half the channels of x. The sub-sampling trick
takes the maximum of phi(x) and of g(x) over windows, so that i runs over all pixels and j over windows.

Source: Wang, Girshick, Gupta and He (2018), "Non-local neural networks", sections 3.1 to 3.3.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from geonp.nn.cost import Cost, attention, convolution, product
from geonp.nn.imageblock import ImageBlock, picture, points
from geonp.nn.multihead import multihead, multihead_cost


def pointwise(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Return a linear embedding of every pixel, from `channels_in` to `channels_out` numbers."""
    return nn.Conv2d(channels_in, channels_out, 1, bias=False)


class NonLocal(ImageBlock):
    """What the four pairwise functions share: the values g, the sub-sampling, and the residual form.

    Parameters
    ----------
    channels : of the image.
    subsample : side of the windows of the sub-sampling trick, in pixels; 1 leaves it out. Windows at the edge
        hold the pixels that exist.
    """

    reach = None

    def __init__(self, channels: int, subsample: int = 2) -> None:
        super().__init__()
        self.channels, self.inner, self.subsample = channels, max(channels // 2, 1), subsample
        self.g = pointwise(channels, self.inner)
        self.merge = pointwise(self.inner, channels)
        nn.init.zeros_(self.merge.weight)

    def pooled(self, image: Tensor) -> Tensor:
        """Return the windows' maxima as a list, (B, M, C)."""
        return points(max_pool2d(image, self.subsample, ceil_mode=True) if self.subsample > 1 else image)

    @abc.abstractmethod
    def respond(self, image: Tensor, values: Tensor) -> Tensor:
        """Return y of eq. 1, (B, N, C'), from the image and the values g(x_j), (B, M, C')."""

    @abc.abstractmethod
    def pairs(self, pixels: int, windows: int) -> Cost:
        """Return the cost of `respond` for N pixels and M windows."""

    def forward(self, image: Tensor) -> Tensor:
        """Return z of eq. 6, (B, C, H, W)."""
        response = self.respond(image, self.pooled(self.g(image)))
        found: Tensor = self.merge(picture(response, *image.shape[2:]))
        return image + found

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of g, of W_z and of what is between them."""
        windows = -(-height // self.subsample) * -(-width // self.subsample)
        ends = convolution(self.channels, self.inner, 1, height, width)
        ends += convolution(self.inner, self.channels, 1, height, width)
        return ends + self.pairs(height * width, windows)


class GaussianNonLocal(NonLocal):
    """f(x_i, x_j) = exp(x_i . x_j), C(x) = sum_j f(x_i, x_j) (eq. 2): a softmax over j."""

    def respond(self, image: Tensor, values: Tensor) -> Tensor:
        """Return y of eq. 1, (B, N, C')."""
        return multihead(points(image), self.pooled(image), values, heads=1, scale=1.0)

    def pairs(self, pixels: int, windows: int) -> Cost:
        """Return 4 N M C operations."""
        return multihead_cost(pixels, windows, self.channels, self.inner, heads=1)


class EmbeddedNonLocal(NonLocal):
    """The embeddings theta(x) = W_theta x and phi(x) = W_phi x, with half the channels of x."""

    def __init__(self, channels: int, subsample: int = 2) -> None:
        super().__init__(channels, subsample)
        self.theta = pointwise(channels, self.inner)
        self.phi = pointwise(channels, self.inner)

    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of theta, phi and the rest."""
        embeddings = convolution(self.channels, self.inner, 1, height, width) * 2
        return super().cost(height, width) + embeddings


class EmbeddedGaussianNonLocal(EmbeddedNonLocal):
    """f(x_i, x_j) = exp(theta(x_i) . phi(x_j)), C(x) = sum_j f(x_i, x_j) (eq. 3): self-attention."""

    def respond(self, image: Tensor, values: Tensor) -> Tensor:
        """Return y of eq. 1, (B, N, C')."""
        queries, keys = points(self.theta(image)), self.pooled(self.phi(image))
        return multihead(queries, keys, values, heads=1, scale=1.0)

    def pairs(self, pixels: int, windows: int) -> Cost:
        """Return 4 N M C' operations."""
        return multihead_cost(pixels, windows, self.inner, self.inner, heads=1)


class DotProductNonLocal(EmbeddedNonLocal):
    """f(x_i, x_j) = theta(x_i) . phi(x_j), C(x) = M, the number of j (eq. 4).

    Without a softmax the sum can be taken in the other order, theta_i (sum_j phi_j g_j^T) / M, so that no map of
    pairs is written and the work grows with the pixels alone.
    """

    def respond(self, image: Tensor, values: Tensor) -> Tensor:
        """Return y of eq. 1, (B, N, C')."""
        keys = self.pooled(self.phi(image))
        summary = torch.bmm(keys.transpose(1, 2), values) / keys.shape[1]
        return torch.bmm(points(self.theta(image)), summary)

    def pairs(self, pixels: int, windows: int) -> Cost:
        """Return 2 (N + M) C'^2 operations."""
        return product(self.inner, windows, self.inner) + product(pixels, self.inner, self.inner)


class ConcatenationNonLocal(EmbeddedNonLocal):
    """f(x_i, x_j) = relu(w_f . [theta(x_i), phi(x_j)]), C(x) = M, the number of j (eq. 5).

    [., .] is concatenation: w_f . [theta_i, phi_j] = w_theta . theta_i + w_phi . phi_j, one number for each pixel
    and one for each window, and a map of their sums.
    """

    def __init__(self, channels: int, subsample: int = 2) -> None:
        super().__init__(channels, subsample)
        self.of_theta = nn.Linear(self.inner, 1, bias=False)
        self.of_phi = nn.Linear(self.inner, 1, bias=False)

    def respond(self, image: Tensor, values: Tensor) -> Tensor:
        """Return y of eq. 1, (B, N, C')."""
        asked = self.of_theta(points(self.theta(image)))
        held = self.of_phi(self.pooled(self.phi(image))).transpose(1, 2)
        # The map of sums, (B, N, M), as a product: it costs what is counted in `pairs`.
        scores = torch.baddbmm(held, asked, torch.ones_like(held))
        return torch.bmm(relu(scores), values) / values.shape[1]

    def pairs(self, pixels: int, windows: int) -> Cost:
        """Return 2 N M (C' + 1) operations, and 2 (N + M) C' for the scores."""
        scores = product(pixels, self.inner, 1) + product(windows, self.inner, 1)
        return scores + attention(pixels, windows, 1, self.inner)
