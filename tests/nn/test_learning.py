"""Encoders and attentions learn what they are for."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from geonp.nn.attentions import ATTENTIONS
from geonp.nn.encoders import ENCODERS, encoder
from geonp.nn.imageblock import ImageBlock


def learnt(block: ImageBlock, images: Tensor, targets: Tensor, steps: int) -> float:
    """Mean squared error after some steps of training, in units of the targets' variance."""
    optimiser = torch.optim.Adam(block.parameters(), 1e-2)
    loss = torch.zeros(())
    for _ in range(steps):
        loss = (block(images) - targets).square().mean() / targets.var()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_learns_to_smooth(name: str) -> None:
    torch.manual_seed(0)
    images = draw(0, 8, 1, 16, 16)
    targets = avg_pool2d(images, 3, stride=1, padding=1)
    assert learnt(encoder(name, 1, 1, 8, depth=2, kernel=3), images, targets, 60) < 0.5


@pytest.mark.parametrize("name", ATTENTIONS)
def test_with_an_attention_a_pixel_knows_the_whole_image(name: str) -> None:
    """The target is the mean of the image, whose pixels tell nothing about it one by one."""
    torch.manual_seed(0)
    level = draw(1, 16, 1, 1, 1)
    images = level + 4 * draw(0, 16, 1, 6, 6)
    targets = images.mean((2, 3), keepdim=True).expand_as(images)
    left = learnt(encoder("residual", 1, 1, 8, depth=1, kernel=1, attention=name), images, targets, 80)
    assert left > 0.9 if name == "none" else left < 0.7
