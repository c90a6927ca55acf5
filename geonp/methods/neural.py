"""Completes a field with a trained network, canvas by canvas."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike, fspath
from typing import ClassVar, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from geonp.covariates import Laid
from geonp.errors import GeonpWarning, ModelError
from geonp.field import Window, geobox, grid_spacing, summarise
from geonp.io.checkpoint import Checkpoint, Trained, read_checkpoint
from geonp.kriging.arrays import device_called
from geonp.methods.base import Completed, Method, Place, Values
from geonp.models import restore, weights
from geonp.models.base import Model
from geonp.scaling import Fixed, Scale, Scaling, Standardise, dumps, loads
from geonp.tasks import Task

_PIXELS_AT_ONCE = 1 << 15
_FEWEST = 3
_LEAST_SPREAD = 1e-3
_UNUSUAL = 1.5


@dataclass(frozen=True)
class Level:
    """Mean and standard deviation of every band of a raster, (C,): the scale of a canvas without data."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Neural(Method):
    """A trained network.

    Networks over absolute coordinates know one size of canvas, that of their training tiles. The raster is
    covered by canvases of that size, half a canvas apart, anchored at the raster's origin (the last one moved
    back to its edge), so that the windows in which it is streamed leave no trace. Every canvas is scaled by
    its own observations, or by the raster's where it has fewer than three. Where canvases overlap, what they
    say is mixed with smooth weights, and the variance is that of the mixture (law of total variance):
    canvases that disagree make it larger.

    What it gives up: observations farther than a canvas away are not used. A network of several bands sees
    only the pixels that are observed in all of them.

    Parameters
    ----------
    model : the network; its weights are moved to `device`.
    scaling : how its canvases are normalised.
    trained : what it was trained on.
    digest : identity of its weights, for the tags of what it completes.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`.
    level : the raster's own mean and deviation, learnt by `prepare`.
    covariates : on the raster's grid, for a network that reads some (`geonp.methods.covaried`).
    """

    name: ClassVar[str] = "neural"
    has_variance: ClassVar[bool] = True

    model: Model
    scaling: Scaling
    trained: Trained
    digest: str = ""
    device: str = "auto"
    level: Level | None = field(default=None, repr=False)
    covariates: Laid | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.scaling, Fixed) and len(self.scaling.offset) not in (1, self.model.bands):
            raise ModelError(
                f"the scaling has {len(self.scaling.offset)} bands and the network {self.model.bands}; "
                "the model file is damaged, train it again"
            )
        self.model.to(torch.device(device_called(self.device))).eval()

    @classmethod
    def load(cls, path: str | PathLike[str], *, device: str = "auto") -> Self:
        """Return the method that a model file holds.

        Raises
        ------
        ModelError
            If the file is not one of ours or is damaged.
        """
        found = read_checkpoint(fspath(path))
        try:
            model = restore(found.architecture, found.config, found.tensors)
            scaling = loads(found.scaling)
        except ModelError as error:
            raise ModelError(f"{fspath(path)}: {error}") from error
        return cls(model, scaling, found.trained, found.digest, device)

    @property
    def halo(self) -> int:
        """A canvas less one pixel: every canvas with a wanted pixel lies within."""
        return max(self.trained.tile) - 1

    @property
    def reads_covariates(self) -> bool:
        """Whether it was trained with covariates."""
        return self.model.covariates > 0

    @property
    def joint(self) -> bool:
        """Whether the network completes its bands together; a network of one band takes them one by one."""
        return self.model.bands > 1

    def describe(self) -> dict[str, str]:
        """Return the method, the architecture, the model's identity and the contexts it was trained on."""
        low, high = self.trained.context
        return {
            "method": self.name,
            "model": self.model.name,
            "model_sha256": self.digest,
            "context": f"{low:g}:{high:g}",
            "seed": str(self.trained.seed),
        }

    def prepare(self, field: xr.DataArray) -> Self:
        """Return the method with the raster's mean and deviation learnt.

        Raises
        ------
        ModelError
            If the network completes several bands together, and the raster has another number, or it reads
            covariates, and others are given.

        Warns
        -----
        GeonpWarning
            If the raster's pixel size or density is far (by half) outside what the network was trained on.
        """
        bands, given = field.sizes["band"], 0 if self.covariates is None else len(self.covariates.labels)
        if given != self.model.covariates:
            raise ModelError(
                f"the model was trained with {self.model.covariates} covariate(s), and {given} are given; give those, "
                "in their order (--covariate)"
            )
        if self.joint and bands != self.model.bands:
            raise ModelError(
                f"the model completes {self.model.bands} bands together and the raster has {bands}; "
                "choose bands (--band), or a model of one band, which takes any number one by one"
            )
        summary = summarise(field)
        self._warn_of_spacing(field)
        self._warn_of_density(float(summary.observed.max() / summary.pixels))
        return replace(self, level=Level(np.nan_to_num(summary.mean), np.sqrt(summary.variance)))

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; see `Method.complete`."""
        level = self.level or _level(values)
        c = self.model.bands
        layers = values.reshape(-1, c, *values.shape[1:])
        offset, spread = level.mean.reshape(-1, c, 1, 1), level.std.reshape(-1, c, 1, 1)
        mixture = _Mixture(layers.shape[:2], place.wanted, offset)
        canvases = list(self._canvases(place))
        shape = canvases[0].shape
        every = [(layer, canvas) for layer in range(len(layers)) for canvas in canvases]
        at_once = max(_PIXELS_AT_ONCE // (shape[0] * shape[1]), 1)
        taper = np.multiply.outer(_taper(shape[0]), _taper(shape[1]))
        known = None if self.covariates is None else self.covariates.window(place.given)
        for start in range(0, len(every), at_once):
            chunk = every[start : start + at_once]
            given = np.stack([layers[layer][:, *canvas.within(place.given)] for layer, canvas in chunk])
            at = [layer for layer, _ in chunk]
            beside = (
                None
                if known is None
                else np.stack([known[:, *canvas.within(place.given)] for _, canvas in chunk])
            )
            told = self._tell(given, Level(offset[at], spread[at]), spacing, beside)
            for (layer, canvas), mean, variance in zip(chunk, *told, strict=True):
                mixture.add(layer, canvas, taper, mean, variance)
        return mixture.finish(values.shape[0])

    def _tell(
        self, given: Values, level: Level, spacing: tuple[float, float], beside: Values | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance of every pixel of a batch of canvases (N, C, H, W), NaN where unknown.

        `beside` are their covariates (N, K, H, W).
        """
        device = next(self.model.parameters()).device
        seen = np.isfinite(given).all(1, keepdims=True)
        values = torch.from_numpy(np.where(seen, given, 0)).to(device)
        context = torch.from_numpy(seen.astype(np.float32)).to(device)
        scale = self._scale(values, context, level)
        pixel = torch.tensor(spacing, dtype=torch.float32, device=device).expand(len(given), 2)
        covariates = None if beside is None else torch.from_numpy(beside).to(device)
        task = Task(scale.apply(values) * context, context, 1 - context, pixel, covariates)
        with torch.inference_mode():
            told = self.model(task)
        mean = _numpy(told.mean) * _numpy(scale.scale) + _numpy(scale.offset)
        return mean, np.square(_numpy(told.std) * _numpy(scale.scale))

    def _scale(self, values: Tensor, context: Tensor, level: Level) -> Scale:
        scale = self.scaling.fit(values, context)
        if not isinstance(self.scaling, Standardise):
            return scale
        mean, std = (torch.from_numpy(part).to(values) for part in (level.mean, level.std))
        few = context.sum((2, 3), keepdim=True) < _FEWEST
        # Some equal observations in a row do not make a canvas certain.
        spread = torch.maximum(torch.where(few, std, scale.scale), _LEAST_SPREAD * std)
        spread = torch.where(spread > 0, spread, scale.scale)
        return Scale(torch.where(few, mean, scale.offset), spread)

    def _canvases(self, place: Place) -> Iterator[Window]:
        """Yield the canvases that hold a wanted pixel, row by row."""
        height, width = (min(pair) for pair in zip(self.trained.tile, place.raster, strict=True))
        wanted = place.wanted
        for row in _starts(place.raster[0], height, wanted.row, wanted.stop[0]):
            for col in _starts(place.raster[1], width, wanted.col, wanted.stop[1]):
                yield Window(row, col, height, width)

    def _warn_of_spacing(self, field: xr.DataArray) -> None:
        box = geobox(field)
        known = self.trained.spacing_range or self.trained.spacing
        if box is None or box.crs is None or known is None:
            return
        spacing = grid_spacing(box)
        low, high = min(known), max(known)
        if min(spacing) < low / _UNUSUAL or max(spacing) > high * _UNUSUAL:
            _warn(
                f"the raster's pixels measure {spacing[0]:.4g} x {spacing[1]:.4g} m, those the model was "
                f"trained on {_between(low, high)} m: mean and variance may be off; train one on such rasters"
            )

    def _warn_of_density(self, density: float) -> None:
        low, high = self.trained.context
        if not low / _UNUSUAL <= density <= high * _UNUSUAL:
            _warn(
                f"{density:.3g} of the raster's pixels are seen, {_between(low, high)} of those the model "
                "was trained on: mean and variance may be off; train one for such a context (--context)"
            )


