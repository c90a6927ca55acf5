"""The bundled method: kriging, corrected by a network that learnt on terrain what kriging misses.

Kriging is fitted to the survey; the network shifts its mean and scales its deviation. Before it is believed it
is tried (`geonp.methods.trial`): where it does worse than kriging on hidden observations, kriging answers alone.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from geonp.covariates import Laid
from geonp.errors import GeonpWarning, ModelError, UsageError
from geonp.field import Window
from geonp.io.checkpoint import read_checkpoint
from geonp.kriging.arrays import Device, device_called
from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance
from geonp.kriging.evidence import gather
from geonp.kriging.features import Kriged
from geonp.kriging.raster import RasterKriging
from geonp.kriging.remeasured import remeasure
from geonp.kriging.survey import Block
from geonp.methods.adapt import Adaptation, adapt
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.beside import Beside, Rehearsal
from geonp.methods.calibration import UNCALIBRATED
from geonp.methods.correction import Correction
from geonp.methods.errors import Errors, Stated, checked_number, of_bands
from geonp.methods.ground import Ground, fitted, samples_of, tried
from geonp.methods.kriging import Kriging
from geonp.methods.trial import Trial, Verdict, gappy, observed_together
from geonp.models import restore
from geonp.models.kriged import KrigedIFANP

Array = NDArray[np.float64]

BUNDLED = Path(__file__).parents[1] / "weights" / "kriged-ifanp.safetensors"
"""The weights that come with the package."""


@dataclass(frozen=True)
class Group:
    """Bands of a survey that are completed together, ready for it; one band for the bundled network.

    Parameters
    ----------
    krigings : fitted to each band.
    centres : near each band's mean, subtracted before anything becomes float32.
    verdict : whether the network is used, and how its deviations are calibrated.
    alone : what answers where the network is not used: the method `kriging`.
    measured : the errors of the observations, on the raster's pixels; None where none are stated.
    beside : the covariates that the network reads; None where it reads none.
    """

    krigings: tuple[RasterKriging, ...]
    centres: tuple[float, ...]
    verdict: Verdict
    alone: Kriging | None
    measured: Errors | None = None
    beside: Beside | None = None

    @property
    def covariances(self) -> list[Covariance]:
        """Covariances of the kriging that answers, band by band."""
        answering = self.krigings if self.alone is None else self.alone.bands
        return [kriging.solver.covariance for kriging in answering]

    def bytes_needed(self, window: int, correction: Correction) -> int:
        """Return the memory in bytes that windows of `window` pixels a side take at their peak."""
        if self.alone is not None:
            return self.alone.bytes_needed(window)
        canvas = window + 2 * (correction.reach + correction.stride)
        return sum(
            kriging.bytes_needed(canvas)
            + correction.bytes_a_pixel * math.prod(min(canvas, size) for size in kriging.shape)
            for kriging in self.krigings
        )


@dataclass(frozen=True, slots=True)
class Stand:
    """What the network corrects, and what it must beat.

    Parameters
    ----------
    ground : bands and the kriging that is corrected.
    rival : the method `kriging`; prepared where its covariance, chosen for gaps, may be another.
    alarms : what preparing it warned of.
    """

    ground: Ground
    rival: Kriging
    alarms: tuple[Warning, ...] = ()


@dataclass(frozen=True)
class Flagship(Method):
    """Kriging, corrected by the bundled network (or another kriged IFANP).

    Parameters
    ----------
    model : a model file; the one of the package (`weights`) where None.
    insist : use the network even where kriging did better on hidden observations.
    calibrate : scale deviations by what hidden observations show; shrunk to 1 where they are few.
    adapt : seconds for which the network learns from the survey's own observations before it is used; what it
        learnt is kept if it predicts observations better that it did not learn from.
    orientations : from how many sides, 1 to 8, the network looks; time grows with it.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`.
    seed : of which observations are hidden.
    errors : standard deviations of the errors of the observations, in the units of the raster: a raster on the same
        pixels, or one number for all of them; see `geonp.methods.errors.with_errors`.
    covariates : on the raster's grid, for a network that was trained with some (`geonp.methods.covaried`).
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
    weights: ClassVar[Path] = BUNDLED
    """The network that is used where `model` is None."""
    insistence: ClassVar[str] = "--method neural insists on the network"

    model: str | None = None
    insist: bool = False
    calibrate: bool = True
    adapt: float = 0.0
    orientations: int = 8
    device: str = "auto"
    seed: int = 0
    errors: Stated | None = field(default=None, repr=False, compare=False)
    covariates: Laid | None = field(default=None, repr=False, compare=False)
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
        halos += [g.beside.halo + around for g in self.groups if g.alone is None and g.beside is not None]
        return max(halos + [g.alone.halo for g in self.groups if g.alone is not None], default=around)

    @property
    def grain(self) -> int:
        """Side in pixels of the network's stride, or of what kriging alone takes as a whole."""
        alone = max((g.alone.grain for g in self.groups if g.alone is not None), default=1)
        network = self.correction is not None and any(g.alone is None for g in self.groups)
        return max(alone, self.correction.stride if network and self.correction else 1)

    def bytes_needed(self, window: int) -> int:
        """Return the peak memory in bytes of completing the raster in windows of `window` pixels a side."""
        if self.correction is None:
            return 0
        return max((group.bytes_needed(window, self.correction) for group in self.groups), default=0)

    @property
    def reads_covariates(self) -> bool:
        """Whether its network was trained with covariates; those of the package were not."""
        return self.model is not None and read_network(self.model).covariates > 0

    @property
    def joint(self) -> bool:
        """Whether the bands are completed together."""
        return self.model is not None and read_network(self.file).bands > 1

    @property
    def file(self) -> Path:
        """The model file that is used."""
        return self.weights if self.model is None else Path(self.model)

    def describe(self) -> dict[str, str]:
        """Return what a user must know to repeat the result."""
        model = self.name if self.model is None else self.file.name
        told = {"method": self.name, "model": model, "seed": str(self.seed), "nugget": "in"}
        if self.adaptation is not None:
            told["adapted"] = json.dumps(self.adaptation.report())
        if self.groups and self.groups[0].measured is not None:
            told["errors"] = self.groups[0].measured.name
        every = [(group, covariance) for group in self.groups for covariance in group.covariances]
        for number, (group, covariance) in enumerate(every, 1):
            told[f"band_{number}_covariance"] = covariance.to_json()
            told[f"band_{number}_answered_by"] = "network" if group.alone is None else "kriging"
            told[f"band_{number}_deviation_factor"] = str(
                UNCALIBRATED if group.alone else group.verdict.calibration
            )
            told[f"band_{number}_trial"] = json.dumps(group.verdict.report())
        return told

    def prepare(self, field: xr.DataArray) -> Self:
        """Fit kriging to every band, and try the network on hidden observations.

        Raises
        ------
        ModelError
            If the model file is not one of ours, holds another kind of network, or one for another number of
            bands, or of covariates.

        Warns
        -----
        GeonpWarning
            Where kriging did better than the network and answers alone.
        """
        device = torch.device(device_called(self.device))
        correction = Correction(read_network(self.file).to(device), self.orientations, device)
        check_covariates(self.file, correction.model, self.covariates)
        if self.covariates is not None and self.adapt > 0:
            raise UsageError(
                "a network that reads covariates does not learn from the survey: leave out --adapt"
            )
        count, together = field.sizes["band"], correction.model.bands
        if together not in (1, count):
            raise ModelError(
                f"the model completes {together} bands together and the raster has {count}; choose bands "
                "(--band), or a model of one band, which takes any number one by one"
            )
        parts = [field.isel(band=slice(start, start + together)) for start in range(0, count, together)]
        stated = [self._stated(range(start, start + together), count) for start in range(0, count, together)]
        measured = [None if s is None else Errors.of(s, p) for s, p in zip(stated, parts, strict=True)]
        stands = [self._stand(*each) for each in zip(parts, stated, measured, strict=True)]
        grounds = [stand.ground for stand in stands]
        adaptation = None
        if self.adapt > 0:
            correction, adaptation = adapt(correction, grounds, self.adapt, self.seed)
        done = [
            replace(self._try(stand, part, correction, number * together + 1), measured=errors)
            for number, (stand, part, errors) in enumerate(zip(stands, parts, measured, strict=True))
        ]
        return replace(self, correction=correction, adaptation=adaptation, groups=tuple(done))

    def _stated(self, bands: Sequence[int], count: int) -> Stated | None:
        return None if self.errors is None else of_bands(self.errors, bands, count)

    def _stand(self, field: xr.DataArray, errors: Stated | None, measured: Errors | None) -> Stand:
        """Return what the network is to correct, and the kriging that it is tried against.

        Where the raster has gaps, the method `kriging` hides a great many observations in the gaps' own shapes to
        choose a covariance, far more than a trial of the network can afford; the network then corrects that one.
        """
        samples, off = samples_of(field, self.seed, measured)
        rival = Kriging(device=self.device, seed=self.seed, errors=errors)
        alarms: tuple[Warning, ...] = ()
        if any(gappy(observed_together(window)) for window in samples):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", GeonpWarning)
                rival = rival.prepare(field)
            alarms = tuple(w.message for w in caught if isinstance(w.message, GeonpWarning))
        if rival.bands and (len(rival.bands) == 1 or errors is not None):
            krigings = tuple(replace(band, smooth=True) for band in rival.bands)
            centres = tuple(float(band.survey.values.mean()) for band in rival.bands)
        else:
            krigings, centres = fitted(field, self.seed, Device.called(self.device), measured)
        return Stand(Ground(krigings, centres, samples, off), rival, alarms)

    def _try(self, stand: Stand, field: xr.DataArray, correction: Correction, first: int) -> Group:
        """Let network and kriging compete for a group of bands, of which `first` is the number of the first."""
        ground = stand.ground
        solvers, rivals = (
            tuple(band.solver for band in bands) for bands in (ground.krigings, stand.rival.bands)
        )
        other = None if rivals in ((), solvers) else rivals
        trial = Trial(solvers, correction, ground.centres, self.insist, self.calibrate, self.seed, other)
        beside, shown = self._beside(ground, field)
        verdict = trial.judge(ground.samples, ground.krigings[0].spacing, ground.errors or None, shown)
        alone = None
        if not verdict.network:
            alone = stand.rival if stand.rival.bands else stand.rival.prepare(field)
            for alarm in stand.alarms:
                warnings.warn(alarm, stacklevel=3)
            warnings.warn(
                f"band {first}: on {verdict.hidden} hidden observations the network's CRPS was "
                f"{verdict.network_crps:.4g}, kriging's {verdict.kriging_crps:.4g}; kriging is used "
                f"({self.insistence})",
                GeonpWarning,
                stacklevel=3,
            )
        return Group(ground.krigings, ground.centres, verdict, alone, beside=beside)

    def _beside(
        self, ground: Ground, field: xr.DataArray
    ) -> tuple[Beside | None, tuple[Rehearsal, ...] | None]:
        """Return the covariates that the network reads, and those of the windows on which it is tried."""
        if self.covariates is None:
            return None, None
        chosen = tried(field, self.seed)
        beside = Beside.of(self.covariates, field, ground.krigings[0], chosen)
        return beside, tuple(beside.rehearsal(window) for window in chosen)

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
        beside = None
        if group.beside is not None:
            observed = np.isfinite(seen[0])
            beside = group.beside.shown(observed, place.given, window, canvas)
        shift, factor = self.correction(kriged, noise, spacing, beside)
        mean, std = correct(kriged, shift, factor)
        inside = (slice(None), *place.wanted.within(window))
        centres = np.array(group.centres)[:, None, None]
        scale = group.verdict.calibration.over(np.isfinite(seen[0]))[place.inside]
        mean, variance = mean[inside] + centres, (std[inside] * scale) ** 2
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


def read_network(path: str | Path = BUNDLED) -> KrigedIFANP:
    """Return the network of a model file.

    Raises
    ------
    ModelError
        If the file is not one of ours or holds another kind of network.
    """
    kept = read_checkpoint(path)
    model = restore(kept.architecture, kept.config, kept.tensors)
    if not isinstance(model, KrigedIFANP):
        raise ModelError(
            f"{path} holds a network of kind {kept.architecture!r}; the bundled method takes a {KrigedIFANP.name}"
        )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def check_covariates(path: Path, model: KrigedIFANP, given: Laid | None) -> None:
    """Raise ModelError unless as many covariates are given as the network of a model file reads."""
    count = 0 if given is None else len(given.labels)
    if count == model.covariates:
        return
    if not model.covariates:
        raise ModelError("the network reads no covariates; leave them out here")
    names = ", ".join(read_checkpoint(path).trained.covariates)
    told = f": {names}" if names else ""
    raise ModelError(
        f"the model was trained with {model.covariates} covariate(s){told}; {count} are given: give rasters of these "
        "things, in this order (--covariate)"
    )


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
