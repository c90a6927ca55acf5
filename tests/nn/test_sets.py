"""Layers on lists of points against their formulas and torch's own."""

import pytest
import torch

from geonp.nn.sets import MLP, MultiheadCrossAttention, set_mean


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_mean_does_not_depend_on_the_order_or_on_padding() -> None:
    points = seeded(2, 6, 3)
    valid = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    order = torch.tensor([3, 0, 2, 1, 5, 4])
    want = torch.stack([points[0].mean(0), points[1, :4].mean(0)])
    torch.testing.assert_close(set_mean(points, valid), want)
    torch.testing.assert_close(set_mean(points[:, order], valid[:, order]), want)
    torch.testing.assert_close(set_mean(torch.where(valid[..., None], points, 99.0), valid), want)


def test_the_mean_of_nothing_is_zero() -> None:
    assert torch.equal(set_mean(seeded(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool)), torch.zeros(1, 3))


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_that_of_torch(heads: int) -> None:
    ours = MultiheadCrossAttention(8, heads)
    theirs = torch.nn.MultiheadAttention(8, heads, batch_first=True)
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(ours.merge.weight)
        theirs.out_proj.bias.copy_(ours.merge.bias)
    queries, keys, values = seeded(2, 5, 8), seeded(2, 7, 8, seed=1), seeded(2, 7, 8, seed=2)
    valid = torch.rand(2, 7, generator=torch.Generator().manual_seed(3)) < 0.6
    want, _ = theirs(queries, keys, values, key_padding_mask=~valid)
    torch.testing.assert_close(ours(queries, keys, values, valid), want, rtol=1e-4, atol=1e-5)


def test_attention_to_nothing_is_zero_with_a_gradient_that_is_finite() -> None:
    layer, valid = MultiheadCrossAttention(4, 2), torch.tensor([[True, False], [False, False]])
    keys = seeded(2, 2, 4).requires_grad_()
    found = layer(seeded(2, 3, 4), keys, keys, valid)
    assert torch.equal(found[1], torch.zeros(3, 4))
    assert found[0].abs().min() > 0
    found.sum().backward()
    assert keys.grad.isfinite().all()


def test_a_perceptron_keeps_the_size_of_what_passes() -> None:
    torch.manual_seed(0)
    x = seeded(4096, 64)
    for hidden in (1, 6):
        out = MLP(64, 64, 64, hidden)(x)
        assert 0.7 < out.std() / 2**0.5 < 1.4
