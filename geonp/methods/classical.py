"""The classical interpolators: nearest, linear, cubic, inverse distances, radial basis functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CloughTocher2DInterpolator, LinearNDInterpolator
from scipy.spatial import Delaunay, QhullError, cKDTree

from geonp import parallel
from geonp.errors import UsageError
from geonp.methods.rbf import interpolate_cubic
from geonp.methods.restraint import restrained
from geonp.methods.scattered import Array, Estimate, Scattered, Scene

_SEAM = 16


@dataclass(frozen=True, kw_only=True)
class Nearest(Scattered):
    """Every pixel takes the value of the nearest observation, as scipy's distance transform finds it.

    Gives up: everything between observations (the result is a mosaic of flat cells, discontinuous at their
    borders), and any uncertainty. Gains: no value that was not observed, and speed. Of equally near
    observations the one in the lower row, then column, is taken.
    """

    name: ClassVar[str] = "nearest"
    bytes_a_pixel: ClassVar[int] = 60

    def interpolate(self, scene: Scene) -> Estimate:
        """Return NaN: the nearest observation is what stands in for it."""
        return _unreached(scene)


@dataclass(frozen=True, kw_only=True)
class Linear(Scattered):
    """Planes over the triangles of a Delaunay triangulation (scipy's `LinearNDInterpolator`).

    Gives up: slopes that are continuous, everything above or below the observations around a pixel (summits
    are cut, valleys filled), any uncertainty, and extrapolation: outside the convex hull of the observations
    the nearest one is taken.
    """

    name: ClassVar[str] = "linear"
    rim: ClassVar[int | None] = 2

    @property
    def feather(self) -> int:
        """Pixels of blending: windows see different triangles where a gap is wider than the reach."""
        return _SEAM

    def interpolate(self, scene: Scene) -> Estimate:
        """Interpolate inside the convex hull; NaN outside."""
        mesh = _triangulate(scene)
        if mesh is None:
            return _unreached(scene)
        return Estimate(np.asarray(LinearNDInterpolator(mesh, scene.values)(scene.targets)))


@dataclass(frozen=True, kw_only=True)
class Cubic(Scattered):
    """A smooth piecewise cubic over a Delaunay triangulation (scipy's `CloughTocher2DInterpolator`).

    Slopes at the observations are those of least curvature. Gives up: any uncertainty, and extrapolation:
    outside the convex hull of the observations the nearest one is taken. It can overshoot beside steps, by twice
    the range of the observations around at most: in long triangles the slope across is a guess.

    References
    ----------
    Alfeld (1984), A trivariate Clough-Tocher scheme for tetrahedral data; Nielson (1983), A method for
    interpolating scattered data based upon a minimum norm network (the slopes).
    """

    name: ClassVar[str] = "cubic"
    rim: ClassVar[int | None] = 8

    @property
    def feather(self) -> int:
        """Pixels of blending: windows see different triangles where a gap is wider than the reach."""
        return _SEAM

    def interpolate(self, scene: Scene) -> Estimate:
        """Interpolate inside the convex hull; NaN outside."""
        mesh = _triangulate(scene)
        if mesh is None:
            return _unreached(scene)
        # The search for the slopes ends at an absolute tolerance, which must not depend on the field's unit.
        centre, scale = scene.values.mean(0), scene.values.std(0)
        scale = np.where(scale > 0, scale, 1.0)
        smooth = CloughTocher2DInterpolator(mesh, (scene.values - centre) / scale)
        mean = np.asarray(smooth(scene.targets)) * scale + centre
        triangle = mesh.find_simplex(scene.targets)
        inside = triangle >= 0
        low, high = (bound[triangle[inside]] for bound in range_around(mesh, scene.values))
        mean[inside] = restrained(mean[inside], low, high)
        return Estimate(mean)


@dataclass(frozen=True, kw_only=True)
class Idw(Scattered):
    """The mean of the nearest observations, weighted by distance to the power -`power` (Shepard 1968).

    Gives up: slopes (the surface is flat at every observation: bull's eyes), any knowledge of how
    observations cluster, values outside the range of its neighbours, and any uncertainty. Gains: never
    overshoots.

    Parameters
    ----------
    neighbours : how many of the nearest observations within reach are averaged.
    power : how fast a neighbour's weight falls with distance.

    References
    ----------
    Shepard (1968), A two-dimensional interpolation function for irregularly-spaced data.
    """

    neighbours: int = 12
    power: float = 2.0

    name: ClassVar[str] = "idw"
    bytes_a_pixel: ClassVar[int] = 400

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise UsageError(
                f"inverse distances of {self.neighbours} neighbours cannot be averaged; give at least 1"
            )
        if not self.power > 0:
            raise UsageError(
                f"a power of {self.power} gives no weight to nearness; give one above 0 (2 is usual)"
            )

    def interpolate(self, scene: Scene) -> Estimate:
        """Average the neighbours within reach; NaN where there are none."""
        count = min(self.neighbours, len(scene.points))
        ranks = np.arange(1, count + 1)
        distance, index = parallel.nearest(cKDTree(scene.points), scene.nudged, ranks, scene.reach)
        absent = np.isinf(distance)
        # Relative to the nearest, so that no power of a distance overflows.
        weight = np.where(absent, 0, (distance[:, :1] / np.where(absent, 1, distance)) ** self.power)
        values = scene.values[np.where(absent, 0, index)]
        total = weight.sum(1)
        mean = np.einsum("mk,mkb->mb", weight, values)
        return Estimate(
            np.divide(mean, total[:, None], out=np.full(mean.shape, np.nan), where=~absent[:, :1])
        )


@dataclass(frozen=True, kw_only=True)
class Rbf(Scattered):
    """The smoothest surface through the nearest observations: cubic radial basis functions and a plane.

    It is what scipy's `RBFInterpolator(kernel="cubic", neighbors=...)` computes, in half to two thirds of
    its time, and works for observations in one line too. Gives up: any uncertainty; continuity, strictly, as
    the neighbours change from pixel to pixel; restraint in wide gaps and outside the observations, where it
    extrapolates steeply. It stops twice the range of a pixel's neighbours beyond them, where scipy's goes on.

    Parameters
    ----------
    neighbours : how many of the nearest observations make the surface of a pixel.
    """

    neighbours: int = 32

    name: ClassVar[str] = "rbf"
    bytes_a_pixel: ClassVar[int] = 600

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 3:
            raise UsageError(f"a plane needs 3 neighbours at least, got {self.neighbours}; 32 is usual")

    @property
    def feather(self) -> int:
        """Pixels of blending: windows see different neighbours where they are farther than the reach."""
        return _SEAM

    def interpolate(self, scene: Scene) -> Estimate:
        """Solve the system of every target's neighbours; NaN where there are fewer than three."""
        if len(scene.points) < 3:
            return _unreached(scene)
        return Estimate(interpolate_cubic(scene.points, scene.values, scene.nudged, self.neighbours))


def _unreached(scene: Scene) -> Estimate:
    return Estimate(np.full((len(scene.targets), len(scene.bands)), np.nan))


def _triangulate(scene: Scene) -> Delaunay | None:
    """Return the triangulation of the points; None of fewer than three, and of points in one line."""
    if len(scene.points) < 3 or _in_line(scene.points):
        return None
    try:
        mesh = Delaunay(scene.points)
    except QhullError:
        return None
    # What scipy would compute on first use, one LAPACK call a triangle: up to a thousand times slower where
    # threads are contended.
    mesh._transform = barycentric_transform(mesh.points, mesh.simplices)
    return mesh


def range_around(mesh: Delaunay, values: Array) -> tuple[Array, Array]:
    """Return for every triangle the least and the greatest of the values (n, bands) at its corners and at the corners
    of all triangles that share one, each (triangles, bands).
    """
    corners = mesh.simplices
    low, high = values.copy(), values.copy()
    np.minimum.at(low, corners, values[corners].min(1, keepdims=True))
    np.maximum.at(high, corners, values[corners].max(1, keepdims=True))
    return low[corners].min(1), high[corners].max(1)


def barycentric_transform(points: Array, triangles: NDArray[np.int32]) -> Array:
    """Return every triangle's affine map to barycentric coordinates: what scipy's `Delaunay.transform` is.

    Returns
    -------
    (triangles, 3, 2): the inverse of the matrix whose columns are the first two corners relative to the
    third, and the third corner. NaN where a triangle has no area.
    """
    corner = points[triangles]
    (a, c), (b, d) = np.moveaxis(corner[:, :2] - corner[:, 2:], 0, -1)
    area = a * d - b * c
    size = np.maximum(a * a + c * c, b * b + d * d)
    area = np.where(np.abs(area) > 1000 * np.finfo(float).eps * size, area, np.nan)
    inverse = np.stack([d, -b, -c, a], -1) / area[:, None]
    return np.concatenate([inverse.reshape(-1, 2, 2), corner[:, 2:]], 1)


def _in_line(points: Array) -> bool:
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return bool(spread[1] <= 1e-9 * spread[0])
