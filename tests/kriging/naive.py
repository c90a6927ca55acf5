"""Kriging as the textbooks write it: one augmented system with Lagrange multipliers, solved by elimination."""

import numpy as np


def naive_kriging(covariance, coords, values, noise, targets, drift=None, target_drift=None):
    """Return mean and variance (latent) for a covariance function of two point sets; drift None is simple, mean 0."""
    n = len(values)
    drift = np.zeros((n, 0)) if drift is None else drift
    target_drift = np.zeros((len(targets), 0)) if target_drift is None else target_drift
    p = drift.shape[1]
    left = np.zeros((n + p, n + p))
    left[:n, :n] = covariance(coords, coords) + np.diag(noise)
    left[:n, n:] = drift
    left[n:, :n] = drift.T
    right = np.concatenate([covariance(coords, targets), target_drift.T])
    solution = np.linalg.solve(left, right)
    sill = np.array([covariance(t[None], t[None])[0, 0] for t in targets])
    return solution[:n].T @ values, sill - (solution * right).sum(0)


def exponential(sill, length):
    def covariance(a, b):
        return sill * np.exp(-np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)) / length)

    return covariance


def matern32(sill, length):
    def covariance(a, b):
        h = np.sqrt(3 * ((a[:, None] - b[None]) ** 2).sum(-1)) / length
        return sill * (1 + h) * np.exp(-h)

    return covariance
