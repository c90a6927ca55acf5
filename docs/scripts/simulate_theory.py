"""Realisations against theory: mean, variance and variogram of 500 of them, in units of their Monte Carlo error.

Run `python docs/scripts/simulate_theory.py`. A twentieth of a window of the DEM that matplotlib ships is observed; what
kriging says of all pixels together (means, and the covariance of errors between any two) is computed by plain linear
algebra, and compared with what the realisations of `geonp.simulation` show.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import torch
import xarray as xr
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray

from geonp.errors import GeonpWarning
from geonp.kriging import Covariance, Structure
from geonp.methods.kriging import Kriging
from geonp.simulation import begin

Array = NDArray[np.float64]

SHAPE, SHARE = (40, 44), 0.05
COVARIANCE = Covariance((Structure("matern32", 4000.0, 10.0, angle=30, ratio=0.6),), 25.0)
LAGS = ((0, 1), (1, 0), (0, 4), (4, 0), (3, -3), (0, 10), (10, 0))


def theory(survey: NDArray[np.float32]) -> tuple[Array, Array]:
    """Return mean (N,) and covariance (N, N) of the observable by ordinary kriging; observed pixels are known."""
    rows, cols = (a.ravel() for a in np.indices(survey.shape))
    places = torch.from_numpy(np.stack([-rows, cols], 1).astype(np.float64))
    c, known = COVARIANCE(places, places).numpy(), np.isfinite(survey).ravel()
    n = int(known.sum())
    a = np.ones((n + 1, n + 1))
    a[:n, :n] = c[np.ix_(known, known)] + COVARIANCE.nugget * np.eye(n)
    a[n, n] = 0
    b = np.vstack([c[known], np.ones(len(c))])
    weights = np.linalg.solve(a, b)
    mean = weights[:n].T @ survey.ravel()[known].astype(np.float64)
    errors = c - b.T @ weights + COVARIANCE.nugget * np.eye(len(c))
    errors[known], errors[:, known] = 0, 0
    return np.where(known, survey.ravel(), mean), errors


def main() -> None:
    """Draw, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=500, help="realisations")
    n = parser.parse_args().n
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", GeonpWarning)
    truth = get_sample_data("jacksboro_fault_dem.npz")["elevation"][90 : 90 + SHAPE[0], 180 : 180 + SHAPE[1]]
    seen = np.random.default_rng(4).random(SHAPE) < SHARE
    survey = np.where(seen, truth, np.nan).astype(np.float32)
    field = xr.DataArray(survey[None], dims=("band", "y", "x"))
    for name, memory in (("circulant embedding", 1 << 30), ("waves", 1 << 16)):
        drawn = np.empty((n, *SHAPE))
        ready = begin(field, Kriging(covariance=COVARIANCE), n, seed=1, memory=memory)
        assert ready.describe()["fields_1"] == name
        for piece in ready:
            drawn[piece.first : piece.first + len(piece.values)] = piece.values[:, 0]
        report(name, drawn, seen, *theory(survey))


def report(name: str, drawn: Array, seen: NDArray[np.bool_], mean: Array, errors: Array) -> None:
    """Print how far realisations (n, rows, columns) are from theory, in Monte Carlo errors."""
    n, free = len(drawn), ~seen.ravel()
    flat, variance = drawn.reshape(n, -1), errors.diagonal()
    off = (flat.mean(0) - mean)[free] / np.sqrt(variance[free] / n)
    ratio = flat.var(0, ddof=1)[free] / variance[free]
    wide = (ratio - 1) / np.sqrt(2 / (n - 1))
    print(f"{name}: observations honoured {bool((flat[:, ~free] == flat[0, ~free]).all())}")
    print(f"  mean: rms {np.sqrt((off**2).mean()):.2f}, largest {abs(off).max():.1f} of {free.sum()} pixels")
    print(
        f"  variance: ratio {ratio.mean():.4f}; rms {np.sqrt((wide**2).mean()):.2f}, largest {abs(wide).max():.1f}"
    )
    index = np.arange(mean.size).reshape(seen.shape)
    for down, across in LAGS:
        rows = slice(0, seen.shape[0] - down)
        here = index[rows, max(-across, 0) : seen.shape[1] - max(across, 0)].ravel()
        there = here + down * seen.shape[1] + across
        each = ((flat[:, here] - flat[:, there]) ** 2 / 2).mean(1)
        spread = variance[here] + variance[there] - 2 * errors[here, there]
        expected = ((spread + (mean[here] - mean[there]) ** 2) / 2).mean()
        score = (each.mean() - expected) / (each.std(ddof=1) / np.sqrt(n))
        print(f"  variogram at ({down}, {across}): {each.mean():.1f}, theory {expected:.1f}: {score:+.1f}")


if __name__ == "__main__":
    main()
