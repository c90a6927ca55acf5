"""Ordinary kriging's errors at all pixels of a small raster, by plain linear algebra."""

from __future__ import annotations

import numpy as np

from geonp.kriging.covariance import Covariance


def errors(
    seen: np.ndarray, values: np.ndarray, step: tuple[float, float], covariance: Covariance
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (N,) and covariance (N, N) of the latent field given the observations and a flat prior on its mean."""
    every = np.stack(np.meshgrid(*(np.arange(n) for n in seen.shape), indexing="ij"), -1).reshape(-1, 2)
    places = every * np.array(step)
    c = covariance(places, places)
    own = seen.ravel()
    n = int(own.sum())
    a = np.ones((n + 1, n + 1))
    a[:n, :n] = c[np.ix_(own, own)] + covariance.nugget * np.eye(n)
    a[n, n] = 0
    b = np.vstack([c[own], np.ones(len(c))])
    weights = np.linalg.solve(a, b)
    return weights[:n].T @ values.ravel()[own].astype(float), c - b.T @ weights
