"""Cross-validation of a kriging: leave-one-out residuals, and the figures usually made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfinv

from geonp.errors import InputError
from geonp.kriging.scattered import PointKriging

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Validation:
    """How predictions compare with what was observed.

    Parameters
    ----------
    residual : (N,), observed minus predicted.
    std : (N,), standard deviation of the prediction of an observation.
    """

    residual: Array
    std: Array

    def __post_init__(self) -> None:
        if self.residual.shape != self.std.shape or self.residual.ndim != 1 or not len(self.residual):
            raise InputError(
                f"residuals and deviations are (N,) each, N >= 1, got {self.residual.shape}, {self.std.shape}"
            )

    @property
    def standardised(self) -> Array:
        """Residuals over their standard deviations."""
        return self.residual / np.maximum(self.std, np.finfo(np.float64).tiny)

    @property
    def me(self) -> float:
        """Mean error, observed minus predicted; near 0 where there is no bias."""
        return float(self.residual.mean())

    @property
    def rmse(self) -> float:
        """Root mean square error."""
        return math.sqrt(float((self.residual**2).mean()))

    @property
    def standardised_rmse(self) -> float:
        """Root mean square of the standardised residuals; 1 where the deviations are right."""
        return math.sqrt(float((self.standardised**2).mean()))

    @property
    def crps(self) -> float:
        """Mean continuous ranked probability score, normal (Gneiting and Raftery 2007, eq. 21)."""
        z = self.standardised
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return float((self.std * (z * erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))).mean())

    def coverage(self, level: float = 0.9) -> float:
        """Return the share of observations inside their central normal interval of probability `level`."""
        half = math.sqrt(2) * float(erfinv(level))
        return float((np.abs(self.residual) <= half * self.std).mean())


def leave_one_out(kriging: PointKriging) -> Validation:
    """Predict every observation from the others, the trend estimated anew each time.

    The exact system gives this from its one factor (Dubrule 1983); otherwise every place is kriged from its
    neighbours.
    """
    residual, variance = kriging.leave_one_out()
    return Validation(residual, np.sqrt(variance))
