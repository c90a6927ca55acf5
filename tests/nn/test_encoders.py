"""What every encoder keeps to."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from geonp.errors import UsageError
from geonp.nn import pyramid
from geonp.nn.attentions import ATTENTIONS
from geonp.nn.encoders import ENCODERS, encoder
from tests.nn.draws import applied, awake, seeded

CONVOLUTIONAL = ["residual", "unet", "nested-unet", "gated-unet"]


def new(name: str, depth: int | None = None, attention: str = "none") -> nn.Module:
    torch.manual_seed(0)
    return encoder(name, 3, 5, 8, depth=depth, attention=attention).double()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("shape", [(37, 53), (16, 16), (1, 1), (2, 3), (1, 40)])
def test_an_encoder_keeps_the_size(name: str, shape: tuple[int, int]) -> None:
    got = applied(new(name), seeded(2, 3, *shape))
    assert got.shape == (2, 5, *shape)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_an_encoder_has_any_depth(name: str, depth: int) -> None:
    assert applied(new(name, depth), seeded(1, 3, 9, 11)).shape == (1, 5, 9, 11)


@pytest.mark.parametrize("name", ENCODERS)
def test_gradients_reach_every_parameter_and_pixel(name: str) -> None:
    block, x = new(name, 3), seeded(2, 3, 13, 10).requires_grad_()
    (block(x) * seeded(2, 5, 13, 10, seed=1)).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
    for key, parameter in block.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", ENCODERS)
def test_fields_of_a_batch_do_not_see_each_other(name: str) -> None:
    block, x = new(name, attention="dual"), seeded(3, 3, 12, 10)
    np.testing.assert_allclose(applied(block, x)[1:2], applied(block, x[1:2]), atol=1e-12)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_encoders_move_with_the_image(name: str) -> None:
    depth = 2
    block, step = new(name, depth), 1 if name == "residual" else 1 << (depth - 1)
    reach = encoder(name, 3, 5, 8, depth=depth).reach
    assert reach is not None
    side = 2 * reach + 8
    world = seeded(1, 3, side + step, side + 3 * step)
    here, there = applied(block, world[..., :side, :side]), applied(block, world[..., step:, 3 * step :])
    inside = slice(reach, side - reach - 3 * step)
    moved = slice(reach + step, side - reach - 2 * step), slice(reach + 3 * step, side - reach)
    np.testing.assert_allclose(there[..., inside, inside], here[..., *moved], atol=1e-12)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_reach_is_the_farthest_pixel_that_counts(name: str, depth: int) -> None:
    block = new(name, depth)
    reach = encoder(name, 3, 5, 8, depth=depth).reach
    assert reach is not None
    side, farthest = 2 * reach + 12, 0
    # How far a pixel of a U-Net sees depends on where in a coarse pixel it lies.
    for middle in range(reach + 2, reach + (3 if name == "residual" else 10)):
        x = seeded(1, 3, side, side).requires_grad_()
        block(x)[0, :, middle, middle].sum().backward()
        assert x.grad is not None
        rows = torch.nonzero(x.grad[0].abs().sum((0, 2)))[:, 0]
        farthest = max(farthest, middle - int(rows.min()), int(rows.max()) - middle)
    # An interpolated gate stays a little within its bound.
    slack = 1 << (depth - 1) if name == "gated-unet" else 0
    assert reach - slack <= farthest <= reach


@pytest.mark.parametrize("name", ENCODERS)
def test_an_attention_that_sees_everything_has_no_reach(name: str) -> None:
    assert encoder(name, 3, 5, 8, attention="global-context").reach is None


@pytest.mark.parametrize("name", ["non-local-unet", "vit"])
def test_attending_encoders_see_everything(name: str) -> None:
    assert encoder(name, 3, 5, 8).reach is None
    block, x = new(name), seeded(1, 3, 21, 18).requires_grad_()
    block(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (6, 3)])
def test_no_row_is_made_up_at_an_odd_edge(shape: tuple[int, int]) -> None:
    """Where the last row is alone in its window its own values count; a zero below it would be larger."""
    x = -seeded(1, 1, *shape).abs() - 1
    half = pyramid.halved(x)
    assert tuple(half.shape[2:]) == pyramid.sizes(*shape, 2)[1]
    assert (half < 0).all()
    assert half[0, 0, -1, -1] == x[0, 0, -2 + shape[0] % 2 :, -2 + shape[1] % 2 :].max()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_lower_precision_comes_close(name: str, attention: str) -> None:
    block = awake(encoder(name, 3, 5, 8, depth=2, attention=attention), std=0.15).float()
    x = seeded(1, 3, 11, 10).float()
    with torch.autocast("cpu", torch.bfloat16):
        low = applied(block, x)
    full = applied(block, x)
    assert np.abs(low.astype(np.float32) - full).max() < 0.05 * np.abs(full).max()


@pytest.mark.parametrize("name", ENCODERS)
def test_a_network_is_built_without_memory_and_is_its_weights(name: str) -> None:
    """Models are restored from a list of tensors: there may be nothing else to a block."""
    block = encoder(name, 3, 5, 8, attention="dual")
    with torch.device("meta"):
        again = encoder(name, 3, 5, 8, attention="dual")
    assert not list(again.buffers())
    again.load_state_dict(block.state_dict(), assign=True)
    x = torch.randn(1, 3, 10, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(x), block(x))


@pytest.mark.parametrize(("less", "more"), list(pairwise([2, 3, 4])))
@pytest.mark.parametrize("name", ENCODERS)
def test_depth_adds_parameters(name: str, less: int, more: int) -> None:
    sizes = [sum(p.numel() for p in encoder(name, 3, 5, 8, depth=d).parameters()) for d in (less, more)]
    assert sizes[0] < sizes[1]


def test_wrong_names_and_sizes_say_what_would_be_right() -> None:
    with pytest.raises(UsageError, match=r"'resnet'.*residual, unet, nested-unet"):
        encoder("resnet", 1, 1, 8)
    with pytest.raises(UsageError, match=r"'nonlocal'.*non-local-gaussian"):
        encoder("unet", 1, 1, 8, attention="nonlocal")
    with pytest.raises(UsageError, match="width is 0"):
        encoder("unet", 1, 1, 0)
    with pytest.raises(UsageError, match="depth is 0"):
        encoder("unet", 1, 1, 8, depth=0)
    with pytest.raises(UsageError, match="depth is 9; unet takes 1 to 8"):
        encoder("unet", 1, 1, 8, depth=9)
    with pytest.raises(UsageError, match="kernel is 4; give an odd number"):
        encoder("unet", 1, 1, 8, kernel=4)
    with pytest.raises(UsageError, match="kernel is 0; give at least 1"):
        encoder("vit", 1, 1, 8, kernel=0)
