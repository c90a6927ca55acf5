"""Other packages, used as their documentation does, on rasters in memory. None of them need be installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Raster = NDArray[np.float32]

NEIGHBOURS, RBF_NEIGHBOURS = 16, 32
_SAMPLE = 2000
_SEARCH = 100


class Filled(NamedTuple):
    """A completed band: mean, and variance or None, (y, x)."""

    mean: Raster
    variance: Raster | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another package.

    Parameters
    ----------
    distribution : its name where packages are installed from.
    modules : what is imported of it.
    has_variance : whether it gives one here.
    fill : completes a band (y, x), NaN where not observed; lengths are in pixels.
    how : how it is used, in a line.
    trained : False for a network with random weights, whose errors mean nothing.
    """

    distribution: str
    modules: tuple[str, ...]
    has_variance: bool
    fill: Callable[[Raster], Filled]
    how: str
    trained: bool = True

    def installed(self) -> bool:
        """Return whether it can be imported."""
        return all(importlib.util.find_spec(name.partition(".")[0]) is not None for name in self.modules)


def _points(band: Raster) -> tuple[Array, Array, Array]:
    """Return places (y, x) and values of the observations, and the places to tell."""
    seen = np.isfinite(band)
    return np.argwhere(seen).astype(float), band[seen].astype(float), np.argwhere(~seen).astype(float)


def _back(band: Raster, mean: Array, variance: Array | None = None) -> Filled:
    hidden = np.isnan(band)
    out = band.copy()
    out[hidden] = mean
    if variance is None:
        return Filled(out)
    spread = np.zeros_like(band)
    spread[hidden] = variance
    return Filled(out, spread)


def _pykrige(band: Raster) -> Filled:
    from pykrige.ok import OrdinaryKriging

    places, values, wanted = _points(band)
    kriging = OrdinaryKriging(places[:, 1], places[:, 0], values, variogram_model="exponential")
    mean, variance = kriging.execute(
        "points", wanted[:, 1], wanted[:, 0], backend="C", n_closest_points=NEIGHBOURS
    )
    return _back(band, np.asarray(mean), np.asarray(variance))


def _gstools(band: Raster) -> Filled:
    import gstools

    places, values, wanted = _points(band)
    centres, gamma = gstools.vario_estimate(places.T, values, sampling_size=_SAMPLE, sampling_seed=0)
    # From its own first guess the fit ends in a range of nothing, or not at all.
    model = gstools.Exponential(dim=2, var=float(values.var()), len_scale=max(band.shape) / 10)
    model.fit_variogram(centres, gamma, init_guess="current", nugget=False)
    kriging = gstools.krige.Ordinary(model, places.T, values, pseudo_inv=False)
    mean, variance = kriging(wanted.T)
    return _back(band, np.asarray(mean), np.asarray(variance))


def _rbf(band: Raster) -> Filled:
    from scipy.interpolate import RBFInterpolator

    places, values, wanted = _points(band)
    fitted = RBFInterpolator(places, values, neighbors=RBF_NEIGHBOURS, kernel="cubic")
    return _back(band, fitted(wanted))


def _griddata(method: str) -> Callable[[Raster], Filled]:
    def fill(band: Raster) -> Filled:
        from scipy.interpolate import griddata

        places, values, wanted = _points(band)
        return _back(band, griddata(places, values, wanted, method=method))

    return fill


def _fillnodata(band: Raster) -> Filled:
    from rasterio.fill import fillnodata

    seen = np.isfinite(band)
    return Filled(np.asarray(fillnodata(band.copy(), seen.astype(np.uint8), float(_SEARCH)), np.float32))


def _convgnp(band: Raster) -> Filled:
    import neuralprocesses.torch as nps
    import torch

    places, values, _ = _points(band)
    torch.manual_seed(0)
    # A pixel is a cell of the network's own grid, as in DeepSensor, which takes the density from the data.
    longest = max(band.shape)
    net = nps.construct_convgnp(
        dim_x=2, dim_yc=(1,), dim_yt=1, likelihood="het", points_per_unit=longest, unet_channels=(64,) * 4
    )
    centre, scale = values.mean(), values.std() or 1.0
    x = torch.from_numpy(places.T / longest).float()[None]
    y = torch.from_numpy((values - centre) / scale).float()[None, None]
    grid = tuple(torch.arange(n, dtype=torch.float32)[None, None] / longest for n in band.shape)
    with torch.inference_mode():
        told = net([(x, y)], grid)
        mean, variance = (np.asarray(v[0, 0]) for v in (told.mean, told.var))
    return Filled((mean * scale + centre).astype("f4"), (variance * scale**2).astype("f4"))


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "SciPy griddata, linear": Peer(
            "scipy", ("scipy.interpolate",), False, _griddata("linear"), "planes over a triangulation"
        ),
        "SciPy griddata, cubic": Peer(
            "scipy", ("scipy.interpolate",), False, _griddata("cubic"), "Clough-Tocher over a triangulation"
        ),
        "SciPy RBFInterpolator": Peer(
            "scipy", ("scipy.interpolate",), False, _rbf, f"cubic, {RBF_NEIGHBOURS} neighbours"
        ),
        "rasterio fillnodata": Peer(
            "rasterio", ("rasterio.fill",), False, _fillnodata, f"search distance of {_SEARCH} pixels"
        ),
        "PyKrige": Peer(
            "PyKrige",
            ("pykrige.ok",),
            True,
            _pykrige,
            f"ordinary kriging, its own fit of an exponential variogram, C backend, {NEIGHBOURS} neighbours",
        ),
        "GSTools": Peer(
            "gstools",
            ("gstools",),
            True,
            _gstools,
            "ordinary kriging from all observations by a plain inverse, exponential variogram fitted to "
            f"{_SAMPLE:,} of them",
        ),
        "DeepSensor's engine": Peer(
            "neuralprocesses",
            ("neuralprocesses.torch", "lab.torch", "torch"),
            True,
            _convgnp,
            "neuralprocesses' ConvGNP with the widths that DeepSensor takes, the whole grid in one pass, "
            "random weights",
            trained=False,
        ),
    }
)
