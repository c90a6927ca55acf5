"""Muon: what it takes for a step, and that it is AdamW wherever it is not asked for."""

import math

import pytest
import torch
from torch import Tensor, nn

from geonp.models import config_from, create
from geonp.models.kriged import KrigedIFANP
from geonp.optimisers import MOMENTS, Muon, optimiser, orthogonal

RATE = 1e-2


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel(seed: int = 0) -> nn.Parameter:
    return nn.Parameter(normal(6, 4, 3, 3, seed=seed))


@pytest.mark.parametrize(("rows", "cols"), [(8, 30), (30, 8), (12, 12)])
def test_singular_values_come_near_one_and_directions_stay(rows: int, cols: int) -> None:
    given = normal(3, rows, cols)
    told = orthogonal(given)
    u, s, v = torch.linalg.svd(given, full_matrices=False)
    turned = u.mT @ told @ v.mT
    diagonal = turned.diagonal(dim1=1, dim2=2)
    assert float((turned - torch.diag_embed(diagonal)).abs().max()) < 1e-9
    # What is far below the largest is not lifted all the way.
    assert float(diagonal[s > 0.05 * s[:, :1]].min()) > 0.6
    assert float(diagonal.max()) < 1.25


def test_without_hidden_kernels_it_is_adamw() -> None:
    ours, theirs = kernel(), kernel()
    muon = Muon([], [ours], RATE, 0.1)
    adamw = torch.optim.AdamW([theirs], lr=RATE, weight_decay=0.1)
    for step in range(5):
        for weight, method in ((ours, muon), (theirs, adamw)):
            weight.grad = normal(6, 4, 3, 3, seed=10 + step)
            method.step()
    assert torch.equal(ours, theirs)


def test_hidden_kernels_turn_and_the_rest_follows_adamw() -> None:
    hidden, rest, alone = kernel(), kernel(1), kernel(1)
    muon = Muon([hidden], [rest], RATE, 0.0)
    adamw = torch.optim.AdamW([alone], lr=RATE, weight_decay=0.0)
    before = hidden.detach().clone()
    for weight in (hidden, rest, alone):
        weight.grad = normal(6, 4, 3, 3, seed=3)
    muon.step()
    adamw.step()
    assert torch.equal(rest, alone)
    assert set(muon.state[hidden]) == set(MOMENTS[True])
    assert set(muon.state[rest]) == set(MOMENTS[False])
    # The first step is along the gradient alone: the polar factor U V', by a singular value decomposition.
    u, _, v = torch.linalg.svd(normal(6, 4, 3, 3, seed=3).flatten(1), full_matrices=False)
    moved = (before - hidden.detach()).flatten(1) / (RATE * 0.2 * math.sqrt(4 * 3 * 3))
    values = (u.mT @ moved @ v.mT).diagonal()
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.25
    assert torch.allclose(moved, u @ torch.diag(values) @ v, atol=1e-9)


def test_a_step_does_not_depend_on_the_size_of_the_gradient() -> None:
    small, large = kernel(), kernel()
    for weight, size in ((small, 1.0), (large, 1e4)):
        muon = Muon([weight], [], RATE, 0.0)
        for step in range(3):
            weight.grad = size * normal(6, 4, 3, 3, seed=step)
            muon.step()
    assert torch.allclose(small, large, rtol=0, atol=1e-7)


def test_alike_kernels_step_as_they_would_alone() -> None:
    pair, alone = [kernel(), kernel(1)], [kernel(), kernel(1)]
    methods = [Muon(list(pair), [], RATE, 0.1), *(Muon([weight], [], RATE, 0.1) for weight in alone)]
    for number, (one, other) in enumerate(zip(pair, alone, strict=True)):
        one.grad = normal(6, 4, 3, 3, seed=number)
        other.grad = normal(6, 4, 3, 3, seed=number)
    for method in methods:
        method.step()
    for one, other in zip(pair, alone, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_weights_decay_without_a_gradient() -> None:
    weight = kernel()
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    Muon([weight], [], RATE, 0.5).step()
    assert torch.allclose(weight, before * (1 - RATE * 0.5), rtol=1e-12)


def test_half_precision_takes_much_the_same_step() -> None:
    full, half = (nn.Parameter(normal(16, 8, 3, 3).float()) for _ in range(2))
    before = full.detach().clone()
    for weight, halved in ((full, False), (half, True)):
        weight.grad = normal(16, 8, 3, 3, seed=5).float()
        Muon([weight], [], RATE, 0.0, halved).step()
    with torch.no_grad():
        steps = [(weight - before).flatten() for weight in (full, half)]
        assert not torch.equal(*steps)
        # Fifteen products, each rounded to 2^-8: far less than singular values are off one.
        assert float(torch.cosine_similarity(*steps, dim=0)) > 0.995


def test_flat_directions_are_learnt_as_fast_as_steep_ones() -> None:
    """A quadratic that is fifty times flatter in half of the rows."""
    curvature = torch.tensor([1.0] * 8 + [0.02] * 8, dtype=torch.float64)[:, None]
    weight = nn.Parameter(torch.linalg.qr(normal(16, 16))[0])
    method = Muon([weight], [], 5e-2, 0.0)
    for _ in range(15):
        weight.grad = curvature * weight.detach()
        method.step()
    steep, flat = (float(weight[part].detach().norm()) for part in (slice(8), slice(8, 16)))
    assert flat < 0.7 * 8**0.5
    assert flat < 1.5 * steep


def test_a_kriged_ifanp_hides_all_convolutions_but_the_last() -> None:
    model = create("kriged-ifanp", config_from("kriged-ifanp", {"width": 8, "levels": 2, "depth": 2}), 0)
    assert isinstance(model, KrigedIFANP)
    hidden = {id(p) for p in model.hidden()}
    convolutions = {
        name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d) and name != "net.head"
    }
    assert {name for name, p in model.named_parameters() if id(p) in hidden} == {
        f"{name}.weight" for name in convolutions
    }
    groups = optimiser(model, RATE, 0.0).param_groups
    given = [id(p) for group in groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())


def test_networks_of_the_papers_keep_adamw() -> None:
    model = create("ifanp", config_from("ifanp", {"channels": 8, "latent": 4}), 0)
    assert [group["hidden"] for group in optimiser(model, RATE, 0.0).param_groups] == [False]
