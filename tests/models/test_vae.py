"""The variational auto-encoder against its bound, written out."""

import math

import pytest
import torch

from geonp.models import config_from, create
from geonp.tasks import Task, coordinates


def task() -> Task:
    g = torch.Generator().manual_seed(0)
    context = (torch.rand(2, 1, 6, 7, generator=g) < 0.4).float()
    return Task(torch.randn(2, 1, 6, 7, generator=g), context, 1 - context, torch.ones(2, 2))


def network(**settings: object) -> torch.nn.Module:
    return create("vae", config_from("vae", {"channels": 8, "latent": 4, **settings}), seed=1)


@torch.no_grad()
def test_the_divergence_is_from_a_standard_normal() -> None:
    net, given = network(), task()
    z = net.encode(given, coordinates(given))
    want = 0.5 * (z.std**2 + z.mean**2 - 1 - 2 * z.std.log()).sum(1)
    torch.testing.assert_close(net.divergence(given), want)


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 3])
def test_the_loss_is_the_bound(samples: int) -> None:
    net, given = network(samples=samples), task()
    matrix = coordinates(given)
    z = net.encode(given, matrix)
    noise = torch.empty(samples, *z.mean.shape).normal_(generator=torch.Generator().manual_seed(5))
    total = float(0.5 * (z.std**2 + z.mean**2 - 1 - 2 * z.std.log()).sum())
    for k in range(samples):
        told = net.decode(z.mean + z.std * noise[k], matrix, None)
        misfit = ((given.values - told.mean) / told.std) ** 2 / 2 + told.std.log() + math.log(2 * math.pi) / 2
        total += float((misfit * given.target).sum()) / samples
    got = net.loss(given, torch.Generator().manual_seed(5)).item()
    assert got == pytest.approx(total / given.target.sum().item(), rel=1e-4)


@torch.no_grad()
def test_the_encoder_sees_the_context_alone_in_training_too() -> None:
    net, given = network(), task()
    torn = Task(torch.where(given.context > 0, given.values, 7.0), given.context, given.target, given.spacing)
    one, other = (net.posterior(t, coordinates(t)) for t in (given, torn))
    assert torch.equal(one.mean, other.mean)


@pytest.mark.parametrize("doublings", [0, 3, 4])
@torch.no_grad()
def test_the_canvas_may_have_any_size(doublings: int) -> None:
    net = network(doublings=doublings)
    for rows, cols in ((32, 32), (28, 28), (5, 40)):
        blank = torch.zeros(1, 1, rows, cols)
        assert net(Task(blank, blank, blank + 1, torch.ones(1, 2))).mean.shape == (1, 1, rows, cols)
