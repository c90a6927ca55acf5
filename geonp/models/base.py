"""The contract of every architecture."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from geonp.nn.likelihood import normal_log_density
from geonp.tasks import Task


class Gaussian(NamedTuple):
    """An independent normal distribution at every pixel: mean and standard deviation, (B, C, H, W)."""

    mean: Tensor
    std: Tensor

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of `value`, elementwise."""
        return normal_log_density(value, self.mean, self.std)


class Model(nn.Module, abc.ABC):
    """A network that completes a batch of fields.

    A subclass states its `name`, takes a frozen dataclass `config` whose fields are JSON values, `bands` among
    them, and implements `forward` and `loss`. Everything random in `loss` comes from the generator it is given.
    """

    name: ClassVar[str]
    config: Any

    @property
    def bands(self) -> int:
        """Bands C that the network expects."""
        return int(self.config.bands)

    @property
    def covariates(self) -> int:
        """Covariates K that the network reads beside the observations; most read none."""
        return 0

    @property
    @abc.abstractmethod
    def receptive_field(self) -> int | None:
        """Pixels around a pixel that can influence it; None where the whole canvas does."""

    @abc.abstractmethod
    def forward(self, task: Task) -> Gaussian:
        """Return the predictive distribution of every pixel given the context alone; deterministic."""

    @abc.abstractmethod
    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        """Return the training loss of the batch, a scalar: a mean over what `weight` counts.

        Random numbers are drawn for the whole batch of which the task may be a share, field by field, so that
        a batch costs the same loss in one piece and in several (`geonp.models.variational.noise`).
        """

    def weight(self, task: Task) -> Tensor:
        """Return what `loss` is a mean over, a scalar: the target pixels, 1 where there is none.

        The loss of a batch is the mean of its parts' losses, weighted with this.
        """
        return task.target.sum().clamp_min(1)

    def hidden(self) -> list[Tensor]:
        """Return the kernels that Muon trains (`geonp.optimisers`); AdamW trains all other weights, here all."""
        return []

    def realisations(self, task: Task, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return `count` surfaces that the model holds possible, without noise, (count, B, C, H, W).

        One for every draw of the latent variable; without one they are all the predicted mean.
        """
        mean: Tensor = self(task).mean
        return mean.expand(count, *mean.shape)
