"""Methods whose scores are known, and rasters to score them on."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import xarray as xr

from geonp.errors import InputError
from geonp.evaluation import evaluate
from geonp.methods.base import Completed, Method, Place, Values
from geonp.scoreboard import Evaluation


@dataclass(frozen=True)
class Flat(Method):
    """The mean of what it sees, with the variance it is told; remembers what it was given."""

    name: ClassVar[str] = "flat"
    has_variance: ClassVar[bool] = True
    offset: float = 0.0
    variance: float = 4.0
    given: list = field(default_factory=list)

    @property
    def halo(self) -> int:
        return 10_000

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        self.given.append(values.copy())
        level = np.nanmean(values, axis=(1, 2), keepdims=True) + self.offset
        mean = np.broadcast_to(level, (len(values), *place.wanted.shape)).astype("f4")
        return Completed(mean, np.full_like(mean, self.variance))


@dataclass(frozen=True)
class Silent(Flat):
    name: ClassVar[str] = "silent"
    has_variance: ClassVar[bool] = False

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        return replace(super().complete(values, spacing, place), variance=None)


@dataclass(frozen=True)
class Broken(Flat):
    name: ClassVar[str] = "broken"

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        raise InputError("too steep") if self.offset else ZeroDivisionError("by zero")


def noise(
    shape: tuple[int, ...] = (40, 50), seed: int = 0, mean: float = 100.0, name: str | None = None
) -> xr.DataArray:
    values = np.random.default_rng(seed).normal(mean, 3, shape).astype("f4")
    coords = {"y": np.arange(shape[-2]) * -30.0, "x": np.arange(shape[-1]) * 30.0}
    dims = ("band", "y", "x")[-len(shape) :]
    return xr.DataArray(values, dims=dims, coords=coords, name=name).odc.assign_crs("EPSG:32611")


def two_rasters() -> Evaluation:
    rasters = {"low": noise(mean=0), "high|up": noise((30, 30), seed=1, mean=1000)}
    return evaluate(rasters, [Flat(), Flat(offset=4.0), Silent(offset=4.0)], context=0.5, reference="flat")


def holey(truth: xr.DataArray, share: float = 0.3) -> xr.DataArray:
    return truth.where(np.random.default_rng(5).random(truth.shape[-2:]) < share)
