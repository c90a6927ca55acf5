"""The bundled method: kriging, corrected by a network that learnt on terrain what kriging misses.

Kriging is fitted to the survey; the network shifts its mean and scales its deviation. Before it is believed it
is tried (`geonp.methods.trial`): where it does worse than kriging on hidden observations, kriging answers alone.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpWarning, ModelError
from geonp.field import Window, grid_shape, load, windows
from geonp.io.checkpoint import read_checkpoint
from geonp.kriging.board import Pixels
from geonp.kriging.evidence import gather
from geonp.kriging.fit import Settings, fit_covariance
from geonp.kriging.raster import RasterKriging
from geonp.kriging.solver import Solver, choose_device
from geonp.kriging.survey import Block, Survey
from geonp.kriging.threads import one_thread
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.correction import Correction
from geonp.methods.kriging import Kriging, blocks, steps
from geonp.methods.trial import Trial, Verdict
from geonp.models import restore
from geonp.models.kriged import KrigedIFANP

Array = NDArray[np.float64]

BUNDLED = Path(__file__).parents[1] / "weights" / "kriged-ifanp.safetensors"
"""The weights that come with the package."""

_TRIED = 3
_SMALL, _LARGE = 256, 192
_FEWEST = 40
# The network learnt to correct one structure of greatest likelihood; nested sums and covariances chosen for
# gaps do better alone, and worse under its hands.
_SEARCHED = Settings(nested=False)
_KEPT, _FITTED, _ENOUGH = 1 << 20, 1024, 100_000


@dataclass(frozen=True)
class Band:
    """One band of a survey, ready to be completed.

    Parameters
    ----------
    kriging : fitted to the band.
    centre : near its mean, subtracted before anything becomes float32.
    verdict : whether the network is used, and by how much its deviations are scaled.
    alone : what answers where the network is not used: the method `kriging`.
    """

    kriging: RasterKriging
    centre: float
    verdict: Verdict
    alone: Kriging | None


@dataclass(frozen=True)
class Flagship(Method):
    """Kriging, corrected by the bundled network (or another kriged IFANP).

    Parameters
    ----------
    model : a model file; the bundled one where None.
    insist : use the network even where kriging did better on hidden observations.
    calibrate : scale deviations by what hidden observations show; shrunk to 1 where they are few.
    orientations : from how many sides, 1 to 8, the network looks; time grows with it.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`.
    seed : of which observations are hidden.
    correction, bands : what `prepare` makes.

    Notes
    -----
    Bands are completed one by one. Observed pixels are answered by kriging's smooth estimate, whose difference
    from the observation is what it takes for noise; `predict` returns observations as they were unless told
    otherwise.
    """

    name: ClassVar[str] = "bundled"
    has_variance: ClassVar[bool] = True

    model: str | None = None
    insist: bool = False
    calibrate: bool = True
    orientations: int = 8
    device: str = "auto"
    seed: int = 0
    correction: Correction | None = None
    bands: tuple[Band, ...] = ()

    @property
    def halo(self) -> int:
        """Pixels around a window that are read."""
        if self.correction is None:
            return 0
        around = self.correction.reach + self.correction.stride
        halos = (b.kriging.halo + around if b.alone is None else b.alone.halo for b in self.bands)
        return max(halos, default=around)

    def describe(self) -> dict[str, str]:
        """Return what a user must know to repeat the result."""
        model = "bundled" if self.model is None else Path(self.model).name
        told = {"method": self.name, "model": model, "seed": str(self.seed), "nugget": "in"}
        for number, band in enumerate(self.bands, 1):
            answering = band.kriging if band.alone is None else band.alone.bands[0]
            told[f"band_{number}_covariance"] = answering.solver.covariance.to_json()
            told[f"band_{number}_answered_by"] = "network" if band.alone is None else "kriging"
            told[f"band_{number}_deviation_factor"] = f"{1.0 if band.alone else band.verdict.factor:.4f}"
            told[f"band_{number}_trial"] = json.dumps(band.verdict.report())
        return told

    def prepare(self, field: xr.DataArray) -> Self:
        """Fit kriging to every band, and try the network on hidden observations.

        Raises
        ------
        ModelError
            If the model file is not one of ours or holds another kind of network.

        Warns
        -----
        GeonpWarning
            Where kriging did better than the network and answers alone.
        """
        device = choose_device(self.device)
        correction = Correction(read_network(self.model).to(device), self.orientations, device)
        bands = []
        for number in range(field.sizes["band"]):
            one = field.isel(band=[number])
            kriging, centre = _fit(one, self.seed, device)
            trial = Trial(kriging.solver, correction, centre, self.insist, self.calibrate, self.seed)
            verdict = trial.judge(_samples(one, self.seed), kriging.spacing)
            alone = None
            if not verdict.network:
                alone = Kriging(device=self.device, seed=self.seed).prepare(one)
                warnings.warn(
                    f"band {number + 1}: on {verdict.hidden} hidden observations the network's CRPS was "
                    f"{verdict.network_crps:.4g}, kriging's {verdict.kriging_crps:.4g}; kriging is used "
                    "(--method neural insists on the network)",
                    GeonpWarning,
                    stacklevel=2,
                )
            bands.append(Band(kriging, centre, verdict, alone))
        return replace(self, correction=correction, bands=tuple(bands))

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; see `Method.complete`."""
        done = [
            self._band(band, layer, spacing, place) for band, layer in zip(self.bands, values, strict=True)
        ]
        mean, variance = (np.stack(layers) for layers in zip(*done, strict=True))
        return Completed(mean, variance)

    def _band(
        self, band: Band, values: NDArray[np.float32], spacing: tuple[float, float], place: Place
    ) -> tuple[Values, Values]:
        if band.alone is not None:
            done = band.alone.complete(values[None], spacing, place)
            assert done.variance is not None
            return done.mean[0], done.variance[0]
        assert self.correction is not None
        given = Block(place.given.row, place.given.col, values)
        wanted, kriging = place.wanted, band.kriging
        window, canvas = _canvas(wanted, place.raster, self.correction)
        kriged = gather(kriging, given, _pixels(window), spacing, band.centre, canvas)
        shift, factor = self.correction(kriged, kriging.solver.covariance.nugget**0.5, spacing)
        mean, std = correct(kriged.mean, kriged.std, shift, factor, kriged.observed)
        inside = wanted.within(window)
        variance = (std[inside] * band.verdict.factor) ** 2
        return (mean[inside] + band.centre).astype(np.float32), variance.astype(np.float32)


def correct(
    mean: torch.Tensor, std: torch.Tensor, shift: torch.Tensor, factor: torch.Tensor, observed: torch.Tensor
) -> tuple[Array, Array]:
    """Return mean and deviation (H, W) of a corrected kriging; observed pixels stay kriging's."""
    free = 1 - observed[0, 0]
    k, s = mean[0, 0].double(), std[0, 0].double()
    shift, factor = shift.cpu() * free, torch.where(free > 0, factor.cpu(), 1.0)
    return (k + shift * s).numpy(), (s * factor).numpy()


def read_network(path: str | None) -> KrigedIFANP:
    """Return the network of a model file, the bundled one where `path` is None.

    Raises
    ------
    ModelError
        If the file is not one of ours or holds another kind of network.
    """
    kept = read_checkpoint(BUNDLED if path is None else path)
    model = restore(kept.architecture, kept.config, kept.tensors)
    if not isinstance(model, KrigedIFANP) or model.bands != 1:
        raise ModelError(
            f"{path} holds a network of kind {kept.architecture!r} for {model.bands} band(s); the "
            f"bundled method takes a {KrigedIFANP.name} of one band"
        )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fit(field: xr.DataArray, seed: int, device: torch.device) -> tuple[RasterKriging, float]:
    """Fit kriging to a raster of one band; return it and the mean of what was observed."""
    shape, step = grid_shape(field), steps(field)
    survey = Survey.of(blocks(field, 0), _KEPT)
    places, values = _observed(field, seed)
    with one_thread():
        found = fit_covariance(places * np.array(step), values, seed=seed, settings=_SEARCHED)
    solver = Solver(found.covariance, device=device)
    return RasterKriging(shape, step, survey, solver, smooth=True), float(values.mean())


def _observed(field: xr.DataArray, seed: int) -> tuple[Array, Array]:
    """Return rows and columns (N, 2) and values (N,) of a small raster, or of some windows of a large one."""
    rows, cols = grid_shape(field)
    cells = windows((rows, cols), _FITTED if rows * cols > _FITTED**2 else max(rows, cols))
    places, values, count = [], [], 0
    for index in np.random.default_rng([seed, 3]).permutation(len(cells)):
        block, cell = load(field, cells[index]).to_numpy()[0], cells[index]
        seen = np.argwhere(np.isfinite(block))
        places.append(seen + np.array([cell.row, cell.col]))
        values.append(block[seen[:, 0], seen[:, 1]].astype(np.float64))
        count += len(seen)
        if count >= _ENOUGH:
            break
    return np.concatenate(places).astype(np.float64), np.concatenate(values)


def _samples(field: xr.DataArray, seed: int) -> list[NDArray[np.float32]]:
    """Return the windows (rows, columns) on which the network is tried: the whole of a small raster."""
    shape = (field.sizes["y"], field.sizes["x"])
    if max(shape) <= _SMALL:
        return [load(field).to_numpy()[0]]
    rng = np.random.default_rng([seed, 1])
    cells = windows(shape, _LARGE)
    found: list[NDArray[np.float32]] = []
    for index in rng.permutation(len(cells))[: 8 * _TRIED]:
        values = load(field, cells[index]).to_numpy()[0]
        if np.isfinite(values).sum() >= _FEWEST and min(values.shape) >= _LARGE // 4:
            found.append(values)
        if len(found) == _TRIED:
            break
    return found


def _canvas(
    wanted: Window, raster: tuple[int, int], correction: Correction
) -> tuple[Window, tuple[int, int]]:
    """Return what the network must see to answer for `wanted`, and the canvas that it is laid on.

    The window starts at a multiple of the stride, so that a pixel is always seen in the same place.
    """
    s = correction.stride
    grown = wanted.grow(correction.reach, raster)
    row, col = grown.row // s * s, grown.col // s * s
    window = Window(row, col, grown.stop[0] - row, grown.stop[1] - col)
    return window, (-(-window.height // s) * s, -(-window.width // s) * s)


def _pixels(window: Window) -> Pixels:
    return Pixels(window.row, window.col, window.height, window.width)
