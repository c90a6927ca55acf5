"""Scores of networks on test tasks, in the units of the images."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from geonp.benchmarks.images import Images, test_tasks
from geonp.benchmarks.runs import Trained
from geonp.models.base import Model
from geonp.models.variational import VariationalModel
from geonp.nn.likelihood import normal_log_density
from geonp.scaling import Scale
from geonp.tasks import Task

Given = Iterable[tuple[Task, Scale]]

_WARM_UP = 1


def psnr(truth: Tensor, mean: Tensor, peak: float, where: Tensor | None = None) -> Tensor:
    """Return the peak signal-to-noise ratio of every image in dB, (B,): 10 log10(peak^2 / MSE).

    Parameters
    ----------
    truth, mean : (B, C, H, W).
    where : (B, 1, H, W), 1 at the pixels that count; all of them by default.

    Source: "Image-faced attentive neural process", Computer Systems & Applications 32(1), 2023, section 4.2.
    """
    error = (truth - mean).square()
    if where is None:
        mse = error.mean((1, 2, 3))
    else:
        mse = (error * where).sum((1, 2, 3)) / (where.sum((1, 2, 3)) * truth.shape[1])
    return 20 * math.log10(peak) - 10 * mse.log10()


def log_likelihood(truth: Tensor, mean: Tensor, std: Tensor, floor: float, where: Tensor) -> Tensor:
    """Return the log density per pixel of every image, (B,), in nats: bands summed, pixels averaged.

    Parameters
    ----------
    truth, mean, std : (B, C, H, W), on a scale from 0 to 1.
    floor : least standard deviation; smaller ones are raised to it.
    where : (B, 1, H, W), 1 at the pixels that count.
    """
    density = normal_log_density(truth, mean, std.clamp_min(floor)).sum(1, keepdim=True)
    return (density * where).sum((1, 2, 3)) / where.sum((1, 2, 3))


@dataclass(frozen=True, slots=True)
class Scored:
    """Mean scores of a network over images.

    Parameters
    ----------
    psnr, hidden_psnr : over all pixels, and over those that were not seen, in dB.
    divergence : KL(q(z | image) || q(z | context)) in nats; None without a latent variable.
    log_likelihood, hidden_log_likelihood : in nats a pixel.
    """

    psnr: float
    hidden_psnr: float
    divergence: float | None
    log_likelihood: float
    hidden_log_likelihood: float


def score(model: Model, given: Given, peak: float, floor: float) -> Scored:
    """Score a network on test tasks whose targets are whole images.

    Parameters
    ----------
    given : tasks and the scales that their values were given.
    peak : largest possible value of an image.
    floor : least standard deviation of a likelihood, on the scale from 0 to `peak` = 1.
    """
    device = next(model.parameters()).device
    columns: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for task, scale in given:
            told = model(task.to(device))
            mean, std = scale.invert_mean(told.mean.cpu()), scale.invert_std(told.std.cpu())
            truth, hidden = scale.invert_mean(task.values), 1 - task.context
            everywhere = torch.ones_like(hidden)
            t, m, s = truth / peak, mean / peak, std / peak
            found = {
                "psnr": psnr(truth, mean, peak),
                "hidden_psnr": psnr(truth, mean, peak, hidden),
                "log_likelihood": log_likelihood(t, m, s, floor, everywhere),
                "hidden_log_likelihood": log_likelihood(t, m, s, floor, hidden),
            }
            if isinstance(model, VariationalModel):
                found["divergence"] = model.divergence(task.to(device)).cpu()
            for name, values in found.items():
                columns.setdefault(name, []).append(values)
    means = {name: float(torch.cat(parts).double().mean()) for name, parts in columns.items()}
    return Scored(
        means["psnr"],
        means["hidden_psnr"],
        means.get("divergence"),
        means["log_likelihood"],
        means["hidden_log_likelihood"],
    )


def pixels_per_second(model: Model, task: Task, repeats: int = 3) -> float:
    """Return how many pixels a network completes a second: the best of some batches, after one unmeasured."""
    device = next(model.parameters()).device
    task = task.to(device)
    best = math.inf
    with torch.inference_mode():
        for index in range(_WARM_UP + repeats):
            start = time.perf_counter()
            model(task).mean.cpu()  # waits for the device
            if index >= _WARM_UP:
                best = min(best, time.perf_counter() - start)
    return task.context.numel() / best


def speeds(trained: Trained, images: Images, count: int, fraction: float) -> dict[str, float]:
    """Return pixels a second, and steps a second of the training unless it was only restored.

    Parameters
    ----------
    images, count, fraction : the test images on which pixels are counted; see `held_out`.
    """
    task, _ = next(iter(test_tasks(images, count, fraction)))
    out = {"pixels_per_second": pixels_per_second(trained.model, task)}
    if trained.steps_per_second is not None:
        out["steps_per_second"] = trained.steps_per_second
    return out
