"""The patch transformer against its formulas."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from geonp.nn.encoders import encoder
from geonp.nn.transformer import PatchTransformer, TransformerLayer
from tests.nn.byhand import attended
from tests.nn.draws import applied, awake, seeded


def normal(x: Tensor, w: dict[str, Tensor], key: str) -> Tensor:
    """Layer normalisation of every token."""
    centred = x - x.mean(2, keepdim=True)
    scale = torch.sqrt(centred.square().mean(2, keepdim=True) + 1e-5)
    return centred / scale * w[f"{key}.weight"] + w[f"{key}.bias"]


def linear(x: Tensor, w: dict[str, Tensor], key: str) -> Tensor:
    return torch.einsum("oc,bnc->bno", w[f"{key}.weight"], x) + w[f"{key}.bias"]


def layer_by_hand(w: dict[str, Tensor], key: str, x: Tensor, heads: int) -> Tensor:
    width = x.shape[2]
    asked = linear(normal(x, w, f"{key}before"), w, f"{key}ask").transpose(1, 2)[..., None]
    q, k, v = asked[:, :width], asked[:, width : 2 * width], asked[:, 2 * width :]
    x = x + linear(attended(q, k, v, heads)[..., 0].transpose(1, 2), w, f"{key}merge")
    hidden = linear(normal(x, w, f"{key}between"), w, f"{key}first")
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    return x + linear(hidden, w, f"{key}second")


def test_a_layer_of_the_transformer_is_equations_2_and_3() -> None:
    layer, x = TransformerLayer(12, 4).double(), seeded(2, 10, 12)
    torch.testing.assert_close(layer(x), layer_by_hand(dict(layer.named_parameters()), "", x, 4))


@pytest.mark.parametrize("shape", [(12, 8), (10, 7), (48, 48)])
def test_the_patch_transformer_is_equations_1_to_3(shape: tuple[int, int]) -> None:
    block, x = PatchTransformer(2, 3, 8, depth=2, kernel=3).double(), seeded(2, 2, *shape)
    w = dict(block.named_parameters())
    rows, columns = math.ceil(shape[0] / 3), math.ceil(shape[1] / 3)
    whole = x.new_zeros(2, 2, 3 * rows, 3 * columns)
    whole[..., : shape[0], : shape[1]] = x
    patches = (
        whole.reshape(2, 2, rows, 3, columns, 3).permute(0, 2, 4, 1, 3, 5).reshape(2, rows * columns, 18)
    )
    tokens = torch.einsum("oc,bnc->bno", w["embed.weight"].flatten(1), patches) + w["embed.bias"]
    places = block.positions(rows, columns).flatten(2).transpose(1, 2)
    tokens = tokens + places
    for i in range(2):
        tokens = layer_by_hand(w, f"layers.{i}.", tokens, 4)
    made = linear(normal(tokens, w, "norm"), w, "leave").reshape(2, rows, columns, 3, 3, 3)
    expected = made.permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 3 * rows, 3 * columns)[
        ..., : shape[0], : shape[1]
    ]
    torch.testing.assert_close(block(x), expected)


def test_positions_are_used_as_learnt_on_sixteen_places_and_interpolated_elsewhere() -> None:
    block = PatchTransformer(1, 1, 4, depth=1).double()
    assert block.positions(16, 16) is block.position
    assert block.positions(5, 9).shape == (1, 4, 5, 9)
    with torch.no_grad():
        block.position.copy_(torch.arange(16.0)[:, None].expand(16, 16))
    torch.testing.assert_close(
        block.positions(32, 16)[0, 0, 1:-1, 3], (torch.arange(1, 31).double() + 0.5) / 2 - 0.5
    )


def test_what_fills_a_patch_does_not_leak() -> None:
    """Cutting an image where zeros begin leaves the rest as it was, as long as no patch appears or goes."""
    block, x = awake(encoder("vit", 3, 5, 8), std=0.2), seeded(1, 3, 12, 12)
    x[..., 10:, :] = 0
    x[..., 9:] = 0
    cut = applied(block, x[..., :10, :9])
    np.testing.assert_allclose(cut, applied(block, x)[..., :10, :9], atol=1e-12)


def test_without_places_the_transformer_moves_with_the_patches() -> None:
    block, x = awake(encoder("vit", 3, 5, 8), std=0.2), seeded(1, 3, 16, 12)
    assert isinstance(block, PatchTransformer)
    turned = torch.roll(x, (4, 8), (2, 3))
    assert not np.allclose(np.roll(applied(block, x), (4, 8), (2, 3)), applied(block, turned), atol=1e-6)
    with torch.no_grad():
        block.position.zero_()
    np.testing.assert_allclose(np.roll(applied(block, x), (4, 8), (2, 3)), applied(block, turned), atol=1e-12)
