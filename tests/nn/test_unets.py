"""The U-Nets against their formulas, written with their own weights a second time."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from geonp.nn.unet_classic import ClassicUNet
from geonp.nn.unet_gated import AttentionGate, GatedUNet
from geonp.nn.unet_nested import NestedUNet
from geonp.nn.unet_nonlocal import NonLocalUNet
from tests.nn.byhand import attended
from tests.nn.draws import awake, seeded


def maxima(x: Tensor) -> Tensor:
    """The maximum over 2 x 2 pixels, window by window."""
    _, _, rows, columns = x.shape
    return torch.stack(
        [
            torch.stack([x[..., i : i + 2, j : j + 2].amax((2, 3)) for j in range(0, columns, 2)], 2)
            for i in range(0, rows, 2)
        ],
        2,
    )


def double(x: Tensor, weights: dict[str, Tensor], key: str, kernel: int) -> Tensor:
    """H: two padded convolutions with rectifiers."""
    for part in ("0", "2"):
        x = functional.conv2d(
            x, weights[f"{key}.{part}.weight"], weights[f"{key}.{part}.bias"], padding=kernel // 2
        )
        x = x.clamp_min(0)
    return x


def up(x: Tensor, weight: Tensor, bias: Tensor, like: Tensor) -> Tensor:
    """U: every pixel becomes 2 x 2 pixels; cropped."""
    batch, _, rows, columns = x.shape
    parts = torch.einsum("bcij,copq->boipjq", x, weight).reshape(
        batch, weight.shape[1], 2 * rows, 2 * columns
    )
    return (parts + bias[:, None, None])[..., : like.shape[2], : like.shape[3]]


def bilinear(x: Tensor) -> Tensor:
    """Twice as many rows and columns: a quarter of the neighbour, three quarters of the pixel itself."""
    for axis in (2, 3):
        count = x.shape[axis]
        own = torch.arange(count)
        before = x.index_select(axis, (own - 1).clamp_min(0))
        after = x.index_select(axis, (own + 1).clamp_max(count - 1))
        x = torch.stack((0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after), axis + 1).flatten(axis, axis + 1)
    return x


def gate_by_hand(weights: dict[str, Tensor], key: str, x: Tensor, g: Tensor) -> Tensor:
    """Eq. 1 and 2 of the attention gate, at the resolution of g."""
    w_x, psi = weights[f"{key}.of_skip.weight"], weights[f"{key}.score.weight"][0, :, 0, 0]
    whole = x.new_zeros(*x.shape[:2], 2 * g.shape[2], 2 * g.shape[3])
    whole[..., : x.shape[2], : x.shape[3]] = x
    from_x = sum(
        torch.einsum("oc,bchw->bohw", w_x[:, :, p, q], whole[..., p::2, q::2])
        for p in range(2)
        for q in range(2)
    )
    from_g = torch.einsum("oc,bchw->bohw", weights[f"{key}.of_gate.weight"][:, :, 0, 0], g)
    total = from_x + from_g + weights[f"{key}.of_gate.bias"][:, None, None]
    q = torch.einsum("c,bchw->bhw", psi, total.clamp_min(0)) + weights[f"{key}.score.bias"]
    return (1 / (1 + torch.exp(-q)))[:, None]


@pytest.mark.parametrize("kind", [ClassicUNet, GatedUNet])
@pytest.mark.parametrize("shape", [(8, 12), (7, 13), (5, 6)])
def test_the_u_net_is_its_formula(kind: type[ClassicUNet], shape: tuple[int, int]) -> None:
    block, x = kind(2, 4, 3, depth=3, kernel=3).double(), seeded(2, 2, *shape)
    w = dict(block.named_parameters())
    e = [double(x, w, "enter", 3)]
    for i in range(2):
        e.append(double(maxima(e[-1]), w, f"down.{i}", 3))
    d = e[2]
    for i in (1, 0):
        skip = e[i]
        if kind is GatedUNet:
            alpha = bilinear(gate_by_hand(w, f"gates.{i}", skip, d))
            skip = skip * alpha[..., : skip.shape[2], : skip.shape[3]]
        d = double(
            torch.cat((skip, up(d, w[f"up.{i}.weight"], w[f"up.{i}.bias"], skip)), 1), w, f"join.{i}", 3
        )
    expected = (
        torch.einsum("oc,bchw->bohw", w["leave.weight"][:, :, 0, 0], d) + w["leave.bias"][:, None, None]
    )
    torch.testing.assert_close(block(x), expected)


def test_a_gate_lets_through_a_part_between_nothing_and_all() -> None:
    gate, x, g = awake(AttentionGate(4)), seeded(1, 4, 7, 9), seeded(1, 8, 4, 5, seed=1)
    alpha = gate.weights(x, g)
    assert alpha.shape == (1, 1, 4, 5)
    assert ((alpha > 0) & (alpha < 1)).all()
    with torch.no_grad():
        gate.score.weight.zero_()
        gate.score.bias.fill_(50.0)
    torch.testing.assert_close(gate(x, g), x)


def nested_by_hand(w: dict[str, Tensor], x: Tensor, i: int, j: int) -> Tensor:
    """x^{i,j} of eq. 1, by recursion."""
    if j == 0:
        return double(maxima(nested_by_hand(w, x, i - 1, 0)) if i else x, w, f"backbone.{i}", 3)
    row = [nested_by_hand(w, x, i, k) for k in range(j)]
    key = f"up.{i}.{j - 1}"
    upper = up(nested_by_hand(w, x, i + 1, j - 1), w[f"{key}.weight"], w[f"{key}.bias"], row[0])
    return double(torch.cat((*row, upper), 1), w, f"join.{i}.{j - 1}", 3)


def test_the_nested_u_net_is_equation_1() -> None:
    block, x = NestedUNet(2, 4, 3, depth=4).double(), seeded(1, 2, 9, 14)
    w = dict(block.named_parameters())
    heads = [
        torch.einsum("oc,bchw->bohw", w[f"leave.{j - 1}.weight"][:, :, 0, 0], nested_by_hand(w, x, 0, j))
        + w[f"leave.{j - 1}.bias"][:, None, None]
        for j in (1, 2, 3)
    ]
    for got, expected in zip(block.branches(x), heads, strict=True):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(block(x), sum(heads) / 3)


def test_a_pruned_nested_u_net_is_the_shallow_branch() -> None:
    block, x = NestedUNet(2, 4, 3, depth=4).double(), seeded(1, 2, 16, 11)
    whole = block.branches(x)
    with torch.no_grad():
        for parameter in (*block.backbone[2].parameters(), *block.backbone[3].parameters()):
            parameter.fill_(math.nan)
    (pruned,) = block.branches(x, count=1)
    torch.testing.assert_close(pruned, whole[0])


def conv(x: Tensor, w: dict[str, Tensor], key: str, stride: int = 1) -> Tensor:
    kernel = w[f"{key}.weight"]
    return functional.conv2d(x, kernel, w[f"{key}.bias"], stride=stride, padding=kernel.shape[2] // 2)


def deconv(x: Tensor, w: dict[str, Tensor], key: str) -> Tensor:
    """A transposed convolution of stride 2: zeros between the pixels, then the mirrored kernel."""
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[..., ::2, ::2] = x
    mirrored = w[f"{key}.weight"].flip(2, 3).transpose(0, 1)
    return functional.conv2d(spread, mirrored, w[f"{key}.bias"], padding=1)


def aggregated(x: Tensor, w: dict[str, Tensor], key: str, heads: int, upward: bool) -> Tensor:
    q = deconv(x, w, f"{key}.query") if upward else conv(x, w, f"{key}.query")
    return conv(attended(q, conv(x, w, f"{key}.key"), conv(x, w, f"{key}.value"), heads), w, f"{key}.merge")


@pytest.mark.parametrize("shape", [(8, 12), (7, 9)])
def test_the_non_local_u_net_is_its_formula(shape: tuple[int, int]) -> None:
    block, x = NonLocalUNet(2, 3, 4, depth=2).double(), seeded(2, 2, *shape)
    w = dict(block.named_parameters())
    first = conv(x, w, "enter")
    e0 = first + conv(conv(first.clamp_min(0), w, "first.first").clamp_min(0), w, "first.second")
    ready = e0.clamp_min(0)
    e1 = conv(ready, w, "down.0.short", 2) + conv(
        conv(ready, w, "down.0.first", 2).clamp_min(0), w, "down.0.second"
    )
    bottom = e1 + aggregated(e1.clamp_min(0), w, "bottom.aggregate", 4, upward=False)
    ready = bottom.clamp_min(0)
    risen = deconv(ready, w, "up.0.short") + aggregated(ready, w, "up.0.aggregate", 4, upward=True)
    d0 = e0 + risen[..., : shape[0], : shape[1]]
    torch.testing.assert_close(block(x), conv(d0.clamp_min(0), w, "leave"))
