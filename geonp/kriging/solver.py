"""How kriging systems are solved: the covariance, the trend, the precision, the device, the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geonp.kriging.arrays import PROCESSOR, Device
from geonp.kriging.covariance import Covariance
from geonp.kriging.system import batch_size
from geonp.kriging.threads import available
from geonp.kriging.trend import Kind

Index = NDArray[np.int64]

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
    dtype: Literal["float64", "float32"] = "float64"
    device: Device = PROCESSOR
    memory: int = 1 << 30

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return np.dtype(self.dtype).itemsize

    @property
    def workers(self) -> int:
        """Batches that are solved at a time."""
        return available() if self.device.processor else 1

    @property
    def working_memory(self) -> int:
        """Bytes that all batches solved at a time may take."""
        return min(self.memory, _CACHE * self.workers) if self.device.processor else self.memory

    def batch(self, observations: int, targets: int) -> int:
        """Return how many systems of this size are solved together."""
        return batch_size(observations, targets, self.itemsize, self.working_memory // self.workers)

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
