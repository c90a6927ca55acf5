"""The method `inr`: one network, a function of coordinates, fitted to one raster."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from geonp.errors import InputError, UsageError
from geonp.field import grid_shape, load, spacing, windows
from geonp.kriging.arrays import device_called
from geonp.methods.base import Completed, Method, Place, Values
from geonp.nn.laplace import LastLayer
from geonp.nn.siren import Siren

_READ = 2048
_BATCH = 2048
_AT_ONCE = 1 << 15
_FEWEST_TO_CHECK = 40
"""Observations from which on some are held back to size the variance."""
_FINEST = 0.25
"""Highest frequency in cycles per mean distance between observations; half is the limit of Nyquist."""


class Surface(NamedTuple):
    """A network fitted to one band, and what its last layer is known to be.

    Parameters
    ----------
    net : coordinates -> features; None where the band is constant.
    layer : posterior of the last layer; None likewise.
    offset, scale : mean and deviation of the observations.
    factor : by which held-out errors show the posterior variance too small (squared).
    """

    net: Siren | None
    layer: LastLayer | None
    offset: float
    scale: float
    factor: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Inr(Method):
    """An implicit neural representation (INR): a SIREN with Fourier features, one a band.

    The network maps a pixel's coordinates to its value and is fitted to the observations of this raster alone
    (Sitzmann et al. 2020; Tancik et al. 2020), full of frequencies from one per two canvases to one per four
    mean distances between observations, in random directions. The variance is that of the last layer
    (Laplace, see `geonp.nn.laplace`), sized by errors at a tenth of the observations that the features are
    not fitted to.

    Gives up: capacity grows with `width`, not with the raster, so that large rasters come out smooth; it does
    not pass through observations; far from them the network does what it likes, and its variance tells only
    part of that. Of more than `most` observations a random share is fitted.

    Parameters
    ----------
    frequencies : Fourier features.
    width, layers : sine layers.
    steps : of Adam, with a learning rate that falls along a cosine.
    learning_rate : its start.
    most : observations of a band that are fitted.
    noise : whether the variance is that of an observation or of the surface alone.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`.
    seed : of frequencies, weights and batches.
    spread : mean distance between observations in pixels; `prepare` measures it.
    sides : of a pixel, (dy, dx), by which the raster was fitted.
    surfaces : the bands, fitted; `prepare` makes them.
    """

    name: ClassVar[str] = "inr"
    has_variance: ClassVar[bool] = True

    frequencies: int = 96
    width: int = 128
    layers: int = 2
    steps: int = 300
    learning_rate: float = 1e-4
    most: int = 1 << 16
    noise: bool = True
    device: str = "auto"
    seed: int = 0
    spread: float = field(default=0.0, repr=False)
    sides: tuple[float, float] = field(default=(1.0, 1.0), repr=False)
    surfaces: tuple[Surface, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in ("frequencies", "width", "layers", "steps", "most"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"learning_rate is {self.learning_rate}; it must be positive")

    @property
    def halo(self) -> int:
        """Two mean distances between observations: half the shortest wavelength."""
        return math.ceil(2 * self.spread)

    def describe(self) -> dict[str, str]:
        """Return the method, the network's sizes, and whether the noise is in the variance."""
        sizes = f"{self.frequencies} frequencies, {self.layers} layers of {self.width}, {self.steps} steps"
        nugget = "in" if self.noise else "out"
        return {"method": self.name, "network": sizes, "nugget": nugget, "seed": str(self.seed)}

    def prepare(self, field: xr.DataArray) -> Self:
        """Fit a network to every band.

        Raises
        ------
        InputError
            If a band has no observation.
        """
        surfaces, spreads = [], []
        shape, sides = grid_shape(field), spacing(field)
        span = 2 * np.maximum(_places(np.array([[n - 1 for n in shape]]), shape, sides)[0], 0.5)
        for band in range(field.sizes["band"]):
            index, values, count = _observations(field, band, self.most, self.seed)
            if not count:
                raise InputError(
                    f"band {band + 1} has no observed pixel: there is nothing to fit a network to"
                )
            spreads.append(math.sqrt(span.prod() / count))
            points = _places(index, shape, sides)
            surfaces.append(self._fit(points, values, float(span.max()), spreads[-1]))
        return replace(self, surfaces=tuple(surfaces), spread=max(spreads), sides=sides)

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; see `Method.complete`.

        Raises
        ------
        UsageError
            If the method was not prepared for a raster with these bands.
        """
        if len(self.surfaces) != len(values):
            raise UsageError(
                f"inr is prepared for {len(self.surfaces)} band(s) and was given {len(values)}; call "
                "prepare(field) with the raster that is to be completed"
            )
        at, shape = place.wanted, place.wanted.shape
        index = np.indices(shape).reshape(2, -1).T + np.array([at.row, at.col])
        points = _places(index, place.raster, self.sides)
        told = [self._tell(surface, points) for surface in self.surfaces]
        mean, variance = (np.stack(part).reshape(len(values), *shape) for part in zip(*told, strict=True))
        return Completed(mean.astype(np.float32), variance.astype(np.float32))

    def _fit(
        self, points: NDArray[np.float64], values: NDArray[np.float64], extent: float, spread: float
    ) -> Surface:
        offset, scale = float(values.mean()), float(values.std())
        if len(values) < 3 or scale == 0:
            return Surface(None, None, offset, scale, 1.0)
        generator = torch.Generator().manual_seed(self.seed)
        net = self._network(extent, spread, generator)
        device = torch.device(device_called(self.device))
        x = torch.from_numpy(points).float().to(device)
        y = torch.from_numpy((values - offset) / scale).float().to(device)
        kept = torch.ones(len(y), dtype=torch.bool)
        if len(y) >= _FEWEST_TO_CHECK:
            kept[torch.randperm(len(y), generator=generator)[: len(y) // 10]] = False
        net.to(device).requires_grad_(True)
        self._train(net, x[kept], y[kept], generator)
        net.requires_grad_(False)
        features = torch.cat([_features(net, chunk) for chunk in torch.split(x, _AT_ONCE)])
        factor = 1.0
        if not kept.all():
            mean, variance = (known := LastLayer.fit(features[kept], y[kept])).predict(features[~kept])
            missed = (y[~kept] - mean).square() / (variance + 1 / known.beta)
            factor = max(float(missed.mean()), 1.0)
        return Surface(net, LastLayer.fit(features, y), offset, scale, factor)

    def _network(self, extent: float, spread: float, generator: torch.Generator) -> Siren:
        """Return a new network whose frequencies fall off like those of natural surfaces, as 1 / f."""
        low, high = 0.5 / extent, max(_FINEST / spread, 1 / extent)
        frequency = low * (high / low) ** torch.rand(self.frequencies, generator=generator)
        angle = math.pi * torch.rand(self.frequencies, generator=generator)
        waves = frequency[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            net = Siren(waves, self.width, self.layers)
        loudness = low / frequency
        loudness = loudness / loudness.square().mean().sqrt()
        with torch.no_grad():
            net.first.weight *= torch.cat([loudness, loudness])
        return net

    def _train(self, net: Siren, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
        optimiser = torch.optim.Adam(net.parameters(), self.learning_rate)
        for step in range(self.steps):
            for group in optimiser.param_groups:
                group["lr"] = self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            if len(y) > _BATCH:
                some = torch.randint(len(y), (_BATCH,), generator=generator).to(y.device)
                told, wanted = net(x[some]), y[some]
            else:
                told, wanted = net(x), y
            optimiser.zero_grad()
            torch.autograd.backward(mse_loss(told, wanted))
            optimiser.step()

    def _tell(
        self, surface: Surface, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance at points (N, 2)."""
        if surface.net is None or surface.layer is None:
            return np.full(len(points), surface.offset), np.full(len(points), surface.scale**2)
        device = next(surface.net.parameters()).device
        means, variances = [], []
        for chunk in torch.split(torch.from_numpy(points).float(), _AT_ONCE):
            mean, variance = surface.layer.predict(_features(surface.net, chunk.to(device)))
            if self.noise:
                variance = variance + 1 / surface.layer.beta
            means.append(mean.cpu())
            variances.append(variance.cpu())
        surely, widely = torch.cat(means).numpy(), torch.cat(variances).numpy()
        return surely * surface.scale + surface.offset, widely * surface.factor * surface.scale**2


def _features(net: Siren, points: Tensor) -> Tensor:
    """Return what the last layer reads, and a one for its bias, (N, width + 1)."""
    with torch.inference_mode():
        found = net.features(points)
        return torch.cat([found, found.new_ones(len(found), 1)], 1)


def _observations(
    field: xr.DataArray, band: int, most: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Return rows and columns (N, 2), values, and how many there are in all, of which N are a random share."""
    one = field.isel(band=[band])
    rng = np.random.default_rng(seed)
    every = windows(grid_shape(field), _READ)
    count = sum(int(np.isfinite(load(one, window).to_numpy()).sum()) for window in every)
    places, found = [], []
    for window in every:
        values = load(one, window).to_numpy()[0]
        at = np.argwhere(np.isfinite(values))
        if count > most:
            at = at[rng.random(len(at)) < most / count]
        places.append(at + np.array([window.row, window.col]))
        found.append(values[at[:, 0], at[:, 1]])
    return np.concatenate(places), np.concatenate(found).astype(np.float64), count


def _places(
    index: NDArray[np.integer[Any]], shape: tuple[int, int], spacing: tuple[float, float]
) -> NDArray[np.float64]:
    """Return coordinates around the raster's middle: metric, in geometric means of the sides of a pixel.

    Rows and columns count whatever way the raster is turned, so that the same survey gives the same network.
    """
    # Rounded: what a rotation leaves in the last digits would grow in training.
    aspect = float(f"{math.sqrt(spacing[0] / spacing[1]):.9g}")
    middle = (np.array(shape) - 1) / 2
    return np.asarray((index - middle) * [aspect, 1 / aspect])
