"""Sites whose observation a network expects to make it surest.

A network's variance depends on what is observed, not only on where, so that no formula tells its fall: it is asked.
Kriging's gains, with the network's own deviations as the local scale, name a few candidates; each is imagined observed,
once a deviation above and once one below what is predicted there (the two-point rule, exact for what depends on the
value to third order), the network completes the window around it again, and what is left is averaged. The best
candidate is then held observed at its predicted value, and so on (the kriging believer of Ginsbourger et al. 2010).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from geonp.designs import sites
from geonp.designs.aim import Aim
from geonp.designs.ground import Ground, place
from geonp.designs.sites import Site
from geonp.field import Window, load, spacing, windows
from geonp.kriging.lattice import Lattice
from geonp.kriging.raster import RasterKriging
from geonp.methods.base import Place
from geonp.methods.flagship import Flagship, Group

Array = NDArray[np.float64]

_CANDIDATES = 5
_WINDOW = 512


@dataclass
class Believer:
    """A field and the network's answer to it, in which sites can be imagined observed.

    Parameters
    ----------
    method : prepared for the field.
    values : (1, rows, columns), NaN where not observed; sites that were taken are added to it.
    spacing : of its pixels (dy, dx).
    reach : pixels around a site to which its observation is felt.
    threshold : expected mistakes are counted at it; None: variances are summed.
    mean, variance : (rows, columns), what the network says at present; observed pixels have variance 0.
    """

    method: Flagship
    values: NDArray[np.float32]
    spacing: tuple[float, float]
    reach: int
    threshold: float | None
    mean: Array = field(init=False)
    variance: Array = field(init=False)

    def __post_init__(self) -> None:
        shape = self.values.shape[1:]
        self.mean, self.variance = np.zeros(shape), np.zeros(shape)
        for window in windows((shape[0], shape[1]), _WINDOW):
            self._renew(window)

    @property
    def left(self) -> float:
        """The sum of the variances, or the expected number of mistakes."""
        return self._sum(self.mean, self.variance)

    def gain(self, row: int, col: int) -> float:
        """Return by how much `left` falls when a pixel is observed."""
        window = self._window(row, col)
        here = window.within(Window.whole(self.mean.shape))
        mean, deviation = self.mean[row, col], float(np.sqrt(self.variance[row, col]))
        after = [
            self._sum(*self._with(row, col, mean + side * deviation)._answer(window)) for side in (-1.0, 1.0)
        ]
        return self._sum(self.mean[here], self.variance[here]) - sum(after) / 2

    def observe(self, row: int, col: int) -> None:
        """Hold a pixel for observed at its predicted value."""
        other = self._with(row, col, float(self.mean[row, col]))
        self.method, self.values = other.method, other.values
        self._renew(self._window(row, col))

    def _renew(self, window: Window) -> None:
        here = window.within(Window.whole(self.mean.shape))
        self.mean[here], self.variance[here] = self._answer(window)

    def _window(self, row: int, col: int) -> Window:
        return Window(row, col, 1, 1).grow(self.reach, self.mean.shape)

    def _answer(self, window: Window) -> tuple[Array, Array]:
        """Return mean and variance of a window."""
        shape = self.mean.shape
        around = Place(shape, window.grow(self.method.halo, shape), window)
        given = self.values[:, *around.given.within(Window.whole(shape))]
        done = self.method.complete(given, self.spacing, around)
        assert done.variance is not None
        seen = np.isfinite(given[0][around.inside])
        return done.mean[0].astype(np.float64), np.where(seen, 0.0, done.variance[0])

    def _with(self, row: int, col: int, value: float) -> Believer:
        """Return a shallow copy in which one more pixel is observed."""
        groups = tuple(_added(group, row, col, value) for group in self.method.groups)
        other = object.__new__(Believer)
        other.__dict__ |= self.__dict__
        other.method, other.values = replace(self.method, groups=groups), self.values.copy()
        other.values[0, row, col] = value
        return other

    def _sum(self, mean: Array, variance: Array) -> float:
        if self.threshold is None:
            return float(variance.sum())
        open_ = variance > 0
        return float(ndtr(-np.abs(mean[open_] - self.threshold) / np.sqrt(variance[open_])).sum())


def believer(whole: xr.DataArray, method: Flagship, lattice: Lattice, threshold: float | None) -> Believer:
    """Return what a prepared method believes of a field.

    Parameters
    ----------
    whole : the field (1, y, x).
    method : prepared for it.
    lattice : whose halo says how far an observation is felt.
    threshold : see `Believer`.
    """
    values = np.asarray(load(whole).to_numpy(), np.float32)
    return Believer(method, values, spacing(whole), lattice.halo * lattice.stride, threshold)


def choose(
    whole: xr.DataArray, aim: Aim, ground: Ground, believed: Believer, n: int, distance: float
) -> list[Site]:
    """Return up to `n` sites at least `distance` metres apart; fewer where there is no room.

    Parameters
    ----------
    whole : the field (1, y, x).
    aim : in kriging's errors and the network's deviations, of which candidates are taken.
    ground : what can be surveyed.
    believed : the network's answer.
    """
    before, found = believed.left, list[Site]()
    left = before
    while len(found) < n:
        candidates = shortlist(aim, ground)
        if not candidates:
            break
        gains = np.array([believed.gain(row, col) for row, col in candidates])
        price = [1.0 if ground.price is None else float(ground.price[at]) for at in candidates]
        best = int(np.argmax(gains / np.array(price)))
        row, col = candidates[best]
        std = float(np.sqrt(believed.variance[row, col]))
        believed.observe(row, col)
        sites.observe(aim, ground, row, col, distance)
        gain, left = left - believed.left, believed.left
        x, y = place(whole, row, col)
        found.append(Site(len(found) + 1, row, col, x, y, std, gain / before, left / before, price[best]))
    return found


def shortlist(aim: Aim, ground: Ground) -> list[tuple[int, int]]:
    """Return the free pixels of `ground` with the largest gains by `aim`, none next to another."""
    lattice, out = aim.gains.lattice, list[tuple[int, int]]()
    worth = sites.node_worth(aim.gains, ground.free, ground.price)
    while len(out) < _CANDIDATES and worth.max() > 0:
        top = int(np.argmax(worth))
        row, col, _, _ = sites.refine(aim.gains, ground.free, ground.price, top)
        out.append((row, col))
        at = np.unravel_index(top, lattice.nodes)
        near = tuple(slice(max(int(i) - 2, 0), int(i) + 3) for i in at)
        worth[near] = -1
    return out


def _added(group: Group, row: int, col: int, value: float) -> Group:
    """Return bands in which one more pixel is observed."""
    return replace(group, krigings=tuple(_observed(kriging, row, col, value) for kriging in group.krigings))


def _observed(kriging: RasterKriging, row: int, col: int, value: float) -> RasterKriging:
    survey = kriging.survey
    errors = None if survey.errors is None else np.append(survey.errors, np.float32(0))
    more = replace(
        survey,
        rows=np.append(survey.rows, row),
        cols=np.append(survey.cols, col),
        values=np.append(survey.values, np.float32(value)),
        observed=survey.observed + 1,
        errors=errors,
    )
    return replace(kriging, survey=more)


def answers(method: Flagship) -> bool:
    """Return whether the network answers in a prepared method, and not kriging alone."""
    return all(group.alone is None for group in method.groups)


def covariance_of(method: Flagship) -> RasterKriging:
    """Return the kriging that the network of a prepared `method` corrects."""
    return method.groups[0].krigings[0]
