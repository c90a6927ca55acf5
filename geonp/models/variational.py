"""What models with one latent vector a field share: draws, divergences, and the evidence lower bound."""

from __future__ import annotations

import abc
from typing import NamedTuple

import torch
from torch import Tensor

from geonp.models.base import Gaussian, Model
from geonp.nn.likelihood import normal_log_density
from geonp.tasks import Share, Task, coordinates


class Latent(NamedTuple):
    """An independent normal distribution of z: mean and standard deviation, (B, D)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def from_raw(cls, raw: Tensor) -> Latent:
        """Return the distribution that a network's outputs (B, 2 D) tell.

        The deviation is bounded on both sides: one that vanishes makes the divergence explode.
        """
        mean, spread = raw.chunk(2, 1)
        return cls(mean, 0.01 + 0.99 * torch.sigmoid(spread))

    def draw(self, count: int, generator: torch.Generator | None, share: Share | None = None) -> Tensor:
        """Return `count` draws for every field, (count, B, D), differentiable in mean and deviation."""
        return self.mean + self.std * noise(self.mean, count, generator, share)

    def divergence(self, other: Latent) -> Tensor:
        """Return KL(self || other) for every field, (B,), in nats."""
        ratio = (self.std / other.std).square()
        shift = ((self.mean - other.mean) / other.std).square()
        return 0.5 * (ratio + shift - 1 - ratio.log()).sum(1)


class VariationalModel(Model):
    """context -> distribution of z -> distribution of every pixel.

    Subclasses implement `encode` and `decode`, and override `attend` where there is a deterministic path
    beside the latent one. Their config has `samples`, the draws K of z in the loss.
    """

    @property
    def receptive_field(self) -> None:
        """None: z gathers the whole canvas."""
        return None

    @abc.abstractmethod
    def encode(self, task: Task, matrix: Tensor) -> Latent:
        """Return q(z | context) given the coordinate matrix M (B, 2, H, W)."""

    @abc.abstractmethod
    def decode(self, z: Tensor, matrix: Tensor, attended: Tensor | None) -> Gaussian:
        """Return the distribution of every pixel given z (B, D), M (B, 2, H, W) and R_pred (B, E, H, W)."""

    def attend(self, task: Task, matrix: Tensor) -> Tensor | None:
        """Return the deterministic representation R_pred (B, E, H, W) given M, or None where there is none."""
        return None

    def prior(self, task: Task, matrix: Tensor) -> Latent:
        """Return the distribution that z is held to in training: q(z | context)."""
        return self.encode(task, matrix)

    def posterior(self, task: Task, matrix: Tensor) -> Latent:
        """Return the distribution that z is drawn from in training: q(z | every known pixel)."""
        return self.encode(task.everything_seen(), matrix)

    def forward(self, task: Task) -> Gaussian:
        """Return the distribution of every pixel at the mean of q(z | context)."""
        matrix = coordinates(task)
        return self.decode(self.encode(task, matrix).mean, matrix, self.attend(task, matrix))

    def realisations(self, task: Task, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the mean surfaces of `count` draws z ~ q(z | context), (count, B, C, H, W)."""
        matrix = coordinates(task)
        attended = self.attend(task, matrix)
        z = self.encode(task, matrix).draw(count, generator)
        return torch.stack([self.decode(one, matrix, attended).mean for one in z])

    def divergence(self, task: Task) -> Tensor:
        """Return KL(posterior || prior) of z for every field, (B,), in nats: the first term of eq. 6."""
        matrix = coordinates(task)
        return self.posterior(task, matrix).divergence(self.prior(task, matrix))

    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        """Return the negative evidence lower bound (IFNP, eq. 6) per target pixel.

        KL(q(z | full) || q(z | context)) - 1/K sum_k sum_targets ln p(y | z_k, m), z_k ~ q(z | full), summed
        over the batch and divided by its number of target pixels; "full" is every known pixel.
        """
        matrix = coordinates(task)
        prior, posterior = self.prior(task, matrix), self.posterior(task, matrix)
        attended = self.attend(task, matrix)
        draws: int = self.config.samples
        z = posterior.draw(draws, generator, task.share).flatten(0, 1)
        fields = self.decode(z, repeat(matrix, draws), None if attended is None else repeat(attended, draws))
        score = normal_log_density(repeat(task.values, draws), *fields) * repeat(task.target, draws)
        pixels = task.target.sum().clamp_min(1)
        return (posterior.divergence(prior).sum() - score.sum() / draws) / pixels


def noise(like: Tensor, count: int, generator: torch.Generator | None, share: Share | None = None) -> Tensor:
    """Return standard normal numbers for every field of a batch (B, ...), (count, B, ...).

    Those of a share are the ones that its fields get in the whole batch.
    """
    fields = len(like) if share is None else share.whole
    drawn = like.new_empty(count, fields, *like.shape[1:]).normal_(generator=generator)
    return drawn if share is None else drawn[:, share.first : share.first + len(like)]


def repeat(batch: Tensor, times: int) -> Tensor:
    """Return a batch (B, ...) `times` over, (times * B, ...)."""
    return batch if times == 1 else batch.repeat(times, *[1] * (batch.ndim - 1))
