"""The bundled method: kriging, corrected by a network that learnt on terrain what kriging misses.

Kriging is fitted to the survey; the network shifts its mean and scales its deviation. Before it is believed it
is tried (`geonp.methods.trial`): where it does worse than kriging on hidden observations, kriging answers alone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpWarning, ModelError, UsageError
from geonp.field import Window, grid_shape, load, windows
from geonp.io.checkpoint import read_checkpoint
from geonp.kriging import quick
from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance
from geonp.kriging.evidence import gather
from geonp.kriging.features import Kriged
from geonp.kriging.fit import Settings, fit_covariance
from geonp.kriging.raster import RasterKriging
from geonp.kriging.remeasured import remeasure
from geonp.kriging.solver import Solver, choose_device
from geonp.kriging.survey import Block, Survey
from geonp.kriging.threads import one_thread
from geonp.methods.adapt import Adaptation, Ground, adapt
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.correction import Correction
from geonp.methods.errors import Errors, Stated, checked_number, of_bands
from geonp.methods.kriging import Kriging, blocks, steps
from geonp.methods.trial import Trial, Verdict, gappy, observed_together
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
class Group:
    """Bands of a survey that are completed together, ready for it; one band for the bundled network.

    Parameters
    ----------
    krigings : fitted to each band.
    centres : near each band's mean, subtracted before anything becomes float32.
    verdict : whether the network is used, and by how much its deviations are scaled.
    alone : what answers where the network is not used: the method `kriging`.
    measured : the errors of the observations, on the raster's pixels; None where none are stated.
    """

    krigings: tuple[RasterKriging, ...]
    centres: tuple[float, ...]
    verdict: Verdict
    alone: Kriging | None
    measured: Errors | None = None

    @property
    def covariances(self) -> list[Covariance]:
        """Covariances of the kriging that answers, band by band."""
        answering = self.krigings if self.alone is None else self.alone.bands
        return [kriging.solver.covariance for kriging in answering]


@dataclass(frozen=True)
class Flagship(Method):
    """Kriging, corrected by the bundled network (or another kriged IFANP).

    Parameters
    ----------
    model : a model file; the bundled one where None.
    insist : use the network even where kriging did better on hidden observations.
    calibrate : scale deviations by what hidden observations show; shrunk to 1 where they are few.
    adapt : seconds for which the network learns from the survey's own observations before it is used; what it
        learnt is kept if it predicts observations better that it did not learn from.
    orientations : from how many sides, 1 to 8, the network looks; time grows with it.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`.
    seed : of which observations are hidden.
    errors : standard deviations of the errors of the observations, in the units of the raster: a raster on the same
        pixels, or one number for all of them; see `geonp.methods.errors.with_errors`.
    correction, adaptation, groups : what `prepare` makes.

    Notes
    -----
    A network of one band completes bands one by one; a network of several takes them together, and sees only
    pixels that are observed in all of them. Observed pixels are answered by kriging's smooth estimate, whose
    difference from the observation is what it takes for noise; `predict` returns observations as they were
    unless told otherwise.
    """

    name: ClassVar[str] = "bundled"
    has_variance: ClassVar[bool] = True

    model: str | None = None
    insist: bool = False
    calibrate: bool = True
    adapt: float = 0.0
    orientations: int = 8
    device: str = "auto"
    seed: int = 0
    errors: Stated | None = field(default=None, repr=False, compare=False)
    correction: Correction | None = None
    adaptation: Adaptation | None = None
    groups: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        if self.errors is not None and not isinstance(self.errors, xr.DataArray):
            checked_number(self.errors)
        if self.errors is not None and self.adapt > 0:
            raise UsageError(
                "the network learns from observations as they are (--adapt), whatever their errors: leave out one of "
                "the two"
            )

    @property
    def filters(self) -> bool:
        """Whether observed pixels are estimated too, since errors of theirs are stated."""
        return self.errors is not None

    def of_bands(self, bands: Sequence[int], count: int) -> Self:
        """Return the method with the errors of some bands alone."""
        return self if self.errors is None else replace(self, errors=of_bands(self.errors, bands, count))

    @property
    def halo(self) -> int:
        """Pixels around a window that are read."""
        if self.correction is None:
            return 0
        around = self.correction.reach + self.correction.stride
        halos = [kriging.halo + around for g in self.groups if g.alone is None for kriging in g.krigings]
        return max(halos + [g.alone.halo for g in self.groups if g.alone is not None], default=around)

    @property
    def joint(self) -> bool:
        """Whether the bands are completed together."""
        return self.model is not None and read_network(self.model).bands > 1

    def describe(self) -> dict[str, str]:
        """Return what a user must know to repeat the result."""
        model = "bundled" if self.model is None else Path(self.model).name
        told = {"method": self.name, "model": model, "seed": str(self.seed), "nugget": "in"}
        if self.adaptation is not None:
            told["adapted"] = json.dumps(self.adaptation.report())
        if self.groups and self.groups[0].measured is not None:
            told["errors"] = self.groups[0].measured.name
        every = [(group, covariance) for group in self.groups for covariance in group.covariances]
        for number, (group, covariance) in enumerate(every, 1):
            told[f"band_{number}_covariance"] = covariance.to_json()
            told[f"band_{number}_answered_by"] = "network" if group.alone is None else "kriging"
            told[f"band_{number}_deviation_factor"] = f"{1.0 if group.alone else group.verdict.factor:.4f}"
            told[f"band_{number}_trial"] = json.dumps(group.verdict.report())
        return told

    def prepare(self, field: xr.DataArray) -> Self:
        """Fit kriging to every band, and try the network on hidden observations.

        Raises
        ------
        ModelError
            If the model file is not one of ours, holds another kind of network, or one for another number of
            bands.

        Warns
        -----
        GeonpWarning
            Where kriging did better than the network and answers alone.
        """
        device = choose_device(self.device)
        correction = Correction(read_network(self.model).to(device), self.orientations, device)
        count, together = field.sizes["band"], correction.model.bands
        if together not in (1, count):
            raise ModelError(
                f"the model completes {together} bands together and the raster has {count}; choose bands "
                "(--band), or a model of one band, which takes any number one by one"
            )
        parts = [field.isel(band=slice(start, start + together)) for start in range(0, count, together)]
        stated = [self._stated(range(start, start + together), count) for start in range(0, count, together)]
        measured = [None if s is None else Errors.of(s, p) for s, p in zip(stated, parts, strict=True)]
        grounds = [_fit(p, self.seed, device, m) for p, m in zip(parts, measured, strict=True)]
        adaptation = None
        if self.adapt > 0:
            correction, adaptation = adapt(correction, grounds, self.adapt, self.seed)
        done = [
            replace(self._try(ground, part, correction, number * together + 1, own), measured=errors)
            for number, (ground, part, own, errors) in enumerate(
                zip(grounds, parts, stated, measured, strict=True)
            )
        ]
        return replace(self, correction=correction, adaptation=adaptation, groups=tuple(done))

    def _stated(self, bands: Sequence[int], count: int) -> Stated | None:
        return None if self.errors is None else of_bands(self.errors, bands, count)

    def _try(
        self,
        ground: Ground,
        field: xr.DataArray,
        correction: Correction,
        first: int,
        errors: Stated | None,
    ) -> Group:
        """Let network and kriging compete for a group of bands, of which `first` is the number of the first."""
        solvers = tuple(kriging.solver for kriging in ground.krigings)
        rival = Kriging(device=self.device, seed=self.seed, errors=errors)
        alone, alarms = self._alone(ground, field, rival)
        rivals = None if alone is None else tuple(band.solver for band in alone.bands)
        trial = Trial(solvers, correction, ground.centres, self.insist, self.calibrate, self.seed, rivals)
        verdict = trial.judge(ground.samples, ground.krigings[0].spacing, ground.errors or None)
        if verdict.network:
            alone = None
        else:
            alone = alone or rival.prepare(field)
            for alarm in alarms:
                warnings.warn(alarm, stacklevel=3)
            warnings.warn(
                f"band {first}: on {verdict.hidden} hidden observations the network's CRPS was "
                f"{verdict.network_crps:.4g}, kriging's {verdict.kriging_crps:.4g}; kriging is used "
                "(--method neural insists on the network)",
                GeonpWarning,
                stacklevel=3,
            )
        return Group(ground.krigings, ground.centres, verdict, alone)

    def _alone(
        self, ground: Ground, field: xr.DataArray, rival: Kriging
    ) -> tuple[Kriging | None, list[Warning]]:
        """Return the method `kriging` and its alarms where its covariance, chosen for gaps, may be another."""
        if self.insist or not any(gappy(observed_together(window)) for window in ground.samples):
            return None, []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GeonpWarning)
            alone = rival.prepare(field)
        return alone, [w.message for w in caught if isinstance(w.message, GeonpWarning)]

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; see `Method.complete`."""
        errors = self.error_variances(values, place.given)
        means, variances, first = [], [], 0
        for group in self.groups:
            own = slice(first, first + len(group.krigings))
            off = None if errors is None else errors[own]
            mean, variance = self._group(group, values[own], off, spacing, place)
            means.append(mean)
            variances.append(variance)
            first = own.stop
        stated = None if errors is None else errors[:, *place.inside]
        return Completed(np.concatenate(means), np.concatenate(variances), stated)

    def error_variances(self, values: Values, window: Window) -> Values | None:
        """Return the variances of the errors of observations; see `Kriging.error_variances`."""
        parts, first = [], 0
        for group in self.groups:
            own = slice(first, first + len(group.krigings))
            parts += [] if group.measured is None else [group.measured.variances(values[own], window)]
            first = own.stop
        return np.concatenate(parts) if parts else None

    def _group(
        self,
        group: Group,
        values: Values,
        errors: Values | None,
        spacing: tuple[float, float],
        place: Place,
    ) -> tuple[Values, Values]:
        if group.alone is not None:
            done = group.alone.complete(values, spacing, place)
            assert done.variance is not None
            return done.mean, done.variance
        assert self.correction is not None
        seen = np.where(np.isfinite(values).all(0), values, np.float32(np.nan))
        own: Sequence[Values | None] = [None] * len(seen) if errors is None else list(errors)
        given = [
            Block(place.given.row, place.given.col, band, errors=off)
            for band, off in zip(seen, own, strict=True)
        ]
        window, canvas = _canvas(place.wanted, place.raster, self.correction)
        kriged = gather(group.krigings, given, _pixels(window), spacing, group.centres, canvas)
        noise = [kriging.solver.covariance.nugget**0.5 for kriging in group.krigings]
        shift, factor = self.correction(kriged, noise, spacing)
        mean, std = correct(kriged, shift, factor)
        inside = (slice(None), *place.wanted.within(window))
        centres = np.array(group.centres)[:, None, None]
        mean, variance = mean[inside] + centres, (std[inside] * group.verdict.factor) ** 2
        if errors is not None:
            heard = kriged.observed[:, 0].numpy()[inside] > 0
            spread = kriged.std[:, 0].double().numpy()[inside] ** 2
            for band, kriging in enumerate(group.krigings):
                here, nugget = heard[band], kriging.solver.covariance.nugget
                z, off = (a[band, *place.inside][here].astype(np.float64) for a in (seen, errors))
                latent = np.maximum(spread[band][here] - nugget, 0)
                mean[band, here], variance[band, here] = remeasure(mean[band, here], latent, z, off, nugget)
        return mean.astype(np.float32), variance.astype(np.float32)


def correct(kriged: Kriged, shift: torch.Tensor, factor: torch.Tensor) -> tuple[Array, Array]:
    """Return mean and deviation (C, H, W) of a corrected kriging; observed pixels stay kriging's."""
    free = 1 - kriged.observed[:, 0]
    k, s = kriged.mean[:, 0].double(), kriged.std[:, 0].double()
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
    if not isinstance(model, KrigedIFANP):
        raise ModelError(
            f"{path} holds a network of kind {kept.architecture!r}; the bundled method takes a {KrigedIFANP.name}"
        )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fit(field: xr.DataArray, seed: int, device: torch.device, measured: Errors | None) -> Ground:
    """Fit kriging to the bands of a raster that are completed together."""
    shape, step = grid_shape(field), steps(field)
    places, values, errors = _observed(field, seed, measured)
    with one_thread():
        if values.shape[1] == 1 or errors is not None:
            covariances = [
                fit_covariance(
                    places * np.array(step),
                    values[:, band],
                    seed=seed,
                    errors=None if errors is None else errors[:, band],
                    settings=_SEARCHED,
                ).covariance
                for band in range(values.shape[1])
            ]
        else:
            pixel = abs(step[1])
            correlation, sills = quick.fit(
                places * [abs(step[0]) / pixel, 1.0], values, np.random.default_rng([seed, 4])
            )
            covariances = [correlation.covariance(float(sill), pixel) for sill in sills]
    krigings = tuple(
        RasterKriging(
            shape,
            step,
            Survey.of(blocks(field, band, measured), _KEPT),
            Solver(c, device=device),
            smooth=True,
        )
        for band, c in enumerate(covariances)
    )
    samples, off = _samples(field, seed, measured)
    return Ground(krigings, tuple(values.mean(0).tolist()), samples, off)


def _observed(field: xr.DataArray, seed: int, measured: Errors | None) -> tuple[Array, Array, Array | None]:
    """Return rows and columns (N, 2), values and error variances (N, C); of a large raster, of some windows."""
    rows, cols = grid_shape(field)
    cells = windows((rows, cols), _FITTED if rows * cols > _FITTED**2 else max(rows, cols))
    places, values, errors, count = [], [], [], 0
    for index in np.random.default_rng([seed, 3]).permutation(len(cells)):
        block, cell = load(field, cells[index]).to_numpy(), cells[index]
        seen = np.argwhere(np.isfinite(block).all(0))
        places.append(seen + np.array([cell.row, cell.col]))
        values.append(block[:, seen[:, 0], seen[:, 1]].T.astype(np.float64))
        if measured is not None:
            off = measured.variances(block, cell)
            errors.append(off[:, seen[:, 0], seen[:, 1]].T.astype(np.float64))
        count += len(seen)
        if count >= _ENOUGH:
            break
    stated = np.concatenate(errors) if errors else None
    return np.concatenate(places).astype(np.float64), np.concatenate(values), stated


def _samples(
    field: xr.DataArray, seed: int, measured: Errors | None
) -> tuple[tuple[Values, ...], tuple[Values, ...]]:
    """Return the windows (band, rows, columns) on which the network is tried: the whole of a small raster.

    With them, where errors are stated, the error variances of their observations.
    """
    shape = (field.sizes["y"], field.sizes["x"])
    chosen = [Window.whole(shape)] if max(shape) <= _SMALL else _drawn(field, shape, seed)
    found = tuple(load(field, window).to_numpy() for window in chosen)
    if measured is None:
        return found, ()
    return found, tuple(measured.variances(v, w) for v, w in zip(found, chosen, strict=True))


def _drawn(field: xr.DataArray, shape: tuple[int, int], seed: int) -> list[Window]:
    """Return a few windows of a large raster, drawn among those with observations enough."""
    rng = np.random.default_rng([seed, 1])
    cells = windows(shape, _LARGE)
    found: list[Window] = []
    for index in rng.permutation(len(cells))[: 8 * _TRIED]:
        values = load(field, cells[index]).to_numpy()
        if np.isfinite(values).all(0).sum() >= _FEWEST and min(values.shape[1:]) >= _LARGE // 4:
            found.append(cells[index])
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
