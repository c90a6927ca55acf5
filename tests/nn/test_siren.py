"""SIREN: what enters and leaves its layers before training, and the Laplace posterior of the last one."""

import math

import pytest
import torch

from geonp.nn.laplace import LastLayer
from geonp.nn.siren import OMEGA, FourierFeatures, SineLayer, Siren


def test_fourier_features_are_sines_and_cosines_of_turns() -> None:
    layer = FourierFeatures(torch.tensor([[0.25, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(layer(torch.tensor([[1.0, 1.0]])), torch.tensor([[1.0, 0.0, 0.0, -1.0]]))


def test_what_enters_a_sine_is_standard_normal_at_any_depth() -> None:
    """Sitzmann et al., theorem 1.8: variance about one and no kurtosis in excess, layer after layer."""
    torch.manual_seed(0)
    x = torch.sin(2 * math.pi * torch.rand(2000, 256))  # arcsine distributed
    for _ in range(5):
        layer = SineLayer(256, 256)
        before = (OMEGA * layer.linear(x)).detach()
        assert before.mean().abs() < 0.05
        assert 0.8 < before.var() < 1.2
        kurtosis = ((before - before.mean()) ** 4).mean() / before.var() ** 2
        assert 2.5 < kurtosis < 3.5
        x = layer(x).detach()
        assert 0.35 < x.var() < 0.55


def test_a_siren_is_its_last_layer_on_its_features() -> None:
    torch.manual_seed(0)
    net, x = Siren(torch.randn(8, 2), 16, 3), torch.randn(5, 2)
    torch.testing.assert_close(net(x), net.features(x) @ net.last.weight[0] + net.last.bias)
    assert len([m for m in net.modules() if isinstance(m, SineLayer)]) == 3


@pytest.fixture
def regression() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    phi = torch.randn(60, 5, generator=g, dtype=torch.float64)
    y = phi @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    return phi, y + 0.3 * torch.randn(60, generator=g, dtype=torch.float64), phi[:7] * 2


def test_the_posterior_by_inversion(regression: tuple[torch.Tensor, ...]) -> None:
    phi, y, asked = regression
    alpha, beta = 0.7, 4.0
    covariance = torch.linalg.inv(alpha * torch.eye(5, dtype=torch.float64) + beta * phi.T @ phi)
    mean, variance = LastLayer.posterior(phi, y, alpha, beta).predict(asked)
    torch.testing.assert_close(mean, asked @ (beta * covariance @ phi.T @ y))
    torch.testing.assert_close(variance, (asked @ covariance * asked).sum(1))


def test_the_precisions_have_the_largest_evidence(regression: tuple[torch.Tensor, ...]) -> None:
    phi, y, asked = regression
    found = LastLayer.fit(phi, y)

    def evidence(alpha: float, beta: float) -> float:
        covariance = phi @ phi.T / alpha + torch.eye(60, dtype=torch.float64) / beta
        zero = torch.zeros(60, dtype=torch.float64)
        return float(torch.distributions.MultivariateNormal(zero, covariance).log_prob(y))

    best = evidence(found.alpha, found.beta)
    for factor in (0.9, 1.1):
        assert evidence(found.alpha * factor, found.beta) < best
        assert evidence(found.alpha, found.beta * factor) < best
    assert found.beta**-0.5 == pytest.approx(0.3, rel=0.2)
    again = LastLayer.posterior(phi, y, found.alpha, found.beta).predict(asked)
    for one, other in zip(found.predict(asked), again, strict=True):
        torch.testing.assert_close(one, other)


def test_fewer_values_than_features_and_values_without_noise_stay_finite() -> None:
    phi = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    for y in (torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3)):
        mean, variance = LastLayer.fit(phi, y).predict(phi)
        assert mean.isfinite().all()
        assert (variance >= 0).all()
