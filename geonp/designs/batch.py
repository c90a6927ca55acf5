"""A batch of sites: chosen one by one, then each exchanged for a better one given all the others.

The first site that is chosen knows nothing of those that will follow. Each is therefore taken back once the batch is
whole, and goes where it is worth most now (the exchange algorithm of Fedorov 1972, Theory of Optimal Experiments, with
all pixels to choose from). Where all sites cost the same, what a batch is worth never falls by it. The sites that
remain are ranked in the end as they were chosen: the best first, each given those before it.

Measured on 9 crops of terrain (50 observations, 50 sites, all dense algebra): once around, 2.2 % less of the integrated
variance is left, three times around 2.7 %. Once it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.designs import sites
from geonp.designs.aim import Aim
from geonp.designs.ground import Ground
from geonp.designs.sites import Site
from geonp.kriging.gains import Gains

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_PASSES = 1
_BETTER = 1 + 1e-6


def choose(field: xr.DataArray, aim: Aim, ground: Ground, n: int, distance: float) -> list[Site]:
    """Return up to `n` sites at least `distance` metres apart; fewer where there is no room.

    Parameters are those of `geonp.designs.sites.choose`.
    """
    fresh = replace(ground, seen=ground.seen.copy(), open=ground.open.copy())
    found = sites.choose(field, aim, ground, n, distance)
    first = np.array([(site.row, site.col) for site in found], np.int64).reshape(-1, 2)
    batch = exchange(aim.gains, fresh, first, distance)
    if np.array_equal(batch, first):
        return found
    aim.gains.release(batch)
    among = np.zeros_like(fresh.open)
    among[tuple(batch.T)] = True
    return sites.choose(field, aim, replace(fresh, open=among), len(batch), 0.0)


def exchange(gains: Gains, ground: Ground, batch: Index, distance: float) -> Index:
    """Return the sites (n, 2) into which `batch` (n, 2) turns, each at its best given the others.

    Parameters
    ----------
    gains : in which the batch is observed; those returned are, when it is done.
    ground : where one could go before anything of the batch was observed.
    distance : least distance in metres between sites.
    """
    batch = batch.copy()
    for _ in range(_PASSES if len(batch) > 1 else 0):
        moved = [_exchanged(gains, ground, batch, i, distance) for i in range(len(batch))]
        if not any(moved):
            break
    return batch


def _exchanged(gains: Gains, ground: Ground, batch: Index, i: int, distance: float) -> bool:
    """Move site `i` of a batch to where it is worth most; return whether that is elsewhere."""
    own, others = batch[i : i + 1].copy(), np.delete(batch, i, 0)
    left = replace(ground, seen=ground.seen.copy(), open=ground.open.copy())
    left.seen[tuple(others.T)] = True
    left.close(others[:, 0], others[:, 1], distance)
    before = gains.release(own)
    found = sites.best(gains, left.free, ground.price)
    assert found is not None  # its own pixel is free
    row, col, gain, _ = found
    prices = (1.0, 1.0) if ground.price is None else (ground.price[row, col], ground.price[tuple(own[0])])
    if gain / prices[0] <= _BETTER * gains.at(*own.T)[0][0] / prices[1]:
        gains.restore(own, before)
        return False
    batch[i] = row, col
    gains.take(batch[i : i + 1])
    return True
