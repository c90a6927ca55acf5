"""Square pieces of rasters: tiles to train on, and held-out crops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.benchmarks.images import Images
from geonp.errors import InputError
from geonp.field import Window, as_field, grid_shape, load
from geonp.scaling import Standardise
from geonp.split import crop

SIDE = 64
TRAINED, TESTED = 4096, 512

_TRIES = 64
_FLAT = 0.5


def crops(
    fields: Mapping[str, xr.DataArray], side: int, count: int, seed: int
) -> list[tuple[str, xr.DataArray]]:
    """Return `count` loaded crops with the name of their raster, the same number of each raster or one more.

    A crop is known all over, and less than half of it is one value (the sea, a lake).

    Raises
    ------
    InputError
        If 64 draws from a raster find no such crop for any of them.
    """
    rng = np.random.default_rng([seed, side])
    fields = {name: as_field(field) for name, field in fields.items()}
    found: list[tuple[str, xr.DataArray]] = []
    usable = [name for name, field in fields.items() if min(grid_shape(field)) >= side]
    while len(found) < count:
        before = len(found)
        for name in list(usable):
            one = _crop(fields[name], side, rng)
            if one is None:
                usable.remove(name)
            elif len(found) < count:
                found.append((name, one))
        if len(found) == before:
            raise InputError(f"{len(fields)} rasters have no crop of {side} x {side} pixels without holes")
    return found


def as_images(
    name: str,
    train: Mapping[str, xr.DataArray],
    validation: Mapping[str, xr.DataArray],
    source: str,
    seed: int = 0,
) -> Images:
    """Return tiles of 64 x 64 pixels of one band, networks' scale being that of each tile's own context."""
    learnt = crops(train, SIDE, TRAINED, seed)
    tested = crops(validation, SIDE, TESTED, seed)
    # Neighbours in a batch, and in what is kept for validation, come from different rasters.
    order = np.random.default_rng(seed).permutation(len(learnt))
    told = f"{source}; {len(learnt)} tiles of {len(train)} rasters to train, {len(tested)} of {len(validation)} to test"
    return Images(name, _stack([learnt[i] for i in order]), _stack(tested), None, Standardise(), told)


def _crop(field: xr.DataArray, side: int, rng: np.random.Generator) -> xr.DataArray | None:
    for _ in range(_TRIES):
        window = crop(Window.whole(grid_shape(field)), side, rng)
        one = load(field, window)
        values = one.to_numpy()
        if np.isfinite(values).all() and not _flat(values):
            return one
    return None


def _flat(values: NDArray[np.float32]) -> bool:
    _, counts = np.unique(values, return_counts=True)
    return bool(counts.max() > _FLAT * values.size)


def _stack(found: list[tuple[str, xr.DataArray]]) -> NDArray[np.float32]:
    return np.stack([one.to_numpy()[:1] for _, one in found])
