"""Scores against scipy, torch.distributions, and values known beforehand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from geonp import metrics
from geonp.benchmarks.images import Images
from geonp.benchmarks.images import test_tasks as tasks_to_test
from geonp.benchmarks.scores import log_likelihood, pixels_per_second, psnr, score
from geonp.models import create
from geonp.models.latent import LatentConfig
from geonp.tasks import coordinates

RNG = np.random.default_rng(0)


def test_psnr_is_that_of_the_metrics_image_by_image() -> None:
    truth, mean = torch.from_numpy(RNG.uniform(0, 255, (2, 3, 2, 5, 6)))
    where = torch.from_numpy((RNG.random((3, 1, 5, 6)) < 0.4).astype(float))
    for i in range(3):
        whole = metrics.psnr(truth[i], mean[i], 255)
        assert float(psnr(truth, mean, 255)[i]) == pytest.approx(whole)
        inside = where[i, 0].numpy() > 0
        hidden = metrics.psnr(truth[i].numpy()[:, inside], mean[i].numpy()[:, inside], 255)
        assert float(psnr(truth, mean, 255, where)[i]) == pytest.approx(hidden)
    # An error of a tenth of the peak everywhere is 20 dB.
    assert float(psnr(truth[:1], truth[:1] + 25.5, 255)) == pytest.approx(20)


def test_log_likelihood_sums_bands_averages_pixels_and_raises_deviations() -> None:
    truth, mean = torch.from_numpy(RNG.uniform(0, 1, (2, 2, 3, 4, 4)))
    std = torch.from_numpy(RNG.uniform(0.01, 0.3, (2, 3, 4, 4)))
    where = torch.zeros(2, 1, 4, 4)
    where[:, :, 1:3] = 1
    t, m, s = truth.numpy(), mean.numpy(), np.maximum(std.numpy(), 0.1)
    density = norm.logpdf(t, m, s).sum(1)[:, 1:3].mean((1, 2))
    np.testing.assert_allclose(log_likelihood(truth, mean, std, 0.1, where), density)
    best = log_likelihood(truth, truth, std * 0, 0.1, where)
    np.testing.assert_allclose(best, 3 * -math.log(0.1 * math.sqrt(2 * math.pi)))


def test_a_networks_scores_are_those_of_its_predictions(images: Images) -> None:
    model = create("ifnp", LatentConfig(channels=8, latent=4)).eval()
    found = score(model, tasks_to_test(images, 4, 0.4), 255, floor=0.1)
    (task, _), *rest = tasks_to_test(images, 4, 0.4)
    assert not rest
    with torch.inference_mode():
        mean = (model(task).mean + 1) * 127.5
        truth = torch.from_numpy(images.test[:4].astype("f4"))
        inputs = coordinates(task)
        q = model.encode(task.everything_seen(), inputs)
        p = model.encode(task, inputs)
        normal = torch.distributions.Normal
        kl = torch.distributions.kl_divergence(normal(*q), normal(*p)).sum(1).mean()
    assert found.psnr == pytest.approx(float(psnr(truth, mean, 255).mean()), rel=1e-5)
    assert found.hidden_psnr == pytest.approx(
        float(psnr(truth, mean, 255, 1 - task.context).mean()), rel=1e-5
    )
    assert found.divergence == pytest.approx(float(kl), rel=1e-4)
    assert found.hidden_log_likelihood != found.log_likelihood


def test_a_network_without_a_latent_variable_has_no_divergence(images: Images) -> None:
    model = create("cnp").eval()
    assert score(model, tasks_to_test(images, 2, 0.4), 255, floor=0.1).divergence is None
    task, _ = next(iter(tasks_to_test(images, 2, 0.4)))
    assert pixels_per_second(model, task, repeats=1) > 0
