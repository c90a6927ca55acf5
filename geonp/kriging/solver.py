"""How kriging systems are solved: the covariance, the trend, the precision, the device, the memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geonp.errors import UsageError
from geonp.kriging.covariance import Covariance
from geonp.kriging.system import batch_size
from geonp.kriging.trend import Kind

Index = NDArray[np.int64]

_CPU = torch.device("cpu")
_BUCKET = 8
"""Systems are padded to multiples of this: few shapes, little padding."""
_CACHE = 48 << 20
"""Bytes of work that a batch may hold on a CPU, where larger ones only leave the cache."""


@dataclass(frozen=True, slots=True)
class Solver:
    """How systems are solved.

    Parameters
    ----------
    covariance : covariance of the field, nugget included.
    kind : kind of kriging.
    mean : the known mean, for simple kriging.
    dtype, device : of the arithmetic. Measured on terrain, an eighth observed, float32 errs by 2e-4 standard
        deviations with an exponential of range 100 pixels or a Matern-3/2 of range 8, whatever the nugget; with
        a Matern-3/2 of range 30 by 3e-4, 0.02, 0.04 for nuggets of 1e-2, 1e-4, 1e-6 of the sill; smoother
        fields with little nugget are beyond it.
    memory : bytes that the systems of one batch may take.
    """

    covariance: Covariance
    kind: Kind = "ordinary"
    mean: float = 0.0
    dtype: torch.dtype = torch.float64
    device: torch.device = _CPU
    memory: int = 1 << 30

    @property
    def workers(self) -> int:
        """Batches that are solved at a time."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    @property
    def working_memory(self) -> int:
        """Bytes that all batches solved at a time may take."""
        return min(self.memory, _CACHE * self.workers) if self.device.type == "cpu" else self.memory

    def batch(self, observations: int, targets: int) -> int:
        """Return how many systems of this size are solved together."""
        return batch_size(observations, targets, self.dtype.itemsize, self.working_memory // self.workers)

    def batches(self, counts: Index, targets: int) -> list[tuple[int, Index]]:
        """Return how many rows the systems of each batch have, and which systems (of `counts`) it holds.

        Parameters
        ----------
        counts : (N,), observations of every system; those without any are left out.
        targets : right-hand sides of each.
        """
        padded = -(-counts // _BUCKET) * _BUCKET
        found: list[tuple[int, Index]] = []
        for size in np.unique(padded[padded > 0]).tolist():
            group = np.flatnonzero(padded == size)
            step = self.batch(size, targets)
            found.extend((size, group[start : start + step]) for start in range(0, len(group), step))
        return found


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is a GPU where there is one.

    Raises
    ------
    UsageError
        If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return _CPU
    if name.split(":")[0] == "cuda" and torch.cuda.is_available():
        return torch.device(name)
    found = "cpu, cuda" if torch.cuda.is_available() else "cpu alone"
    raise UsageError(f"there is no device {name!r} here ({found}); use device='auto' for the best there is")
