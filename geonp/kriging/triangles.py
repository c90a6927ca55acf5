"""Small covariance matrices of many sets of observations, each pair kept once: half the work of every pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geonp.kriging.conditioning import Array, Index

_NOWHERE = 1e15


@dataclass(frozen=True, slots=True)
class Triangles:
    """Some sets of k observations, the lower triangles of their matrices packed row by row.

    Parameters
    ----------
    squares : (3 or 1, n k (k + 1) / 2) products of coordinate differences.
    data : (n, k, 1 + P) values and trend.
    errors : (n, k) error variances, or None.
    full : (n k k,) where each element of the matrices stands in what is packed.
    lower, upper : (n k (k + 1) / 2,) where each packed element, and its mirror image, stand in the matrices.
    """

    squares: Array
    data: Array
    errors: Array | None
    full: Index
    lower: Index
    upper: Index

    @classmethod
    def of(
        cls,
        points: Array,
        values: Array,
        trend: Array,
        errors: Array | None,
        sets: Index,
        places: tuple[Index, Index, Index],
    ) -> Triangles:
        """Return the block of some sets, whose elements stand where `places` says."""
        missing, (n, k) = sets < 0, sets.shape
        local = points[sets]
        # A missing neighbour lies nowhere: correlated with nothing, it says nothing.
        local = local + np.where(missing, _NOWHERE * (1.0 + np.arange(k)), 0.0)[..., None]
        row, col = np.tril_indices(k)
        difference = local[:, row] - local[:, col]
        if points.shape[1] == 2:
            dy, dx = difference[..., 0], difference[..., 1]
            squares = np.stack([dx * dx, 2 * dx * dy, dy * dy])
        else:
            squares = (difference**2).sum(-1)[None]
        data = np.concatenate([values[sets][..., None], trend[sets]], -1) * ~missing[..., None]
        noise = None if errors is None else errors[sets] * ~missing
        full, lower, upper = places
        return cls(
            squares.reshape(len(squares), -1),
            data,
            noise,
            full[: n * k * k],
            lower[: n * len(row)],
            upper[: n * len(row)],
        )

    def matrix(self, packed: Array) -> Array:
        """Return symmetric matrices (n, k, k)."""
        return packed.take(self.full).reshape(*self.data.shape[:2], -1)

    def adjoint(self, left: Array, right: Array) -> Array:
        """Return left right' + right left', packed, of vectors (n, k)."""
        outer = (left[:, :, None] * right[:, None, :]).reshape(-1)
        return np.asarray(outer.take(self.lower) + outer.take(self.upper))


def spread(n: int, k: int) -> tuple[Index, Index, Index]:
    """Return the indices `full`, `lower` and `upper` of a block of n matrices."""
    row, col = np.tril_indices(k)
    place = np.zeros((k, k), np.int64)
    place[row, col] = place[col, row] = np.arange(len(row))
    each = np.arange(n)[:, None]
    full = each * len(row) + place.ravel()
    lower, upper = each * k * k + row * k + col, each * k * k + col * k + row
    return full.ravel(), lower.ravel(), upper.ravel()
