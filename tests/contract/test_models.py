"""What every architecture keeps to, whatever it computes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from geonp.errors import ModelError, UsageError
from geonp.models import (
    ARCHITECTURES,
    Model,
    config_from,
    create,
    matched,
    names,
    parameters,
    resolve,
    restore,
    weights,
)
from geonp.models.ifanp import IFANPConfig
from geonp.models.latent import Latent, LatentConfig
from geonp.nn.attention import window_weights
from geonp.tasks import Task, coordinates

SIZES = [(7, 9), (16, 16), (33, 20), (1, 5)]
SMALL: dict[str, dict[str, object]] = {
    **{
        name: {"channels": 16, "latent": 8}
        for name in ("ifnp", "ifanp", "ifnp-lpa", "ifnp-senet", "ifnp-gca")
    },
    **{name: {"channels": 16} for name in ("cnp", "acnp")},
    **{name: {"channels": 16, "latent": 8} for name in ("np", "anp", "vae")},
    "convcnp": {"channels": 16, "depth": 2, "kernel": 3, "head_layers": 2, "head_width": 16},
    "convnp": {"channels": 16, "depth": 1, "kernel": 3, "head_layers": 1, "head_width": 16, "latent": 4},
    "kriged-ifanp": {"width": 16},
}
"""Sizes at which the contract is checked; a test of its own holds the usual ones to a single step."""

every = pytest.mark.parametrize("name", names())
bands = pytest.mark.parametrize("bands", [1, 3])
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def task(bands: int, size: tuple[int, int], share: float = 0.3, fields: int = 2, seed: int = 0) -> Task:
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(fields, bands, *size, generator=g)
    context = (torch.rand(fields, 1, *size, generator=g) < share).float()
    return Task(values, context, 1 - context, torch.tensor([[30.0, 20.0]]).expand(fields, 2))


def fresh(name: str, bands: int = 1, seed: int = 0, **settings: object) -> Model:
    architecture, chosen = resolve(name, {"bands": bands, **SMALL[name], **settings})
    return create(architecture, config_from(architecture, chosen), seed)


def model(name: str, bands: int = 1, **settings: object) -> Model:
    """A network that is not fresh: heads that start at zero would hide what they ignore."""
    net = fresh(name, bands, **settings)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=g)
    return net


@every
@bands
@sizes
def test_density_shapes_and_dtype(name: str, bands: int, size: tuple[int, int]) -> None:
    net, given = model(name, bands), task(bands, size)
    told = net(given)
    assert net.bands == bands
    assert net.name == resolve(name).architecture
    assert told.mean.shape == told.std.shape == given.values.shape
    assert told.mean.dtype == told.std.dtype == torch.float32
    assert (told.std > 0).all()
    assert told.log_prob(given.values).isfinite().all()
    loss = net.loss(given, torch.Generator().manual_seed(0))
    assert loss.shape == ()
    assert loss.isfinite()


@every
@bands
@pytest.mark.parametrize("share", [0.0, 1.0], ids=["empty", "full"])
def test_empty_and_full_contexts(name: str, bands: int, share: float) -> None:
    net, given = model(name, bands), task(bands, (9, 8), share)
    mixed = replace(given, context=torch.cat([given.context[:1], torch.zeros_like(given.context[:1])]))
    for case in (given, mixed):
        told = net(case)
        assert told.mean.isfinite().all()
        assert told.log_prob(case.values).isfinite().all()
        loss = net.loss(case, torch.Generator().manual_seed(0))
        loss.backward()
        assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@every
@sizes
def test_what_is_written_at_unseen_pixels_does_not_matter(name: str, size: tuple[int, int]) -> None:
    net, given = model(name), task(1, size)
    other = replace(given, values=torch.where(given.context > 0, given.values, 1e4), target=given.context)
    assert torch.equal(net(given).mean, net(other).mean)
    assert torch.equal(net(given).std, net(other).std)


@every
def test_what_is_seen_matters(name: str) -> None:
    net, given = model(name), task(1, (9, 8))
    other = replace(given, values=given.values + given.context)
    assert not torch.allclose(net(given).mean, net(other).mean)


@every
def test_fields_of_a_batch_do_not_meet(name: str) -> None:
    net, one, more = model(name), task(1, (9, 8), fields=1), task(1, (9, 8), 0.8, fields=2, seed=5)
    both = Task(
        *(torch.cat([getattr(t, f) for t in (one, more)]) for f in ("values", "context", "target", "spacing"))
    )
    torch.testing.assert_close(net(both).mean[:1], net(one).mean, atol=1e-5, rtol=1e-5)


@every
def test_the_forward_pass_is_deterministic_and_the_loss_a_function_of_its_generator(name: str) -> None:
    net, given = model(name), task(1, (9, 8))
    assert torch.equal(net(given).mean, net(given).mean)
    torch.manual_seed(3)
    first = net.loss(given, torch.Generator().manual_seed(7))
    torch.manual_seed(4)
    assert torch.equal(first, net.loss(given, torch.Generator().manual_seed(7)))


@every
def test_a_seed_makes_a_network_and_leaves_the_global_one_alone(name: str) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = (weights(fresh(name, seed=s)) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(np.array_equal(one[k], same[k]) for k in one)
    assert not all(np.array_equal(one[k], other[k]) for k in one)


@every
def test_a_few_steps_lower_the_loss(name: str) -> None:
    net, given = fresh(name), task(1, (12, 12), fields=4)
    given = replace(given, values=coordinates(given)[:, :1] ** 2 * 3)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        loss = net.loss(given, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01


@every
def test_weights_go_out_and_come_back(name: str) -> None:
    net = model(name)
    config = {k: getattr(net.config, k) for k in net.config.__dataclass_fields__}
    again = restore(net.name, config, weights(net))
    given = task(1, (9, 8))
    assert torch.equal(net.eval()(given).mean, again(given).mean)
    assert all(p.requires_grad for p in again.parameters())


@every
def test_tensors_that_do_not_fit_are_refused(name: str) -> None:
    net = model(name)
    config = {k: getattr(net.config, k) for k in net.config.__dataclass_fields__}
    good = weights(net)
    key = next(iter(good))
    with pytest.raises(ModelError, match="missing"):
        restore(net.name, config, {k: v for k, v in good.items() if k != key})
    with pytest.raises(ModelError, match="not part of"):
        restore(net.name, config, good | {"extra": good[key]})
    with pytest.raises(ModelError, match=r"shape .* need"):
        restore(net.name, config, good | {key: good[key][..., None]})


@every
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": 0}, "bands is 0"),
        ({"bands": 10**12}, "bands is"),
        ({"bands": "1"}, "must be int"),
        ({"bands": True}, "must be int"),
        ({"bands": 1.5}, "must be int"),
        ({"colour": 1}, "no setting 'colour'"),
    ],
)
def test_settings_are_checked(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        config_from(*resolve(name, changes))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_usual_sizes_tell_every_pixel(name: str) -> None:
    told = create(name)(task(1, (8, 8), fields=1))
    assert told.mean.shape == (1, 1, 8, 8)
    assert told.std.isfinite().all()


@every
def test_realisations_are_surfaces_and_a_function_of_their_generator(name: str) -> None:
    net, given = model(name, 2), task(2, (9, 8))
    with torch.no_grad():
        drawn, same, other = (net.realisations(given, 3, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert drawn.shape == (3, 2, 2, 9, 8)
    assert drawn.isfinite().all()
    assert torch.equal(drawn, same)
    latent = "latent" in net.config.__dataclass_fields__
    assert torch.equal(drawn[0], drawn[1]) is not latent
    assert torch.equal(drawn, other) is not latent


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("channels", [32, 64])
@pytest.mark.parametrize("name", ["ifnp", "ifnp-lpa", "ifnp-senet", "ifnp-gca", "np", "vae", "convcnp"])
def test_networks_are_matched_in_parameters(name: str, bands: int, channels: int) -> None:
    wanted = parameters("ifanp", {"bands": bands, "channels": channels})
    found = matched(name, wanted, {"bands": bands})
    net = create(found.architecture, config_from(*found))
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(wanted, rel=0.05)
    assert resolve(name).settings.items() <= found.settings.items()


def test_what_cannot_be_matched_says_so() -> None:
    with pytest.raises(ModelError, match="cannot have about 10 parameters"):
        matched("ifnp", 10)
    with pytest.raises(UsageError, match="ifnp-senet"):
        parameters("unknown")


def test_an_unknown_architecture_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="ifnp, ifanp"):
        create("unet")
    with pytest.raises(ModelError, match="this version knows"):
        restore("unet", {}, {})
    with pytest.raises(UsageError, match="takes a IFANPConfig"):
        create("ifanp", LatentConfig())


@pytest.mark.parametrize(
    "config", [IFANPConfig(gca_layers=0), IFANPConfig(lpa_window=1), IFANPConfig(gca_layers=3)]
)
def test_parts_of_an_ifanp_can_be_left_out(config: IFANPConfig) -> None:
    net, given = create("ifanp", config), task(1, (9, 8))
    assert net(given).mean.isfinite().all()
    assert net.loss(given, torch.Generator().manual_seed(0)).isfinite()


def test_an_ifanp_without_attention_is_an_ifnp() -> None:
    bare = create("ifanp", IFANPConfig(lpa_window=1, gca_layers=0))
    plain = create("ifnp")
    plain.load_state_dict(bare.state_dict())
    given = task(1, (9, 8))
    assert torch.equal(bare(given).mean, plain(given).mean)


def test_local_pooling_acts_on_the_latent_path() -> None:
    smooth, plain = (create("ifanp", IFANPConfig(lpa_window=w, gca_layers=0)) for w in (3, 1))
    plain.load_state_dict(smooth.state_dict())
    x = torch.randn(1, 4, 5, 5)
    assert smooth.aggregate(x)[0, 0, 2, 2].item() == pytest.approx(
        (window_weights(3).float() * x[0, 0, 1:4, 1:4]).sum().item(), rel=1e-5
    )
    assert plain.aggregate(x) is x


def test_the_divergence_is_that_of_normal_distributions() -> None:
    g = torch.Generator().manual_seed(0)
    one, other = (
        Latent(torch.randn(3, 4, generator=g), torch.rand(3, 4, generator=g) + 0.1) for _ in range(2)
    )
    want = torch.distributions.kl_divergence(
        torch.distributions.Normal(*one), torch.distributions.Normal(*other)
    )
    torch.testing.assert_close(one.divergence(other), want.sum(1))
    torch.testing.assert_close(one.divergence(one), torch.zeros(3))


@pytest.mark.parametrize("name", ["ifnp", "ifanp", "np", "anp"])
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("noise", [None, 0.3])
def test_the_loss_is_equation_6(name: str, samples: int, noise: float | None) -> None:
    """The bound written out: field by field, draw by draw, pixel by pixel."""
    net, given = model(name, 2, samples=samples, noise=noise), task(2, (5, 6))
    got = net.loss(given, torch.Generator().manual_seed(9)).item()
    matrix, total = coordinates(given), 0.0
    with torch.no_grad():
        prior, full = net.encode(given, matrix), net.encode(given.everything_seen(), matrix)
        attended = net.attend(given, matrix)
        noises = torch.empty(samples, *full.mean.shape).normal_(generator=torch.Generator().manual_seed(9))
        for b in range(2):
            for d in range(full.mean.shape[1]):
                m1, s1, m2, s2 = (x[b, d].item() for x in (full.mean, full.std, prior.mean, prior.std))
                total += math.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5
        for k in range(samples):
            told = net.decode(full.mean + full.std * noises[k], matrix, attended)
            for b, i, j in given.target[:, 0].nonzero().tolist():
                for c in range(2):
                    mean, std = told.mean[b, c, i, j].item(), told.std[b, c, i, j].item()
                    assert noise is None or std == pytest.approx(noise)
                    z = (given.values[b, c, i, j].item() - mean) / std
                    total += (0.5 * z**2 + math.log(std) + 0.5 * math.log(2 * math.pi)) / samples
    assert got == pytest.approx(total / given.target.sum().item(), rel=1e-4)


def test_full_means_every_known_pixel() -> None:
    net, given = model("ifnp"), task(1, (5, 6))
    known = (torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(2)) < 0.7).float()
    partly = replace(
        given, context=given.context * known, target=given.target * known, values=given.values * known
    )
    torn = replace(partly, values=torch.where(known > 0, partly.values, 99.0))
    one, other = (net.loss(t, torch.Generator().manual_seed(0)) for t in (partly, torn))
    assert torch.equal(one, other)


@pytest.mark.parametrize("settings", [{"noise": -1.0}, {"noise": 0}, {"samples": 0}, {"decoder_layers": 1}])
def test_latent_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(settings))):
        config_from("ifnp", settings)
    with pytest.raises(ModelError, match="odd number"):
        config_from("ifanp", {"lpa_window": 4})
