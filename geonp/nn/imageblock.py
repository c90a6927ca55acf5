"""The contract of every encoder and attention that is chosen by name."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from geonp.nn.cost import Cost


def points(image: Tensor) -> Tensor:
    """Return the pixels of an image (B, C, H, W) as a list (B, H W, C), row by row."""
    return image.flatten(2).transpose(1, 2)


def picture(points: Tensor, height: int, width: int) -> Tensor:
    """Return pixels that are listed as points (B, H W, C), row by row, as an image (B, C, H, W)."""
    batch, _, channels = points.shape
    return points.transpose(1, 2).reshape(batch, channels, height, width)


def interleaved(image: Tensor) -> Tensor:
    """Return the image with a pixel's channels side by side in memory, an order that convolutions keep.

    A step of training with separable convolutions takes about a third of the time (CPU, 9 x 9 pixels).
    """
    return image.contiguous(memory_format=torch.channels_last)


class ImageBlock(nn.Module, abc.ABC):
    """An image (B, C, H, W) becomes an image (B, C', H, W), for any H and W from 1.

    A block keeps nothing but parameters: no statistics of what it has seen, so that a network is its weights.
    """

    @property
    @abc.abstractmethod
    def reach(self) -> int | None:
        """Pixels beside a pixel that its output may depend on, an upper bound; None for the whole image."""

    @abc.abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Return an image of the same size, (B, C', H, W)."""

    @abc.abstractmethod
    def cost(self, height: int, width: int) -> Cost:
        """Return the cost of one image of `height` x `width` pixels."""


class Unchanged(ImageBlock):
    """The image itself: no attention."""

    @property
    def reach(self) -> int:
        """No pixel beside it."""
        return 0

    def forward(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image

    def cost(self, height: int, width: int) -> Cost:
        """Return no cost."""
        return Cost()
