"""ConvCNP and ConvNP: equivariance, reach, the likelihood of draws, and encoders and attentions by name."""

import math

import pytest
import torch

from geonp.errors import ModelError
from geonp.models import config_from, create
from geonp.nn.attentions import ATTENTIONS
from geonp.nn.encoders import ENCODERS
from geonp.tasks import Task

SMALL = {"channels": 8, "depth": 2, "kernel": 3, "head_layers": 2, "head_width": 8, "reach": 3}


def task(rows: int = 12, cols: int = 11, bands: int = 1, share: float = 0.3) -> Task:
    g = torch.Generator().manual_seed(0)
    context = (torch.rand(2, 1, rows, cols, generator=g) < share).float()
    return Task(torch.randn(2, bands, rows, cols, generator=g), context, 1 - context, torch.ones(2, 2))


def network(name: str = "convcnp", **settings: object) -> torch.nn.Module:
    return create(name, config_from(name, {**SMALL, **settings}), seed=1)


@torch.no_grad()
@pytest.mark.parametrize("name", ["convcnp", "convnp"])
def test_a_shifted_context_is_told_shifted(name: str) -> None:
    """A cluster of observations far from every edge, moved by 5 rows and 3 columns."""
    net = network(name)
    g, size = torch.Generator().manual_seed(0), 2 * net.receptive_field + 24
    cluster = torch.randn(8, 8, generator=g) * (torch.rand(8, 8, generator=g) < 0.5)

    def told(row: int, col: int) -> torch.Tensor:
        values = torch.zeros(1, 1, size, size)
        values[0, 0, row : row + 8, col : col + 8] = cluster
        given = Task(values, (values != 0).float(), torch.ones_like(values), torch.ones(1, 2))
        if name == "convnp":  # its draws are a fixed image of noise: the encoder's field is what moves
            return net.encode(given)[0][0, 0]
        return net(given).mean[0, 0]

    start, reach = net.receptive_field + 4, 6
    here, there = told(start, start), told(start + 5, start + 3)
    inner = slice(start - reach, start + 8 + reach)
    moved = there[inner.start + 5 : inner.stop + 5, inner.start + 3 : inner.stop + 3]
    torch.testing.assert_close(moved, here[inner, inner], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["convcnp", "convnp"])
def test_the_receptive_field_bounds_every_influence(name: str) -> None:
    net = network(name)
    reach = net.receptive_field
    given = task(2 * reach + 9, 9)
    other = given.values.clone()
    other[:, :, 0, 0] += 9
    seen = given.context.clone()
    seen[:, :, 0, 0] = 1
    near, far = (net(Task(v, seen, given.target, given.spacing)).mean for v in (given.values, other))
    changed = (near - far).abs().amax((0, 1, 3)) > 0
    assert changed[0]
    assert not changed[reach + 1 :].any()


@torch.no_grad()
def test_pixels_are_seen_at_their_metric_distance() -> None:
    net, given = network(), task()
    wide = Task(given.values, given.context, given.target, torch.tensor([[30.0, 10.0]]).expand(2, 2))
    finer = Task(given.values, given.context, given.target, torch.full((2, 2), 7.0))
    assert not torch.allclose(net(given).mean, net(wide).mean)
    torch.testing.assert_close(net(given).mean, net(finer).mean)


def test_the_sizes_are_those_of_the_report() -> None:
    net = create("convcnp")
    wide = [m for m in net.encoder.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (9, 9)]
    assert len(wide) == 10
    hidden = [m for m in net.head.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in hidden] == [128, 128, 128, 128, 2]


@torch.no_grad()
def test_the_likelihood_is_the_mean_over_draws() -> None:
    net, given = network("convnp", latent=3, samples=5, bands=2), task(5, 6, 2)
    got = net.loss(given, torch.Generator().manual_seed(4)).item()
    mean, std = net.encode(given)
    noise = torch.empty(5, *mean.shape).normal_(generator=torch.Generator().manual_seed(4))
    total = 0.0
    for b in range(2):
        each = []
        for k in range(5):
            told = net.decode(mean + std * noise[k])
            where = given.target[b, 0] > 0
            density = torch.distributions.Normal(told.mean[b], told.std[b]).log_prob(given.values[b])
            each.append(float(density[:, where].double().sum()))
        most = max(each)
        total += most + math.log(sum(math.exp(e - most) for e in each) / 5)
    assert got == pytest.approx(-total / given.target.sum().item(), rel=1e-4)


@torch.no_grad()
def test_the_prediction_has_the_moments_of_the_mixture() -> None:
    net, given = network("convnp", latent=3, prediction_samples=40), task()
    told = net(given)
    mean, std = net.encode(given)
    noise = torch.empty(40, 1, *mean.shape[1:]).normal_(generator=torch.Generator().manual_seed(0))
    each = [net.decode(mean + std * one) for one in noise]
    means, stds = torch.stack([e.mean for e in each]), torch.stack([e.std for e in each])
    second = (means**2 + stds**2).mean(0) - means.mean(0) ** 2
    torch.testing.assert_close(told.mean, means.mean(0))
    torch.testing.assert_close(told.std**2, second, rtol=1e-3, atol=1e-5)
    assert (told.std > stds.mean(0) - 1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["convcnp", "convnp"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_any_encoder_by_name(name: str, encoder: str) -> None:
    plain = {"channels": 16, "encoder": encoder, "head_layers": 1, "head_width": 8}
    net = create(name, config_from(name, {**plain, "depth": 2}), seed=1)
    for shape in ((12, 11), (1, 5)):
        assert net(task(*shape)).mean.shape == (2, 1, *shape)


@torch.no_grad()
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_any_attention_by_name(attention: str) -> None:
    given = task()
    told = network(attention=attention, channels=16)(given)
    assert told.mean.isfinite().all()
    for name in ("ifnp", "ifanp"):
        net = create(name, config_from(name, {"channels": 16, "attention": attention}), seed=1)
        plain = create(name, config_from(name, {"channels": 16}), seed=1)
        assert net(given).mean.shape == given.values.shape
        extra = set(net.state_dict()) - set(plain.state_dict())
        assert all(key.startswith("attention.") for key in extra)
        assert bool(extra) is (attention not in ("none", "non-local-gaussian")) or extra


def test_attention_acts_before_the_pooling() -> None:
    config = config_from("ifnp", {"channels": 16, "attention": "squeeze-excitation"})
    net, x = create("ifnp", config), torch.randn(2, 16, 5, 5)
    torch.testing.assert_close(net.aggregate(x), x * net.attention.weights(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "unett"}, "choose one of residual"),
        ({"attention": "senet"}, "choose one of none"),
        ({"kernel": 4}, "odd"),
        ({"depth": 0}, "depth is 0"),
        ({"reach": 0}, "reach is 0"),
        ({"noise": -1.0}, "noise is -1"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        config_from("convcnp", settings)
