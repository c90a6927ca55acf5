"""Ordinary kriging by PyKrige."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geonp import parallel
from geonp.errors import MethodError, UsageError
from geonp.field import grid_shape, load, spacing, windows
from geonp.methods.scattered import Array, Estimate, Scattered, Scene

Model = Literal["linear", "power", "exponential", "spherical", "gaussian"]

_SEAM = 16
_SAMPLE = 1500
_READ = 2048
_TOGETHER = 500
# Square matrices of float64 that PyKrige 1.7 holds at once for n points: pairwise distances and semivariances
# (half a matrix each, and as much again while they are binned), the system and its inverse.
_MATRICES = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """What PyKrige's least squares found for a band: its model's parameters, and the sample's variance."""

    parameters: tuple[float, ...]
    variance: float


@dataclass(frozen=True, kw_only=True)
class PyKrige(Scattered):
    """Ordinary kriging with PyKrige's C backend, from the nearest observations, and its variance.

    The variogram is PyKrige's own automatic fit (soft L1 least squares on a few lag bins) to 1,500
    observations drawn at random. Gives up: a fit that can be trusted (lag bins as wide as a sixth of the
    raster say little of what happens between neighbours; compare the variance with a hold-out, or use the
    method `kriging`), anisotropy, and continuity, strictly, as the neighbours change from pixel to pixel. The
    variance is of the observable, nugget included, and 0 at observed pixels. Pixels are kriged in groups,
    with the observations that each group needs: the result is the same, memory and time are not.

    Parameters
    ----------
    neighbours : how many of the nearest observations weigh in; None for all of them, in one dense system.
    variogram : PyKrige's name of the model that is fitted.
    lags : number of lag bins of the fit.
    weight : whether short lags weigh more in the fit.
    memory : bytes that kriging from all observations may take; beyond, it is refused before it starts.
    seed : seed of the sample that the variogram is fitted to.
    fits : the fitted variograms, one a band; `prepare` makes them.
    """

    neighbours: int | None = 16
    variogram: Model = "exponential"
    lags: int = 6
    weight: bool = False
    memory: int = 4 * 1024**3
    seed: int = 0
    fits: tuple[Fit, ...] = field(default=(), repr=False)

    name: ClassVar[str] = "pykrige"
    has_variance: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours is not None and self.neighbours < 2:
            raise UsageError(
                f"PyKrige needs 2 neighbours at least, got {self.neighbours}; 16 is usual, None means all"
            )
        if self.variogram not in get_args(Model):
            raise UsageError(
                f"no variogram {self.variogram!r} in PyKrige; choose from {', '.join(get_args(Model))}"
            )
        if self.lags < 2:
            raise UsageError(f"{self.lags} lag bins cannot be fitted; give 2 at least (6 is usual)")

    @property
    def feather(self) -> int:
        """Pixels of blending: windows see different neighbours where they are farther than the reach."""
        return _SEAM

    def prepare(self, field: xr.DataArray) -> Self:
        """Return the method with a variogram for every band, and what `Scattered.prepare` adds.

        Raises
        ------
        UsageError
            If kriging from all observations would take more memory than allowed.
        """
        samples, counts = _sample(field, self.seed)
        if self.neighbours is None:
            self._check_memory(max(counts))
        dy, dx = spacing(field)
        fits = tuple(self._fit(rows * dy, cols * dx, values) for rows, cols, values in samples)
        return replace(super().prepare(field), fits=fits)

    def prior_variance(self, band: int) -> float:
        """Return the variance of the observations of `band`."""
        return self.fits[band].variance if self.fits else float("nan")

    def describe(self) -> dict[str, str]:
        """Return the parameters, and the fitted variogram of every band (see PyKrige for their order)."""
        fits = "; ".join(" ".join(f"{p:.6g}" for p in fit.parameters) for fit in self.fits)
        return {**super().describe(), "variogram_parameters": fits}

    def interpolate(self, scene: Scene) -> Estimate:
        """Krige the targets; NaN where there are fewer than two observations."""
        shape = len(scene.targets), len(scene.bands)
        mean, variance = np.full(shape, np.nan), np.full(shape, np.nan)
        if len(scene.points) < 2:
            return Estimate(mean, variance)
        if self.neighbours is None:
            self._check_memory(len(scene.points))
        points, targets = scene.points * scene.width, scene.nudged * scene.width
        groups = list(_groups(scene, self.neighbours))
        for column, band in enumerate(scene.bands):
            values = scene.values[:, column]
            fit = self.fits[band] if self.fits else self._fit(points[:, 0], points[:, 1], values)
            if not fit.variance:
                mean[:, column], variance[:, column] = values[0], 0.0
                continue
            for chosen, near in groups:
                mean[chosen, column], variance[chosen, column] = self._krige(
                    points[near], values[near], targets[chosen], fit
                )
        return Estimate(mean, variance)

    def _fit(self, y: Array, x: Array, values: Array) -> Fit:
        from pykrige.ok import OrdinaryKriging

        spread = float(values.var()) if values.size else 0.0
        if values.size < 2 or spread == 0:
            return Fit((), 0.0)
        fitted = OrdinaryKriging(
            x, y, values, variogram_model=self.variogram, nlags=self.lags, weight=self.weight
        )
        return Fit(tuple(map(float, fitted.variogram_model_parameters)), spread)

    def _krige(self, points: Array, values: Array, targets: Array, fit: Fit) -> tuple[Array, Array]:
        from pykrige.ok import OrdinaryKriging

        parameters = list(fit.parameters)
        if self.variogram not in ("linear", "power"):
            parameters[0] += parameters[2]  # PyKrige reports the partial sill, and takes the whole one
        kriging = OrdinaryKriging(
            points[:, 1],
            points[:, 0],
            values,
            variogram_model=self.variogram,
            variogram_parameters=parameters,
        )
        nearest = None if self.neighbours is None else min(self.neighbours, len(points))
        try:
            mean, variance = kriging.execute(
                "points", targets[:, 1], targets[:, 0], backend="C", n_closest_points=nearest
            )
        except (np.linalg.LinAlgError, ValueError) as error:
            raise MethodError(
                f"PyKrige cannot solve its system of {nearest or len(points)} observations with a "
                f"{self.variogram} variogram {fit.parameters}: {error}; try variogram='exponential', or the "
                "method 'kriging'"
            ) from error
        return np.asarray(mean), np.maximum(variance, 0)

    def _check_memory(self, count: int) -> None:
        need = _MATRICES * 8 * count**2
        if need > self.memory:
            raise UsageError(
                f"kriging from all {count:,} observations at once takes about {need / 1024**3:,.1f} GiB; "
                f"{self.memory / 1024**3:,.1f} GiB are allowed; give neighbours=16, a larger memory, or use "
                "the method 'kriging'"
            )


