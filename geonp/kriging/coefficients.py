"""How well the coefficients of covariates are known, while sites are added to a survey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geonp.kriging.linalg import cholesky, solve
from geonp.kriging.system import System
from geonp.kriging.trend import drift_columns

if TYPE_CHECKING:
    from geonp.kriging.update import Surveyed

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_MOST_TOLD = 1024


class Coefficients:
    """What is not known of the coefficients of covariates, from all that is observed, near or far.

    Estimated from a tile's own observations they would be as unsure as those leave them, far too much where they are
    few. Of a large survey 1024 pixels drawn at random stand for all, and sites are added to them.

    Parameters
    ----------
    surveyed : what is observed.
    drift : (q, rows, columns), the covariates.
    """

    def __init__(self, surveyed: Surveyed, drift: NDArray[np.float32]) -> None:
        self.surveyed, self.drift = surveyed, drift
        places = np.stack([surveyed.rows, surveyed.cols], 1)
        self._first = surveyed.observed.copy()
        self._some = np.random.default_rng(0).permutation(places)[:_MOST_TOLD]
        values = drift[:, surveyed.rows, surveyed.cols].astype(np.float64)
        spread = values.std(1)
        self._centre, self._spread = values.mean(1), np.where(spread > 0, spread, 1.0)
        self._kept: tuple[bytes, Array] | None = None

    def at(self, places: Index) -> Array:
        """Return the covariates (N, q), centred and scaled, at pixels (N, 2); beyond the raster, those at its edge."""
        rows, cols = (
            np.clip(at, 0, most - 1) for at, most in zip(places.T, self.drift.shape[1:], strict=True)
        )
        return np.asarray((self.drift[:, rows, cols].T - self._centre) / self._spread)

    def root(self) -> Array:
        """Return C (q, q); the variance of the coefficients, given what is observed at present, is C C'."""
        added = np.argwhere(self.surveyed.observed & ~self._first)
        key, kept = added.tobytes(), self._kept
        if kept is None or kept[0] != key:
            kept = self._kept = key, self._root(np.concatenate([self._some, added]))
        return kept[1]

    def _root(self, known: Index) -> Array:
        x = self.at(known)
        offsets = known / max(self.drift.shape[1:]) - 0.5
        columns = drift_columns(self.surveyed.solver.kind, offsets, x)
        nothing = np.zeros((1, len(known)))
        system = System.factorise(self.surveyed.covariances(known)[None], nothing, columns[None])
        variance = solve(system.gram, np.eye(columns.shape[1])[None])[:, -x.shape[1] :, -x.shape[1] :]
        return np.asarray(cholesky(variance)[0])
