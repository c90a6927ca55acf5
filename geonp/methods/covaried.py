"""A method that is given covariates: those that help, in the way the method takes them."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.covariates import Laid, lay
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import Window
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.errors import errors_of
from geonp.methods.policy import Policy, check_policy
from geonp.methods.wrapped import Wrapped

if TYPE_CHECKING:
    from geonp.methods.selection import Selection


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
    if not given or (how == "never" and not method.reads_covariates):
        return method
    own = getattr(method, "seed", 0) if seed is None else seed
    return Covaried(base=method, rasters=given, policy=how, seed=own)


@dataclass(frozen=True, kw_only=True)
class Covaried(Wrapped):
    """A method, `base`, with covariates. Pixels at which a covariate in use is unknown are completed without any.

    Parameters
    ----------
    rasters, policy, seed : see `with_covariates`.
    laid : the covariates on the raster's own grid; `prepare` makes it, as the rest.
    selection : which of them are used.
    informed : the method that uses them; None where none is used.
    plain : the method without; None where it is never asked.
    """

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
    def bytes_a_pixel(self) -> int:  # type: ignore[override]
        """Bytes by each pixel read: those of the method that answers."""
        return self._answering[0].bytes_a_pixel

    @property
    def halo(self) -> int:
        """Pixels around a window that are read."""
        return max(method.halo for method in self._answering)

    @property
    def feather(self) -> int:
        """Pixels over which neighbouring windows are blended."""
        return max(method.feather for method in self._answering)

    def bytes_needed(self, window: int) -> int | None:
        """Return the memory that completing takes: as much as the method that answers does."""
        return self._answering[0].bytes_needed(window)

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
        from geonp.methods.selection import Selection, select

        laid = lay(self.rasters, field)
        if self.base.reads_covariates:
            from geonp.methods.flagship import Flagship  # it loads torch, which such a method has loaded

            reading = cast(Method, replace(cast(Any, self.base), covariates=laid))
            if isinstance(self.base, Flagship):
                return self._regressed(reading, field, laid)
            # It was trained with them: which help was settled then.
            chosen = Selection(tuple(range(len(laid.labels))))
            return replace(self, laid=laid, selection=chosen, informed=reading, plain=None)
        selection = select(laid.where_known(field), laid, self.policy, self.seed, errors_of(self.base))
        _report(selection)
        used = laid.only(selection.used)
        if not selection.used:
            return replace(self, laid=used, selection=selection, informed=None, plain=self.base)
        plain = self.base if used.holey else None
        return replace(
            self, laid=used, selection=selection, informed=_informed(self.base, used, self.seed), plain=plain
        )

    def _regressed(self, reading: Method, field: xr.DataArray, laid: Laid) -> Covaried:
        """Return the method of a network that corrects kriging: regression if it helps, and all covariates read."""
        from geonp.methods.regression import Regression
        from geonp.methods.selection import Selection, select

        if self.policy == "never":
            chosen = Selection(())
        else:
            chosen = select(laid.where_known(field), laid, self.policy, self.seed, errors_of(self.base))
            _report(chosen, "is read by the network, and left out of the regression")
        if not chosen.used:
            return replace(self, laid=laid, selection=chosen, informed=None, plain=reading)
        rest = Regression(base=reading, covariates=laid.only(chosen.used), seed=self.seed)
        plain = reading if laid.holey else None
        return replace(self, laid=laid, selection=chosen, informed=rest, plain=plain)

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
        known = self.known(place.given)
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

    def known(self, window: Window) -> NDArray[np.bool_]:
        """Return where (rows, columns) in a window all covariates in use are known, of a method that has settled."""
        assert self.laid is not None
        return np.asarray(np.isfinite(self.laid.window(window)).all(0), np.bool_)

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
    from geonp.methods.kriging import Kriging
    from geonp.methods.regression import Regression

    if isinstance(base, Kriging):
        if base.kind == "simple":
            raise UsageError("simple kriging knows its mean and takes no covariates; use --kind ordinary")
        known = (base.drift,) if isinstance(base.drift, xr.DataArray) else base.drift
        return replace(base, drift=(*known, laid.without_holes().rename(", ".join(laid.labels))))
    return Regression(base=base, covariates=laid, seed=seed)


def _report(selection: Selection, left_out: str = "is left out") -> None:
    """Say which covariates are left out."""
    for label, reason in selection.dropped:
        warnings.warn(
            f"the covariate {label} {left_out}: it {reason} (--covariate-policy always insists)",
            GeonpWarning,
            stacklevel=4,
        )
