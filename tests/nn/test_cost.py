"""The stated costs against PyTorch's own count."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from geonp.nn.attentions import ATTENTIONS, attention
from geonp.nn.cost import Cost
from geonp.nn.encoders import ENCODERS, encoder
from geonp.nn.imageblock import ImageBlock
from tests.nn.counting import Written, counted

SIZES = [(16, 16), (9, 14), (1, 1), (1, 7)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("name", ATTENTIONS)
def test_an_attention_costs_what_it_says(name: str, channels: int, size: tuple[int, int]) -> None:
    block = attention(name, channels)
    stated, found = block.cost(*size), counted(block, channels, *size)
    assert (stated.flops, stated.bytes) == (found.flops, found.bytes)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_costs_what_it_says(name: str, size: tuple[int, int]) -> None:
    block = encoder(name, 3, 5, 8, depth=3, attention="criss-cross")
    stated, found = block.cost(*size), counted(block, 3, *size)
    assert (stated.flops, stated.bytes) == (found.flops, found.bytes)


@pytest.mark.parametrize("name", ["unet", "nested-unet", "gated-unet", "residual"])
def test_a_convolutional_encoder_grows_with_the_pixels(name: str) -> None:
    block = encoder(name, 2, 2, 8)
    assert block.cost(128, 64).flops == 8 * block.cost(32, 32).flops
    assert block.cost(128, 64).bytes == 8 * block.cost(32, 32).bytes


def test_maps_grow_with_the_square_of_the_pixels_and_criss_cross_with_their_power_one_and_a_half() -> None:
    assert attention("non-local-embedded", 64).cost(64, 64).maps == 4 * 4096 * 1024
    assert attention("non-local-embedded", 64).cost(128, 128).maps == 16 * 4 * 4096 * 1024
    assert attention("dual", 64).cost(64, 64).maps == 4 * (4096**2 + 64**2)
    # Two passes, each with 128 weights a pixel.
    assert attention("criss-cross", 64).cost(64, 64).maps == 2 * 4 * 4096 * 128
    assert (
        attention("criss-cross", 64).cost(128, 128).maps == 8 * attention("criss-cross", 64).cost(64, 64).maps
    )
    assert attention("non-local-dot", 64).cost(64, 64).maps == 0


@pytest.mark.parametrize(
    "block",
    [
        attention("non-local-embedded", 16),
        attention("non-local-gaussian", 16),
        encoder("vit", 16, 4, 16),
        encoder("non-local-unet", 16, 4, 16),
    ],
    ids=["non-local-embedded", "non-local-gaussian", "vit", "non-local-unet"],
)
def test_a_fused_attention_does_not_write_the_map(block: ImageBlock) -> None:
    image, written = torch.zeros(1, 16, 24, 20), Written()
    # Only the fused kernel is allowed: where it declined, this would raise.
    with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION), written:
        block(image)
    stated = block.cost(24, 20)
    assert stated.maps > 0
    assert written.bytes < stated.bytes - stated.maps


def test_dual_attention_writes_the_map_of_channels_alone() -> None:
    block, written = attention("dual", 16), Written()
    with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION), written:
        block(torch.zeros(1, 16, 24, 20))
    assert written.bytes < block.cost(24, 20).bytes - 4 * 480**2


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3) + Cost(4, 5, 6) * 2 == Cost(9, 12, 15)