def _groups(scene: Scene, neighbours: int | None) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield targets that lie together, and the observations that are near to any of them."""
    count = len(scene.targets)
    everything = np.arange(len(scene.points))
    if neighbours is None or neighbours >= len(scene.points):
        step = max(1, 2**24 // len(scene.points))
        for start in range(0, count, step):
            yield np.arange(start, min(start + step, count)), everything
        return
    index = parallel.nearest(cKDTree(scene.points), scene.nudged, np.arange(1, neighbours + 1))[1]
    # Squares of a few hundred observations: PyKrige's time grows with the square of their number.
    area = np.ptp(scene.points, axis=0).clip(1).prod()
    side = np.clip(np.sqrt(_TOGETHER * area / len(scene.points)), 16, 128)
    square = np.floor(scene.targets / side).astype(np.int64)
    _, label = np.unique(square, axis=0, return_inverse=True)
    order = np.argsort(label.ravel(), kind="stable")
    for chosen in np.split(order, np.flatnonzero(np.diff(label.ravel()[order])) + 1):
        yield chosen, np.unique(index[chosen])


def _sample(field: xr.DataArray, seed: int) -> tuple[list[tuple[Array, Array, Array]], list[int]]:
    """Draw observations of every band, each with the same chance, in one pass over windows.

    Returns rows, columns and values for every band, and how many observations it has. Every observation has
    a random key; the smallest keys win.
    """
    rng = np.random.default_rng(seed)
    bands = field.sizes["band"]
    kept = [np.empty((4, 0)) for _ in range(bands)]
    counts = [0] * bands
    for window in windows(grid_shape(field), _READ):
        values = load(field, window).to_numpy()
        for band in range(bands):
            rows, cols = np.nonzero(~np.isnan(values[band]))
            counts[band] += len(rows)
            key = rng.random(len(rows))
            new = np.stack([key, rows + window.row, cols + window.col, values[band, rows, cols]])
            both = np.concatenate([kept[band], new], 1)
            kept[band] = both[:, np.argsort(both[0], kind="stable")[:_SAMPLE]]
    return [(rows, cols, values) for _, rows, cols, values in kept], counts
