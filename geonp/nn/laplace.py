"""The uncertainty of a network's last layer: Bayesian linear regression on what it reads.

With a normal likelihood the loss is quadratic in the last layer's weights, so that their Laplace approximation
(Daxberger et al. 2021, "Laplace redux", section 2) is their exact posterior.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_MOST_ROUNDS = 100
_LEAST, _MOST = 1e-8, 1e8
"""Bounds of both precisions, in units of the values' variance."""


class LastLayer(NamedTuple):
    """The posterior of weights w with prior Normal(0, 1 / alpha) and noise of variance 1 / beta.

    With features Phi (N, D) and values y (N,), covariance S = (alpha I + beta Phi^T Phi)^-1 and mean
    beta S Phi^T y (Bishop 2006, eq. 3.53-3.54); kept in the eigenvectors U of Phi^T Phi.

    Parameters
    ----------
    axes : U, (D, D).
    mean : U^T times the posterior mean, (D,).
    spread : eigenvalues of S, (D,).
    alpha, beta : precisions of the weights and of the noise.
    """

    axes: Tensor
    mean: Tensor
    spread: Tensor
    alpha: float
    beta: float

    @classmethod
    def posterior(cls, features: Tensor, values: Tensor, alpha: float, beta: float) -> LastLayer:
        """Return the posterior at given precisions; double precision throughout."""
        phi, y = features.double(), values.double()
        curvature, axes = torch.linalg.eigh(phi.T @ phi)
        spread = 1 / (alpha + beta * curvature.clamp_min(0))
        return cls(axes, beta * spread * (axes.T @ (phi.T @ y)), spread, alpha, beta)

    @classmethod
    def fit(cls, features: Tensor, values: Tensor) -> LastLayer:
        """Return the posterior at the precisions of largest evidence.

        Fixed-point rounds of MacKay (1992), "Bayesian interpolation" (Bishop 2006, eq. 3.91-3.95): with
        gamma = sum_i beta lambda_i / (alpha + beta lambda_i), alpha = gamma / |m|^2 and
        beta = (N - gamma) / |y - Phi m|^2.
        """
        phi, y = features.double(), values.double()
        curvature, axes = torch.linalg.eigh(phi.T @ phi)
        curvature = curvature.clamp_min(0)
        onto, power = axes.T @ (phi.T @ y), float(y.square().sum())
        alpha, beta = 1.0, 1.0
        for _ in range(_MOST_ROUNDS):
            spread = 1 / (alpha + beta * curvature)
            mean = beta * spread * onto
            used = float((beta * curvature * spread).sum())
            missed = power - float((mean * (2 * onto - curvature * mean)).sum())
            before = alpha, beta
            alpha = _bounded(used, float(mean.square().sum()))
            beta = _bounded(len(y) - used, missed)
            if abs(alpha / before[0] - 1) + abs(beta / before[1] - 1) < 1e-4:
                break
        spread = 1 / (alpha + beta * curvature)
        return cls(axes, beta * spread * onto, spread, alpha, beta)

    def predict(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the surface, noise left out, (N,) each, for features (N, D)."""
        along = features.double() @ self.axes
        return along @ self.mean, along.square() @ self.spread


def _bounded(above: float, below: float) -> float:
    """Return a ratio of two numbers that rounding may have made zero or negative, within bounds."""
    return min(max(above / max(below, 1e-300), _LEAST), _MOST)
