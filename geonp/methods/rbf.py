"""Local interpolation by cubic radial basis functions, many small systems at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from geonp import parallel
from geonp.methods.restraint import restrained

Array = NDArray[np.float64]

# Weight of the plane's part in the augmented matrix. About 10 make it positive definite, in units of the
# neighbourhood's half width; more of it costs the Cholesky factor digits.
_PENALTY = 30.0
_CHUNK = 256
_FLAT = 1e-9


def interpolate_cubic(points: Array, values: Array, targets: Array, neighbours: int) -> Array:
    """Interpolate at each target from its nearest points with kernel r**3 and a plane.

    The surface is sum_i w_i |x - x_i|^3 + m' p(x), p = (1, y, x), with

        [ K  P ] [ w ]   [ v ]
        [ P' 0 ] [ m ] = [ 0 ],    K_ij = |x_i - x_j|^3, P = rows p(x_i)'.

    As K is positive definite where P'w = 0, K + c P P' is positive definite for a large c and has the same
    solution: one Cholesky factor and a 3 x 3 system. Targets with the same neighbours share them. Neighbours
    in one line leave the slope across it open; the least slope is taken.

    Parameters
    ----------
    points, values, targets : (n, 2), (n, bands), (m, 2).
    neighbours : how many of the nearest points; all of them where there are fewer.

    Returns
    -------
    (m, bands), NaN where rounding makes a system unsolvable. Within `LEEWAY` of the neighbours' values: neighbours
    almost in one line do not tell the slope across it, and a target far to the side would be thrown off by it.

    References
    ----------
    Wendland (2005), Scattered data approximation, ch. 8 (conditionally positive definite kernels).
    """
    count = min(neighbours, len(points))
    index = parallel.nearest(cKDTree(points), targets, np.arange(1, count + 1))[1]
    order, starts = _by_neighbourhood(index, len(points))
    out = np.empty((len(targets), values.shape[1]))

    def solve(first: int) -> None:
        stop = min(first + _CHUNK, len(starts) - 1)
        near = index[order[starts[first:stop]]]
        centre = points[near].mean(1)
        offset = points[near] - centre[:, None]
        radius = np.abs(offset).max((1, 2), keepdims=True)
        surface = _Surfaces.fit(torch.from_numpy(offset / radius), torch.from_numpy(values[near]))
        mine = order[starts[first] : starts[stop]]
        which = np.repeat(np.arange(stop - first), np.diff(starts[first : stop + 1]))
        place = (targets[mine] - centre[which]) / radius[which, 0]
        found = surface.at(torch.from_numpy(place), torch.from_numpy(which)).numpy()
        own = values[near]
        out[mine] = restrained(found, own.min(1)[which], own.max(1)[which])

    parallel.each(solve, range(0, len(starts) - 1, _CHUNK))
    return out


def _by_neighbourhood(index: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return an order of the targets that puts those with the same neighbours together, and where each such
    group starts (with the end appended).

    Sets of neighbours are told apart by the sum of a random 64-bit number for each point, which does not
    depend on the order; two of a million sets coincide with a chance of 1e-7.
    """
    number = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64)
    label = number[index].sum(1)
    order = np.argsort(label, kind="stable")
    ordered = label[order]
    new = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return order, np.append(new, len(order))


class _Surfaces:
    """Fitted surfaces of many neighbourhoods: kernel weights (m, k, bands) and planes (m, 3, bands)."""

    def __init__(self, points: Tensor, weights: Tensor, planes: Tensor) -> None:
        self.points, self.weights, self.planes = points, weights, planes

    @classmethod
    def fit(cls, points: Tensor, values: Tensor) -> _Surfaces:
        """Fit points (m, k, 2) about their centre, within a unit square, with values (m, k, bands)."""
        y, x = points.unbind(-1)
        kernel = _cubed((y[:, :, None] - y[:, None]).square_() + (x[:, :, None] - x[:, None]).square_())
        plane = _plane(points)
        kernel += _PENALTY * plane @ plane.mT
        factor, failed = torch.linalg.cholesky_ex(kernel)
        half = torch.linalg.solve_triangular(factor, torch.cat([plane, values], -1), upper=False)
        plane_half, value_half = half[..., :3], half[..., 3:]
        matrix = plane_half.mT @ plane_half
        # A system that rounding made unsolvable gets an answer like the others, which is then thrown away.
        unsolvable = (failed > 0) | ~matrix.isfinite().all(-1).all(-1)
        matrix[unsolvable] = torch.eye(3, dtype=points.dtype)
        planes, singular = _solve_planes(matrix, plane_half.mT @ value_half, _in_line(points))
        rest = value_half - plane_half @ planes
        weights = torch.linalg.solve_triangular(factor.mT, rest, upper=True)
        weights[unsolvable | singular] = torch.nan
        return cls(points, weights, planes)

    def at(self, targets: Tensor, which: Tensor) -> Tensor:
        """Evaluate surface `which` (n,) at each of the targets (n, 2)."""
        kernel = _cubed((targets[:, None] - self.points[which]).square_().sum(-1))
        curved = (kernel[:, None] @ self.weights[which])[:, 0]
        return curved + (_plane(targets)[:, None] @ self.planes[which])[:, 0]


def _cubed(square: Tensor) -> Tensor:
    cubed: Tensor = square.sqrt().mul_(square)
    return cubed


def _plane(points: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(points[..., :1]), points], -1)


def _in_line(points: Tensor) -> Tensor:
    """Return which centred neighbourhoods (m, k, 2) lie in one line: no area in their second moments."""
    moments = points.mT @ points
    area: Tensor = moments[:, 0, 0] * moments[:, 1, 1] - moments[:, 0, 1] ** 2
    flat: Tensor = area <= _FLAT * (moments[:, 0, 0] + moments[:, 1, 1]) ** 2
    return flat


def _solve_planes(matrix: Tensor, right: Tensor, in_line: Tensor) -> tuple[Tensor, Tensor]:
    """Solve the 3 x 3 systems, those of points in line by least squares of least norm; tell which are singular."""
    usable = torch.where(in_line[:, None, None], torch.eye(3, dtype=matrix.dtype), matrix)
    out, info = torch.linalg.solve_ex(usable, right)
    if in_line.any():
        out[in_line] = torch.linalg.pinv(matrix[in_line], rtol=_FLAT, hermitian=True) @ right[in_line]
    return out, info > 0
