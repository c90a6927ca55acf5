"""Where to survey next: the pixels or lines whose observation makes the map surest."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr

from geonp.designs import batch, lines, network
from geonp.designs.aim import Aim
from geonp.designs.ground import Ground
from geonp.designs.lines import Line
from geonp.designs.sites import Site
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import Summary, as_field, grid_shape, steps, summarise, warn_without_crs
from geonp.methods.covaried import Covaried
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.thresholds import note_threshold

__all__ = ["Line", "Site", "describe", "suggest", "suggest_lines"]


def suggest(
    field: xr.DataArray,
    n: int = 20,
    method: Kriging | Flagship | Covaried | None = None,
    *,
    mask: xr.DataArray | None = None,
    cost: xr.DataArray | None = None,
    min_distance: float = 0.0,
    threshold: float | None = None,
    stationary: bool = False,
) -> list[Site]:
    """Return the pixels whose observation takes most from the integrated variance, or saves most mistakes, best first.

    Sites are chosen one after another, each with those before it taken for observed, so that a batch does not crowd
    where one would do; then each is exchanged for the best one given all the others (`geonp.designs.batch`). How an
    observation lowers kriging's variance is exact (`geonp.kriging.update`): what it will say does not matter. It is
    followed on a lattice of a quarter of the distance between observations, and the best node refined to the pixel.

    Parameters
    ----------
    field : DataArray with two spatial dimensions and one band, NaN where not observed.
    n : how many sites.
    method : the kriging whose variance counts; a covariance is fitted where it has none. With a Flagship it is the
        network's own, which is asked again for a few candidates a site (`geonp.designs.network`). Errors of the
        observations that it was told (`geonp.with_errors`) count, and so does what is not known of the coefficients of
        its covariates (`geonp.with_covariates`, of kriging), which are dropped where they do not help.
    mask : on the field's grid; pixels that are not 0 cannot be surveyed. NaN is 0.
    cost : on the field's grid, positive; what counts is gain over cost. NaN cannot be surveyed.
    min_distance : least distance between sites, in metres (units of the coordinates without a CRS).
    threshold : in the units of the field; sites then lower the expected area on which the field is taken for higher
        than it and is not, or the reverse (`geonp.kriging.criteria`). None: the integrated variance.
    stationary : believe kriging's deviations as they are. Otherwise they are scaled, place by place, by how far
        observations lie from what the others predict and by how steep the map is (`geonp.designs.roughness`; not where
        it follows covariates), and rough ground gets more sites.

    Raises
    ------
    InputError
        If nothing was observed, there are fewer free pixels than sites, mask or cost do not fit the field, no pixel
        is in doubt about the threshold, or a covariate is not known everywhere.
    UsageError
        If there is to be no site, the field has several bands, or a network is given covariates.

    Warns
    -----
    GeonpWarning
        If the distance leaves room for fewer sites, or the threshold lies outside what was observed.
    """
    if n < 1:
        raise UsageError(f"{n} sites are none; ask for 1 or more (-n 20)")
    survey = _Survey.of(field, threshold, min_distance)
    ground = Ground.of(survey.field, steps(survey.field), mask, cost)
    if int(ground.free.sum()) < n:
        raise InputError(
            f"{n} sites are asked for, and {int(ground.free.sum())} of {ground.open.size} pixels are neither observed "
            "nor masked; ask for fewer (-n)"
        )
    method = _settled(method, survey.field)
    if isinstance(method, Flagship):
        found = _by_network(survey, method, ground, n, min_distance, threshold, stationary)
    else:
        aim = survey.aim(method or Kriging(), threshold, stationary)
        found = batch.choose(survey.field, aim, ground, n, min_distance)
    _note_room(len(found), n, min_distance, "sites")
    return found


def suggest_lines(
    field: xr.DataArray,
    n: int = 5,
    method: Kriging | Covaried | None = None,
    *,
    length: float | None = None,
    spacing: float | None = None,
    mask: xr.DataArray | None = None,
    cost: xr.DataArray | None = None,
    fixed_cost: float | None = None,
    min_distance: float = 0.0,
    threshold: float | None = None,
    stationary: bool = False,
) -> list[Line]:
    """Return the straight lines whose survey takes most from the integrated variance, or saves most mistakes.

    Every pixel on a line is observed at once, which is followed exactly, as a block. Lines are looked for in twelve
    directions, and the best ones turned and shifted (`geonp.designs.lines`).

    Parameters
    ----------
    field, method, mask, threshold, stationary : see `suggest`. No pixel of a line is masked.
    n : how many lines.
    length : of a line, in metres (units of the coordinates without a CRS); None: from edge to edge.
    spacing : metres between observations along a line; None: every pixel.
    cost : on the field's grid, positive, of a metre there.
    fixed_cost : of a line, beside that of its metres. Where it or `cost` is given, gain over cost counts; otherwise
        gain alone.
    min_distance : least distance between lines, in metres.

    Raises
    ------
    InputError
        See `suggest`; also if no such line lies on the raster, clear of the mask.
    UsageError
        If there is to be no line, or a length, spacing or cost is not positive.

    Warns
    -----
    GeonpWarning
        If there is room for fewer lines, or the threshold lies outside what was observed.
    """
    if n < 1:
        raise UsageError(f"{n} lines are none; ask for 1 or more (-n 5)")
    for name, value in (("--length", length), ("--spacing", spacing)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"a {name[2:]} of {value:g} m is impossible; give more than 0 ({name} 500)")
    if fixed_cost is not None and not (math.isfinite(fixed_cost) and fixed_cost >= 0):
        raise UsageError(f"a fixed cost of {fixed_cost:g} is impossible; give 0 or more (--fixed-cost 100)")
    survey = _Survey.of(field, threshold, min_distance)
    step = steps(survey.field)
    ground = Ground.of(survey.field, step, mask, cost)
    rows, cols = (abs(d) * (size - 1) for d, size in zip(step, grid_shape(survey.field), strict=True))
    pixel = min(map(abs, step))
    if length is not None and length > math.hypot(rows, cols):
        raise InputError(
            f"a line of {length:g} m is longer than the raster, which measures {rows:g} m by {cols:g} m; give a "
            "shorter --length, or none for lines from edge to edge"
        )
    if length is not None and length < pixel:
        raise InputError(
            f"a line of {length:g} m is shorter than a pixel ({pixel:g} m); give a longer --length"
        )
    kriging = _settled(method, survey.field)
    if isinstance(kriging, Flagship):
        raise UsageError("lines are chosen by kriging's variance; leave --method bundled out")
    aim = survey.aim(kriging or Kriging(), threshold, stationary)
    priced = cost is not None or fixed_cost is not None
    plan = lines.Plan(length, max(spacing or pixel, pixel), min_distance, fixed_cost or 0.0, priced)
    found = lines.choose(survey.field, aim, ground, n, plan)
    if not found:
        how = "from edge to edge" if length is None else f"of {length:g} m"
        raise InputError(
            f"no straight line {how} lies on the raster clear of the mask; give a shorter --length, or another --mask"
        )
    _note_room(len(found), n, min_distance, "lines")
    return found


@dataclass(frozen=True)
class _Survey:
    """A field (1, y, x) that sites can be suggested for, and what it has."""

    field: xr.DataArray
    summary: Summary

    @classmethod
    def of(cls, field: xr.DataArray, threshold: float | None, min_distance: float) -> _Survey:
        whole = as_field(field)
        if whole.sizes["band"] != 1:
            raise UsageError(
                f"sites are suggested for one band, the field has {whole.sizes['band']}; choose one (--band 1)"
            )
        if not (math.isfinite(min_distance) and min_distance >= 0):
            raise UsageError(
                f"a distance of {min_distance:g} is impossible; give 0 or more (--min-distance 500)"
            )
        warn_without_crs(whole)
        summary = summarise(whole)
        if not summary.observed[0]:
            raise InputError(
                "no pixel is observed: there is nothing to learn a covariance from; survey anywhere first"
            )
        if summary.observed[0] == summary.pixels:
            raise InputError("every pixel is observed: there is nothing left to survey")
        if summary.constant[0]:
            raise InputError(
                f"{summary.observed[0]} observations of {summary.minimum[0]:g} to {summary.maximum[0]:g} are too few, "
                "or too alike, to learn a covariance from; observe at least three different values first"
            )
        if threshold is not None:
            note_threshold(threshold, summary)
        return cls(whole, summary)

    def aim(self, method: Kriging, threshold: float | None, stationary: bool) -> Aim:
        return Aim.of(self.field, method.prepare(self.field), threshold, stationary, self.summary)


def _settled(method: Kriging | Flagship | Covaried | None, field: xr.DataArray) -> Kriging | Flagship | None:
    """Return the method that answers with those covariates that help."""
    if not isinstance(method, Covaried):
        return method
    found = method.settle(field).alone()
    if isinstance(found, Kriging | Flagship):
        return found
    raise UsageError(
        "the network is asked about sites without covariates, kriging takes them: leave --method "
        f"{method.name} out, or --covariate"
    )


def _by_network(
    survey: _Survey,
    method: Flagship,
    ground: Ground,
    n: int,
    min_distance: float,
    threshold: float | None,
    stationary: bool,
) -> list[Site]:
    ready = method.prepare(survey.field)
    if not network.answers(ready):
        alone = ready.groups[0].alone
        aim = survey.aim(Kriging() if alone is None else alone, threshold, stationary)
        return batch.choose(survey.field, aim, ground, n, min_distance)
    kriged = Kriging(covariance=network.covariance_of(ready).solver.covariance, errors=method.errors)
    aim = survey.aim(kriged, None, True)
    lattice = aim.gains.lattice
    believed = network.believer(survey.field, ready, lattice, threshold)
    prior = aim.gains.variance + kriged.prepare(survey.field).bands[0].solver.covariance.nugget
    variance = lattice.at_nodes(believed.variance)
    aim = aim.weighted(np.where(variance > 0, variance / prior, 0.0))
    return network.choose(survey.field, aim, ground, believed, n, min_distance)


def _note_room(found: int, n: int, min_distance: float, what: str) -> None:
    if found < n:
        warnings.warn(
            f"there is room for {found} {what} of the {n}: lower the least distance ({min_distance:g}), or ask for "
            "fewer",
            GeonpWarning,
            stacklevel=3,
        )


def describe(found: Sequence[Site] | Sequence[Line]) -> list[dict[str, float | int]]:
    """Return the sites or lines `found` as rows of a table."""
    return [asdict(one) for one in found]
