"""The set convolution against the sum over pairs that it is."""

import math

import pytest
import torch

from geonp.nn.setconv import SetConv


def by_hand(values: torch.Tensor, context: torch.Tensor, dy: float, dx: float, length: float, reach: int):
    """Density and signals of one field (C, H, W), observation by observation."""
    bands, rows, cols = values.shape
    out, side = torch.zeros(1 + bands, rows, cols, dtype=values.dtype), math.sqrt(dy * dx)
    for i in range(rows):
        for j in range(cols):
            for k, m in context[0].nonzero().tolist():
                if abs(i - k) <= reach and abs(j - m) <= reach:
                    squared = ((i - k) * dy / side) ** 2 + ((j - m) * dx / side) ** 2
                    weight = math.exp(-squared / (2 * length**2))
                    out[0, i, j] += weight
                    out[1:, i, j] += weight * values[:, k, m]
    out[1:] /= out[:1] + 1e-4
    return out


@pytest.mark.parametrize("reach", [2, 20])
def test_against_a_loop_over_pairs(reach: int) -> None:
    g = torch.Generator().manual_seed(0)
    values = torch.randn(2, 2, 7, 9, generator=g, dtype=torch.float64)
    context = (torch.rand(2, 1, 7, 9, generator=g) < 0.2).double()
    spacing = torch.tensor([[30.0, 20.0], [10.0, 10.0]], dtype=torch.float64)
    layer = SetConv(reach, length=1.3).double()
    told = layer(values, context, spacing)
    length = float(layer.log_length.detach().exp())
    for b in range(2):
        want = by_hand(values[b], context[b], *spacing[b].tolist(), length, reach)
        torch.testing.assert_close(told[b], want)


def test_the_density_counts_and_the_signal_does_not_grow_with_it() -> None:
    layer, one = SetConv(), torch.ones(1, 2)
    values = torch.full((1, 1, 9, 9), 5.0)
    context = torch.zeros(1, 1, 9, 9)
    context[..., 4, 4] = 1
    few = layer(values, context, one)
    many = layer(values, torch.ones_like(context), one)
    assert many[0, 0, 4, 4] > 6 * few[0, 0, 4, 4]
    assert few[0, 1, 4, 5].item() == pytest.approx(5, rel=1e-3)
    assert many[0, 1, 4, 5].item() == pytest.approx(5, rel=1e-3)


def test_nothing_observed_is_density_zero_and_signal_zero() -> None:
    told = SetConv()(torch.randn(1, 2, 4, 5), torch.zeros(1, 1, 4, 5), torch.ones(1, 2))
    assert torch.equal(told, torch.zeros(1, 3, 4, 5))


def test_the_length_is_learnt() -> None:
    layer = SetConv()
    context = (torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    layer(torch.randn(1, 1, 6, 6), context, torch.ones(1, 2)).sum().backward()
    assert layer.log_length.grad.abs() > 0
