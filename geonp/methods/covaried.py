"""A method that is given covariates: those that help, in the way the method takes them."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.covariates import Laid, lay
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.kriging import Kriging
from geonp.methods.neural import Neural
from geonp.methods.regression import Regression
from geonp.methods.selection import Policy, Selection, check_policy, select


def with_covariates(
    method: Method,
    rasters: xr.DataArray | Sequence[xr.DataArray],
    policy: str = "auto",
    seed: int | None = None,
) -> Method:
    """Return the method that uses covariates: rasters that a field follows.

    Parameters
    ----------
    method : any. Kriging takes covariates as its external drift, a network that was trained with covariates reads
        them; what another method completes is the rest of a regression on them (`geonp.methods.regression`).
    rasters : one or several; each band is a covariate. They need not lie on the grid of what is completed.
    policy : `auto` drops covariates that do not help on hidden observations (`geonp.methods.selection`),
        `always` uses all, `never` none.
    seed : of which observations are hidden; the method's own (or 0) where None.

    Returns
    -------
    Method
        The method given where there are no covariates, or the policy is `never`.

    Raises
    ------
    UsageError
        If there is no such policy.

    Examples
    --------
    `geonp.complete(stations, geonp.with_covariates(Kriging(), dem))`
    """
    how = check_policy(policy)
    given = (rasters,) if isinstance(rasters, xr.DataArray) else tuple(rasters)
    if not given or how == "never":
        return method
    own = getattr(method, "seed", 0) if seed is None else seed
    return Covaried(base=method, rasters=given, policy=how, seed=own)


@dataclass(frozen=True, kw_only=True)
class Covaried(Method):
    """A method with covariates. Pixels at which a covariate in use is unknown are completed without any.

    Parameters
    ----------
    base : the method.
    rasters, policy, seed : see `with_covariates`.
    laid : the covariates on the raster's own grid; `prepare` makes it, as the rest.
    selection : which of them are used.
    informed : the method that uses them; None where none is used.
    plain : the method without; None where it is never asked.
    """

    base: Method
    rasters: tuple[xr.DataArray, ...] = field(repr=False, compare=False)
    policy: Policy = "auto"
    seed: int = 0
    laid: Laid | None = field(default=None, repr=False, compare=False)
    selection: Selection | None = None
    informed: Method | None = field(default=None, repr=False, compare=False)
    plain: Method | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the base."""
        return self.base.name

    @property
    def has_variance(self) -> bool:  # type: ignore[override]
        """Whether the base has one."""
        return self.base.has_variance

    @property
    def joint(self) -> bool:
        """Whether the base completes bands together."""
        return self.base.joint

    @property
    def halo(self) -> int:
        """Pixels around a window that are read."""
        return max(method.halo for method in self._answering)

    @property
    def feather(self) -> int:
        """Pixels over which neighbouring windows are blended."""
        return max(method.feather for method in self._answering)

    @property
    def filters(self) -> bool:
        """Whether the base knows errors of the observations."""
        return self.base.filters

    def of_bands(self, bands: Sequence[int], count: int) -> Self:
        """Return the method for some bands of a raster alone."""
        return replace(self, base=self.base.of_bands(bands, count))

    def smoothed(self) -> Self:
        """Return the method that estimates observed pixels too."""
        return replace(self, base=self.base.smoothed())

    def settle(self, field: xr.DataArray) -> Covaried:
        """Return the method with the covariates laid on `field` and chosen, and nothing learnt yet.

        Raises
        ------
        InputError
            See `geonp.covariates.lay` and `geonp.methods.selection.select`.

        Warns
        -----
        GeonpWarning
            Where covariates are dropped, resampled, filled, or unknown at some pixels.
        """
        laid = lay(self.rasters, field)
        if _reads(self.base):  # it was trained with them: which help was settled then
            return replace(
                self,
                laid=laid,
                selection=Selection(tuple(range(len(laid.labels)))),
                informed=_informed(self.base, laid, self.seed),
                plain=None,
            )
        selection = select(laid.where_known(field), laid, self.policy, self.seed)
        _report(selection)
        used = laid.only(selection.used)
        if not selection.used:
            return replace(self, laid=used, selection=selection, informed=None, plain=self.base)
        plain = self.base if used.holey else None
        return replace(
            self, laid=used, selection=selection, informed=_informed(self.base, used, self.seed), plain=plain
        )

    def prepare(self, field: xr.DataArray) -> Self:
        """Choose among the covariates, and prepare the method that uses them; see `settle`."""
        settled = self.settle(field)
        assert settled.laid is not None
        informed, plain = settled.informed, settled.plain
        return replace(
            self,
            laid=settled.laid,
            selection=settled.selection,
            informed=None if informed is None else informed.prepare(settled.laid.where_known(field)),
            plain=None if plain is None else plain.prepare(field),
        )

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        """Complete the wanted pixels; see `Method.complete`."""
        if self.informed is None:
            assert self.plain is not None
            return self.plain.complete(values, spacing, place)
        if self.plain is None:
            return self.informed.complete(values, spacing, place)
        assert self.laid is not None
        known = np.asarray(np.isfinite(self.laid.window(place.given)).all(0), np.bool_)
        here = known[place.inside]
        if not here.any():
            return self.plain.complete(values, spacing, place)
        told = self.informed.complete(np.where(known, values, np.float32(np.nan)), spacing, place)
        if here.all():
            return told
        other = self.plain.complete(values, spacing, place)
        return Completed(
            np.where(here, told.mean, other.mean),
            _either(here, told.variance, other.variance),
            _either(here, told.errors, other.errors),
        )

    def describe(self) -> dict[str, str]:
        """Return what the method that answers says, and which covariates are used, dropped, and how they help."""
        told = self._answering[0].describe()
        told["covariate_policy"] = self.policy
        if self.selection is None or self.laid is None:
            return told
        told["covariates"] = ", ".join(self.laid.labels) or "none"
        if self.selection.dropped:
            told["covariates_dropped"] = ", ".join(label for label, _ in self.selection.dropped)
        if math.isfinite(self.selection.gain):
            told["covariates_gain"] = f"{self.selection.gain:.4f}"
            told["covariates_trial"] = json.dumps(
                {
                    "hidden": self.selection.hidden,
                    "crps_without": float(f"{self.selection.without:.6g}"),
                    "crps_with": float(f"{self.selection.beside:.6g}"),
                }
            )
        if self.laid.holey:
            told["covariates_unknown"] = f"{max(self.laid.unknown):.4f}"
        return told

    def alone(self) -> Method:
        """Return the one method that answers everywhere, of a method that has settled.

        Raises
        ------
        InputError
            If some pixels would be answered without covariates, and others with them.
        """
        if len(self.answering) != 1:
            raise InputError(
                "a covariate is unknown at some pixels, so that two methods would answer; fill it, or leave it out"
            )
        return self.answering[0]

    @property
    def answering(self) -> tuple[Method, ...]:
        """The prepared methods that answer, the one with covariates first."""
        return tuple(m for m in (self.informed, self.plain) if m is not None)

    @property
    def _answering(self) -> tuple[Method, ...]:
        return self.answering or (self.base,)


def _either(here: NDArray[np.bool_], one: Values | None, other: Values | None) -> Values | None:
    return None if one is None or other is None else np.where(here, one, other)


def _informed(base: Method, laid: Laid, seed: int) -> Method:
    """Return `base` with covariates, in the way it takes them."""
    if isinstance(base, Kriging):
        if base.kind == "simple":
            raise UsageError("simple kriging knows its mean and takes no covariates; use --kind ordinary")
        known = (base.drift,) if isinstance(base.drift, xr.DataArray) else base.drift
        return replace(base, drift=(*known, laid.without_holes().rename(", ".join(laid.labels))))
    if isinstance(base, Neural) and _reads(base):
        return replace(base, covariates=laid)
    return Regression(base=base, covariates=laid, seed=seed)


def _reads(method: Method) -> bool:
    """Return whether a method is a network that was trained with covariates."""
    return isinstance(method, Neural) and method.model.covariates > 0


def _report(selection: Selection) -> None:
    """Say which covariates are left out."""
    for label, reason in selection.dropped:
        warnings.warn(
            f"the covariate {label} is left out: it {reason} (--covariate-policy always insists)",
            GeonpWarning,
            stacklevel=4,
        )