def as_checkpoint(model: Model, scaling: Scaling, trained: Trained) -> Checkpoint:
    """Return a trained network as data, ready for `geonp.io.checkpoint.write_checkpoint`."""
    config, reach = asdict(model.config), model.receptive_field
    return Checkpoint(model.name, config, dumps(scaling), reach, trained, weights(model))


class _Mixture:
    """Weighted sums of what canvases say of the wanted pixels, around an offset that keeps them small."""

    def __init__(self, layers: tuple[int, int], wanted: Window, offset: NDArray[np.float64]) -> None:
        self._wanted = wanted
        self._offset = offset
        self._weight = np.zeros((layers[0], 1, *wanted.shape))
        self._first = np.zeros((*layers, *wanted.shape))
        self._second = np.zeros((*layers, *wanted.shape))

    def add(
        self,
        layer: int,
        canvas: Window,
        taper: NDArray[np.float64],
        mean: NDArray[np.float64],
        variance: NDArray[np.float64],
    ) -> None:
        """Add mean and variance (C, H, W) of one canvas."""
        common = _intersection(canvas, self._wanted)
        there, here = common.within(canvas), common.within(self._wanted)
        weight = taper[there]
        off = mean[:, *there] - self._offset[layer]
        self._weight[layer][:, *here] += weight
        self._first[layer][:, *here] += weight * off
        self._second[layer][:, *here] += weight * (variance[:, *there] + off**2)

    def finish(self, bands: int) -> Completed:
        """Return the mixture's mean and variance, (bands, H, W)."""
        mean = self._first / self._weight
        variance = np.maximum(self._second / self._weight - mean**2, 0)
        shape = (bands, *self._wanted.shape)
        whole = (mean + self._offset).astype(np.float32)
        return Completed(whole.reshape(shape), variance.astype(np.float32).reshape(shape))


