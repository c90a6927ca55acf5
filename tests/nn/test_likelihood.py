"""The density against torch's own."""

import math

import torch

from geonp.nn.likelihood import normal_log_density


def test_it_is_the_normal_density() -> None:
    value, mean = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).unbind()
    std = mean.exp()
    torch.testing.assert_close(
        normal_log_density(value, mean, std), torch.distributions.Normal(mean, std).log_prob(value)
    )


def test_what_is_not_finite_shows() -> None:
    one = torch.ones(2)
    assert normal_log_density(one, torch.tensor([math.nan, math.inf]), one).isfinite().sum() == 0
