"""What a network is trained on and asked about: a batch of fields, part seen, part to be told."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Share:
    """Which fields of a whole batch a part of it holds.

    Parameters
    ----------
    first : number of its first field in the whole batch, from 0.
    whole : fields of the whole batch.
    """

    first: int
    whole: int


@dataclass(frozen=True, slots=True)
class Task:
    """A batch of B fields of C bands on H x W pixels.

    Parameters
    ----------
    values : (B, C, H, W), scaled; 0 where nothing is known. Where only the context is known (prediction), the
        rest is 0 too.
    context : (B, 1, H, W), 1 at the pixels that the model may see, else 0.
    target : (B, 1, H, W), 1 at the pixels that are scored; never where the value is unknown.
    spacing : (B, 2), pixel size (dy, dx) in metres.
    covariates : (B, K, H, W), known everywhere, or None.
    share : what the task is a part of; None where it is a whole batch.
    """

    values: Tensor
    context: Tensor
    target: Tensor
    spacing: Tensor
    covariates: Tensor | None = None
    share: Share | None = None

    def __post_init__(self) -> None:
        b, _, h, w = self.values.shape
        for name in ("context", "target"):
            found = tuple(getattr(self, name).shape)
            if found != (b, 1, h, w):
                raise ValueError(f"{name} is {found}, values {tuple(self.values.shape)}")
        if self.spacing.shape != (b, 2):
            raise ValueError(f"spacing is {tuple(self.spacing.shape)}, expected {(b, 2)}")

    def to(self, device: torch.device | str) -> Task:
        """Return the task on `device`."""
        covariates = None if self.covariates is None else self.covariates.to(device)
        values, context, target = (t.to(device) for t in (self.values, self.context, self.target))
        return Task(values, context, target, self.spacing.to(device), covariates, self.share)

    def everything_seen(self) -> Task:
        """Return the task whose context is every known pixel: context and target together."""
        return replace(self, context=torch.maximum(self.context, self.target))


def coordinates(task: Task) -> Tensor:
    """Return the coordinate matrix M, (B, 2, H, W): y (up) and x, centred, metric up to one scale per field.

    The longer side of the canvas runs from -1 to 1; the other keeps the metric aspect ratio of the pixels, so
    that a grid with dy != dx is seen undistorted.
    """
    _, _, h, w = task.values.shape
    device, dtype = task.values.device, task.values.dtype
    dy, dx = task.spacing.to(device, dtype).unbind(1)
    y = (torch.arange(h, device=device, dtype=dtype) - (h - 1) / 2).neg()[None, :, None] * dy[:, None, None]
    x = (torch.arange(w, device=device, dtype=dtype) - (w - 1) / 2)[None, None, :] * dx[:, None, None]
    half = torch.maximum(dy * h, dx * w)[:, None, None] / 2
    return torch.stack([(y / half).expand(-1, h, w), (x / half).expand(-1, h, w)], 1)
