"""Some factors of a Vecchia likelihood: what is told of each last observation, and the derivatives.

The equations are those of `geonp.kriging.likelihood`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geonp.kriging.conditioning import Array
from geonp.kriging.correlation import correlation
from geonp.kriging.linalg import diagonals
from geonp.kriging.triangles import Triangles


@dataclass(frozen=True, slots=True)
class Parameters:
    """A point in the space that is searched.

    Parameters
    ----------
    families : one a structure.
    ranges : (S,) geometric means of the ranges along and across.
    weights : (S,) sills relative to the first structure's.
    nugget : relative to the first structure's sill.
    bend : (2,) anisotropy: -log(ratio) times (cos 2 phi, sin 2 phi), phi the direction of the minor axis.
    sill : of the first structure; profiled out where the observations have no error variances of their own.
    shapes : nu or exponent of each structure whose family has one (0 of the others); empty where none has.
    """

    families: tuple[str, ...]
    ranges: Array
    weights: Array
    nugget: float
    bend: Array
    sill: float = 1.0
    shapes: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """The last of k observations told from the others (simple kriging), in B sets.

    Parameters
    ----------
    deviation : (B,), square root of what remains unknown.
    error : (B, 1 + P), of values and trend: the last one less what is told.
    filter : (B, k), its product with the observations is the error.
    solved : (B, k - 1, 1 + P), K_nn^-1 times the others' values and trend; None where no gradient is wanted.
    """

    deviation: Array
    error: Array
    filter: Array
    solved: Array | None

    @classmethod
    def of(cls, matrix: Array, data: Array, gradient: bool) -> Prediction | None:
        """Return what covariances (B, k, k) make of data (B, k, 1 + P); None where nothing positive is left."""
        others, cross = matrix[:, :-1, :-1], matrix[:, :-1, -1:]
        right = np.concatenate([cross, data[:, :-1]], -1) if gradient else cross
        try:
            solved = np.linalg.solve(others, right)
        except np.linalg.LinAlgError:
            return None
        variance = matrix[:, -1, -1] - (cross * solved[..., :1]).sum((1, 2))
        if not (variance > 0).all():
            return None
        filter_ = np.concatenate([-solved[..., 0], np.ones((len(matrix), 1))], 1)
        error = (filter_[:, None] @ data)[:, 0]
        return cls(np.sqrt(variance), error, filter_, solved[..., 1:] if gradient else None)


@dataclass(frozen=True, slots=True)
class Terms:
    """A block of sets at one point of the search.

    Parameters
    ----------
    block : the sets.
    at : the parameters.
    form : quadratic form of the squared distance.
    parts : correlations of each structure, and their slopes.
    prediction : the last observation of each set, told from the others.
    """

    block: Triangles
    at: Parameters
    form: Array
    parts: list[tuple[Array, Array]]
    prediction: Prediction

    @classmethod
    def of(cls, block: Triangles, at: Parameters, form: Array, gradient: bool) -> Terms | None:
        """Return the terms of a block of sets; None where a covariance matrix could not be solved."""
        shapes = at.shapes or (0.0,) * len(at.families)
        parts = [
            correlation(f, shape, form / r**2, block.squares, gradient)
            for f, shape, r in zip(at.families, shapes, at.ranges, strict=True)
        ]
        kernel = parts[0][0]
        for (rho, _), weight in zip(parts[1:], at.weights[1:], strict=True):
            kernel = kernel + weight * rho
        matrix = block.matrix(kernel)
        diagonal = diagonals(matrix)
        diagonal += at.nugget
        if block.errors is not None:
            diagonal += block.errors / at.sill
        prediction = Prediction.of(matrix, block.data, gradient)
        return None if prediction is None else cls(block, at, form, parts, prediction)

    def gradient(self, slopes: Array, by_variance: Array, by_error: Array, beta: Array) -> Array:
        """Return what the terms add to the gradient, in the order of `geonp.kriging.likelihood.Evaluation`.

        Parameters
        ----------
        slopes : derivatives of the quadratic form by the bends.
        by_variance, by_error : (n,), derivatives of the value by what remains unknown of each set, and by its error.
        beta : (P,), coefficients of the trend.
        """
        at, block, solved = self.at, self.block, self.prediction.solved
        assert solved is not None
        count = len(at.families)
        out = np.zeros(2 * count + 4)
        # With g the prediction-error filter and h = (K_nn^-1 y_n, 0): d(s^2) = g' dK g, dr = -h' dK g.
        g, h = self.prediction.filter, solved @ np.concatenate([[1.0], -beta])
        left = by_variance[:, None] * g
        left[:, :-1] -= by_error[:, None] * h
        adjoint, own = block.adjoint(left, g), left * g
        total = float(own.sum())
        for i, (rho, slope) in enumerate(self.parts):
            pull = block.squares @ (slope * adjoint) * (at.weights[i] / at.ranges[i] ** 2)
            out[i] = -2 * float(pull @ self.form)
            # The diagonal, where the correlation is one, is in the adjoint twice.
            out[count + i] = at.weights[i] * (float(rho @ adjoint) - total)
            out[2 * count + 1 : -1] += slopes @ pull
        out[2 * count] = at.nugget * total
        if block.errors is not None:
            out[-1] = -float((own * block.errors).sum()) / at.sill
        return out
