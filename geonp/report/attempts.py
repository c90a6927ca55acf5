"""Methods run side by side on one raster, each failure kept as what it says."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpError, GeonpWarning, MissingCRSWarning
from geonp.field import Window, grid_shape
from geonp.methods.base import Method
from geonp.predict import begin

Layer = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """One band, completed: mean, variance (None without one), both (y, x) float32, and status codes, uint8."""

    mean: Layer
    variance: Layer | None
    status: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """What became of a method on a raster.

    Parameters
    ----------
    maps : None where it failed; `failure` then says why.
    described : how it was done: the method's parameters, fitted ones included.
    seconds : wall time, preparation included.
    notes : what it warned of.
    """

    method: str
    maps: Maps | None
    described: Mapping[str, str]
    seconds: float
    failure: str = ""
    notes: tuple[str, ...] = ()


def attempt(name: str, method: Method, field: xr.DataArray) -> Attempt:
    """Complete a field of one band, (1, y, x); whatever the method stumbles over becomes its `failure`."""
    start = time.perf_counter()
    maps, described, failure = None, dict[str, str](), ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", GeonpWarning)
        try:
            maps, described = _complete(field, method)
        except GeonpError as error:
            failure = str(error)
        except Exception as error:  # the other methods go on
            failure = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    told = [str(w.message) for w in caught if not issubclass(w.category, MissingCRSWarning)]
    return Attempt(name, maps, described, seconds, failure, tuple(dict.fromkeys(told)))


def _complete(field: xr.DataArray, method: Method) -> tuple[Maps, dict[str, str]]:
    shape = grid_shape(field)
    mean, status = np.full(shape, np.nan, np.float32), np.zeros(shape, np.uint8)
    variance = np.full(shape, np.nan, np.float32) if method.has_variance else None
    ready = begin(field, method, variance=method.has_variance)
    for layers in ready:
        where = layers.window.within(Window.whole(shape))
        mean[where], status[where] = layers.mean[0], layers.status[0]
        if variance is not None and layers.variance is not None:
            variance[where] = layers.variance[0]
    return Maps(mean, variance, status), ready.describe()
