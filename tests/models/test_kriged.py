"""The kriged IFANP: untrained it is kriging; it moves with the field; its loss is kriging's share."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geonp.errors import ModelError
from geonp.kriging.features import CHANNELS
from geonp.models.kriged import COVARIATES, KrigedConfig, KrigedIFANP, crps, widened, with_beside
from geonp.nn.unet import RegionalCode, UNet, WindowedCrossAttention
from geonp.tasks import Task

SMALL = KrigedConfig(width=8, levels=3, code_window=3, attention_window=3)


def task(b: int = 2, h: int = 32, w: int = 32, bands: int = 1, seed: int = 0) -> Task:
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(b, bands, h, w, generator=g)
    context = (torch.rand(b, 1, h, w, generator=g) < 0.3).float()
    covariates = torch.randn(b, bands, COVARIATES, h, w, generator=g)
    covariates[:, :, CHANNELS.index("weight")] = 0.5 + torch.rand(b, bands, h, w, generator=g)
    return Task(values, context, 1 - context, torch.ones(b, 2), covariates.flatten(1, 2))


def trained(config: KrigedConfig = SMALL, seed: int = 1) -> KrigedIFANP:
    """A network whose every weight does something."""
    torch.manual_seed(seed)
    model = KrigedIFANP(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


@torch.no_grad()
def test_untrained_is_kriging_to_the_last_bit() -> None:
    told = KrigedIFANP(SMALL)(task())
    assert torch.equal(told.mean, torch.zeros_like(told.mean))
    assert torch.equal(told.std, torch.ones_like(told.std))


@torch.no_grad()
def test_untrained_loss_is_that_of_kriging() -> None:
    model, given = KrigedIFANP(SMALL), task(b=6, h=64, w=64)
    # Values drawn from Normal(0, 1): kriging is right about itself, so both shares are 1.
    assert float(model.loss(given)) == pytest.approx(1 + SMALL.mean_weight, abs=0.02)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(32, 32), (31, 45), (1, 1), (8, 100)])
@pytest.mark.parametrize("bands", [1, 3])
def test_any_size_and_bands(shape: tuple[int, int], bands: int) -> None:
    model = trained(KrigedConfig(bands=bands, width=8, levels=3, code_window=3, attention_window=3))
    told = model(task(1, *shape, bands=bands))
    assert told.mean.shape == told.std.shape == (1, bands, *shape)
    assert torch.isfinite(told.mean).all()
    assert (told.std > 0).all()


@torch.no_grad()
def test_without_covariates_or_context() -> None:
    model = trained()
    full = task()
    bare = Task(full.values, full.context, full.target, full.spacing)
    empty = Task(full.values, torch.zeros_like(full.context), full.target, full.spacing)
    for told in (model(bare), model(empty)):
        assert torch.isfinite(told.mean).all()
        assert torch.isfinite(told.std).all()


@torch.no_grad()
def test_hidden_values_are_not_read() -> None:
    model, given = trained(), task()
    other = Task(
        torch.where(given.context > 0, given.values, 99.0),
        given.context,
        given.target,
        given.spacing,
        given.covariates,
    )
    assert torch.equal(model(given).mean, model(other).mean)


@torch.no_grad()
def test_moves_with_the_field() -> None:
    """Shifted by a multiple of the stride, the middle of the canvas gives the same numbers."""
    model = trained()
    reach, s = model.receptive_field, model.stride
    side = (2 * reach // s + 4) * s
    big = task(1, side + s, side + s)
    cut = slice(s, s + side)

    def part(a: Tensor) -> Tensor:
        return a[..., cut, cut]

    small = Task(part(big.values), part(big.context), part(big.target), big.spacing, part(big.covariates))
    inner = slice(reach, side - reach)
    whole, piece = model(big), model(small)
    torch.testing.assert_close(
        part(whole.mean)[..., inner, inner], piece.mean[..., inner, inner], rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_receptive_field_bounds_every_influence() -> None:
    model = trained()
    reach = model.receptive_field
    side = 2 * (reach + 24)
    given = task(1, side, side)
    moved = given.covariates.clone()
    moved[..., 12, 12] += 5
    near = model(given).mean
    far = model(Task(given.values, given.context, given.target, given.spacing, moved)).mean
    changed = (near - far).abs()[0, 0] > 0
    assert changed[12, 12]
    assert not changed[12 + reach + 1 :].any()
    assert not changed[:, 12 + reach + 1 :].any()


@torch.no_grad()
def test_cross_attention_against_its_formula() -> None:
    torch.manual_seed(0)
    layer = WindowedCrossAttention(4, 3, heads=2)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn_like(p))
    x, context = torch.randn(1, 4, 5, 6), torch.randn(1, 4, 5, 6)
    share = (torch.rand(1, 1, 5, 6) < 0.5).float()
    share[0, 0, :3, :3] = 0
    q, k, v = layer.query(x)[0], layer.key(context)[0], layer.value(context)[0]
    found = torch.zeros(4, 5, 6)
    for i in range(5):
        for j in range(6):
            for head in range(2):
                c = slice(2 * head, 2 * head + 2)
                score, value = [], []
                for n in range(9):
                    a, b = i + n // 3 - 1, j + n % 3 - 1
                    if 0 <= a < 5 and 0 <= b < 6 and share[0, 0, a, b] > 0:
                        position = layer.position[n, head, 0, 0]
                        score.append(q[c, i, j] @ k[c, a, b] / math.sqrt(2) + position)
                        value.append(v[c, a, b])
                if score:
                    found[c, i, j] = torch.softmax(torch.stack(score), 0) @ torch.stack(value)
    torch.testing.assert_close(layer(x, context, share), x + layer.merge(found[None]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_regional_code_is_not_diluted_by_what_is_unknown() -> None:
    """Constant features give a constant code, however sparse the context."""
    torch.manual_seed(0)
    layer = RegionalCode(4, 3)
    layer.decode.weight.normal_()
    x = torch.randn(1, 4, 1, 1).expand(1, 4, 7, 7)
    sparse = torch.zeros(1, 1, 7, 7)
    sparse[..., 3, 3] = 1
    dense = torch.ones(1, 1, 7, 7)
    torch.testing.assert_close(layer(x, sparse)[..., 3, 3], layer(x, dense)[..., 3, 3], rtol=1e-2, atol=1e-2)


def test_crps_of_a_normal_by_integration() -> None:
    """CRPS is the integral of (F - 1{x >= y})^2."""
    x = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    for y, mu, sd in ((0.3, -0.5, 0.7), (-4.0, 1.0, 2.0)):
        cdf = torch.distributions.Normal(mu, sd).cdf(x)
        by_hand = torch.trapezoid((cdf - (x >= y).double()) ** 2, x)
        args = (torch.tensor(a, dtype=torch.float64) for a in (y, mu, sd))
        assert float(crps(*args)) == pytest.approx(float(by_hand), abs=1e-4)


def test_it_learns() -> None:
    """A residual that the covariates tell is learnt in a few steps."""
    torch.manual_seed(0)
    model, given = KrigedIFANP(SMALL), task()
    told = given.covariates[:, CHANNELS.index("detail")][:, None]
    easy = Task(told.clone(), given.context, given.target, given.spacing, given.covariates)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    first = float(model.loss(easy).detach())
    for _ in range(40):
        optimiser.zero_grad()
        loss = model.loss(easy)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.7 * first


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 12},
        {"levels": 1},
        {"code_window": 4},
        {"attention_window": 6},
        {"mean_weight": -1.0},
        {"depth": 0},
    ],
)
def test_sizes_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError):
        KrigedConfig(**wrong)


def test_covariates_that_do_not_fit_are_refused() -> None:
    given = task()
    odd = Task(given.values, given.context, given.target, given.spacing, given.covariates[:, :-1])
    with pytest.raises(ValueError, match="13 channels"):
        KrigedIFANP(SMALL)(odd)
    assert len(CHANNELS) == COVARIATES


@torch.no_grad()
def test_unet_starts_at_zero() -> None:
    net = UNet(3, 2, 8, 3, 3, 3)
    assert torch.equal(net(torch.randn(1, 3, 16, 16), torch.ones(1, 1, 16, 16)), torch.zeros(1, 2, 16, 16))


@torch.no_grad()
def test_a_deeper_network_says_what_the_shallow_one_said_until_it_is_trained() -> None:
    shallow, deep = trained(), KrigedIFANP(replace(SMALL, depth=3)).eval()
    missing, unexpected = deep.load_state_dict(shallow.state_dict(), strict=False)
    assert not unexpected
    # Two more blocks at two of three resolutions on the way down and one on the way up, and in the middle.
    assert len({name.rsplit(".", 2)[0] for name in missing}) == 2 * (2 + 1 + 1)
    for ours, theirs in zip(deep(task()), shallow(task()), strict=True):
        assert torch.equal(ours, theirs)
    assert deep.receptive_field > shallow.receptive_field


def read(k: int = 2, seed: int = 0, **size: int) -> Task:
    """A task with covariates: their values, around 300, and how kriging misses them."""
    given = task(seed=seed, **size)
    g = torch.Generator().manual_seed(seed + 100)
    b, _, h, w = given.values.shape
    values = 300 + 50 * torch.randn(b, k, h, w, generator=g)
    beside = with_beside(given.covariates, values, torch.randn(b, k, h, w, generator=g))
    return Task(given.values, given.context, given.target, given.spacing, beside)


@torch.no_grad()
@pytest.mark.parametrize("bands", [1, 2])
def test_a_widened_network_says_what_the_narrow_one_said(bands: int) -> None:
    narrow = trained(KrigedConfig(bands=bands, width=8, levels=3, code_window=3, attention_window=3))
    wide = widened(narrow, 2)
    assert wide.covariates == 2
    assert not wide.training
    given = read(h=40, w=29, bands=bands)
    plain = Task(given.values, given.context, given.target, given.spacing, given.covariates[:, : 13 * bands])
    for one, other in zip(narrow(plain), wide(given), strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_a_covariate_that_is_unknown_says_nothing() -> None:
    model, given = trained(replace(SMALL, covariates=2)), read()
    hole = given.covariates.clone()
    hole[:, 13, 4:20, 6:18] = torch.nan  # where one is unknown, the other is not believed either
    other = hole.clone()
    other[:, 14:, 4:20, 6:18] = 1e3
    first, second = (
        model(Task(given.values, given.context, given.target, given.spacing, c)) for c in (hole, other)
    )
    assert torch.isfinite(first.mean).all()
    assert torch.equal(first.mean, second.mean)
    assert not torch.equal(first.mean, model(given).mean)
    bare = model(Task(given.values, given.context, given.target, given.spacing))
    assert torch.isfinite(bare.mean).all()


@torch.no_grad()
def test_covariates_are_read_in_the_units_of_the_training_set() -> None:
    model, given = trained(replace(SMALL, covariates=2)), read()
    first = model(given).mean
    model.beside.learn_scale(torch.tensor([7.0, -2.0]), torch.tensor([3.0, 0.5]))
    scaled = given.covariates.clone()
    scaled[:, 13:15] = scaled[:, 13:15] * torch.tensor([3.0, 0.5])[:, None, None]
    scaled[:, 13:15] += torch.tensor([7.0, -2.0])[:, None, None]
    second = model(Task(given.values, given.context, given.target, given.spacing, scaled)).mean
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_as_many_covariates_as_it_reads() -> None:
    with pytest.raises(ValueError, match=r"13 channels.*and 2 covariate\(s\) 4 more"):
        KrigedIFANP(replace(SMALL, covariates=2))(read(k=1))
    with pytest.raises(ModelError, match="covariates"):
        KrigedConfig(covariates=-1)