def _starts(length: int, canvas: int, first: int, stop: int) -> Sequence[int]:
    """Return where canvases begin that reach into first..stop of an axis, half a canvas apart from 0 on."""
    last = length - canvas
    step = max(canvas // 2, 1)
    starts = [*range(0, last, step), last]
    return [start for start in starts if start < stop and start + canvas > first]


def _taper(length: int) -> NDArray[np.float64]:
    """Return a sine-squared window, positive everywhere."""
    return np.asarray(np.sin(math.pi * (np.arange(length) + 0.5) / length) ** 2)


def _intersection(one: Window, other: Window) -> Window:
    row, col = max(one.row, other.row), max(one.col, other.col)
    stop = min(one.stop[0], other.stop[0]), min(one.stop[1], other.stop[1])
    return Window(row, col, stop[0] - row, stop[1] - col)


def _level(values: Values) -> Level:
    """Return mean and deviation of the observed values of every band; 0 where there are none."""
    seen = np.isfinite(values)
    count = np.maximum(seen.sum((1, 2)), 1)
    clean = np.where(seen, values, 0).astype(np.float64)
    mean = clean.sum((1, 2)) / count
    off = np.where(seen, clean - mean[:, None, None], 0)
    return Level(mean, np.sqrt(np.square(off).sum((1, 2)) / count))


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.cpu().numpy(), np.float64)


def _between(low: float, high: float) -> str:
    return f"{low:.4g}" if math.isclose(low, high, rel_tol=1e-3) else f"{low:.4g} to {high:.4g}"


def _warn(text: str) -> None:
    warnings.warn(text, GeonpWarning, stacklevel=4)
