"""Would another correlation of the errors than kriging's be better? Ranges and shares, on rasters set aside.

    python docs/scripts/coherence_latent.py DATA

Realisations of the bundled method are its mean plus its deviation times a standardised field: kriging's errors. Here
that field's correlation is exchanged: for that of kriging with a longer or a shorter range, and for one of which a
share is independent from pixel to pixel. All of them leave mean and variance as they are and honour the observations.
What block means vary by then is computed by plain linear algebra, and scored by the logarithm of the density (normal)
that the true block means have.
"""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import scipy.linalg
import torch
import xarray as xr
from coherence import SPACING, Case, crops
from numpy.typing import NDArray

from geonp.errors import GeonpWarning
from geonp.field import as_field, spacing
from geonp.kriging.covariance import Covariance
from geonp.methods.base import Place
from geonp.methods.flagship import Flagship

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCKS = (4, 8, 16)
RANGES = (1.0, 2.0, 0.5, 0.25, 0.125)
SHARES = (0.05, 0.1, 0.15)
_NINETY = 1.6449


@dataclass(frozen=True)
class KrigingErrors:
    """The covariance of ordinary kriging's errors at M pixels: C - W'W + d d' + nugget.

    Parameters
    ----------
    covariance : of the field.
    places : (M, 2) coordinates.
    weights : (n, M), W.
    missing : (M,), d, what is added since the mean is estimated.
    """

    covariance: Covariance
    places: torch.Tensor
    weights: Array
    missing: Array

    @classmethod
    def of(cls, covariance: Covariance, observed: Mask, scored: Mask) -> Self:
        """Solve for the pixels that are scored."""
        known, wanted = (
            torch.from_numpy(np.argwhere(mask) * [-SPACING, SPACING]) for mask in (observed, scored)
        )
        own = covariance(known, known).numpy()
        own[np.diag_indices(len(own))] += covariance.nugget + 1e-10 * covariance.sill
        lower = np.linalg.cholesky(own)
        told = np.concatenate([covariance(known, wanted).numpy(), np.ones((len(known), 1))], 1)
        solved = scipy.linalg.solve_triangular(lower, told, lower=True)
        weights, ones = solved[:, :-1], solved[:, -1]
        return cls(covariance, wanted, weights, (1 - ones @ weights) / math.sqrt(ones @ ones))

    @property
    def variances(self) -> Array:
        """Variances (M,) of the observable."""
        c = self.covariance
        return np.asarray(c.sill - (self.weights**2).sum(0) + self.missing**2 + c.nugget)

    def of_sum(self, pixels: NDArray[np.int64], factors: Array) -> float:
        """Return the variance of the sum of the errors of some pixels times `factors`."""
        here = self.places[torch.from_numpy(pixels)]
        latent = factors @ self.covariance(here, here).numpy() @ factors
        heard = self.weights[:, pixels] @ factors
        nugget = self.covariance.nugget * (factors @ factors)
        return float(latent - heard @ heard + (self.missing[pixels] @ factors) ** 2 + nugget)


def members(scored: Mask, side: int) -> list[NDArray[np.int64]]:
    """Return which of the scored pixels make up each block; blocks with less than a quarter are left out."""
    rows, cols = np.nonzero(scored)
    label = rows // side * scored.shape[1] + cols // side
    every = [np.flatnonzero(label == one) for one in np.unique(label)]
    return [one for one in every if len(one) >= side * side / 4]


def examined(case: Case) -> dict[tuple[int, str], Array]:
    """Return, of every block size and correlation, mean squared standardised error, coverage and log score."""
    rows, cols = case.values.shape
    coords = {"y": SPACING * np.arange(rows)[::-1], "x": SPACING * np.arange(cols)}
    survey = np.where(case.observed, case.values, np.nan).astype(np.float32)
    field = as_field(xr.DataArray(survey, coords, dims=("y", "x")))
    method = Flagship(insist=True).prepare(field)
    done = method.complete(field.values, spacing(field), Place.whole((rows, cols)))
    assert done.variance is not None
    error = (case.values - done.mean[0])[case.scored]
    deviation = np.sqrt(done.variance[0].astype(np.float64))[case.scored]
    covariance = method.groups[0].krigings[0].solver.covariance
    blocks = {side: members(case.scored, side) for side in BLOCKS}
    found: dict[tuple[int, str], Array] = {}
    for factor in RANGES:
        other = tuple(replace(s, range=s.range * factor) for s in covariance.structures)
        kriged = KrigingErrors.of(Covariance(other, covariance.nugget), case.observed, case.scored)
        unit = deviation / np.sqrt(kriged.variances)
        for side, every in blocks.items():
            off = np.array([error[one].sum() for one in every])
            variance = np.array([kriged.of_sum(one, unit[one]) for one in every])
            found[side, f"range x {factor:g}"] = scores(off, variance)
            if factor == 1:
                alone = np.array([(deviation[one] ** 2).sum() for one in every])
                for share in SHARES:
                    mixed = (1 - share) * variance + share * alone
                    found[side, f"{share:.0%} independent"] = scores(off, mixed)
    return found


def scores(off: Array, variance: Array) -> Array:
    """Return mean squared standardised error, 90 % coverage and minus the log density, up to a constant."""
    squared = off**2 / variance
    covered = np.abs(off) < _NINETY * np.sqrt(variance)
    return np.array([squared.mean(), covered.mean(), (squared + np.log(variance)).mean() / 2])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the training data")
    parser.add_argument("--count", type=int, default=112, help="crops")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", GeonpWarning)
    sets: dict[str, list[dict[tuple[int, str], Array]]] = {"random": [], "gaps": []}
    for case in crops(chosen.data, chosen.count):
        sets["gaps" if case.group == "gaps" else "random"].append(examined(case))
    print("| crops | blocks | correlation | std. RMSE | 90 % | log score against kriging's |")
    print("|---|---:|---|---:|---:|---:|")
    for group, found in sets.items():
        for side, name in sorted(found[0], key=lambda key: key[0]):
            told = np.array([one[side, name] for one in found])
            gain = told[:, 2] - [one[side, "range x 1"][2] for one in found]
            print(
                f"| {group} ({len(found)}) | {side} x {side} | {name} | {np.sqrt(told[:, 0].mean()):.3f} | "
                f"{told[:, 1].mean():.3f} | {gain.mean():+.4f} ± {gain.std() / math.sqrt(len(gain)):.4f} |"
            )


if __name__ == "__main__":
    main()
