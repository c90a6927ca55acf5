"""Fields whose pixels are read when and where they are asked for."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from geonp.field import DIMS

Values = NDArray[np.float32]


class LazyGrid(BackendArray, abc.ABC):
    """A source of pixels (band, y, x), float32, NaN where not observed; subclasses read rectangles of it."""

    dtype = np.dtype(np.float32)
    shape: tuple[int, ...] = (0, 0, 0)

    @abc.abstractmethod
    def read(self, bands: range, rows: range, cols: range) -> Values:
        """Return the pixels of these bands, rows and columns; none is empty, and every step is positive."""

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Return the pixels selected; xarray calls this when they are needed."""
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self._select)

    def _select(self, key: tuple[int | slice, ...]) -> Values:
        slices = [k if isinstance(k, slice) else slice(k, k + 1) for k in key]
        asked = [range(n)[k] for k, n in zip(slices, self.shape, strict=True)]
        if min(map(len, asked)) == 0:
            out = np.empty([len(r) for r in asked], np.float32)
        else:
            bands, rows, cols = (r if r.step > 0 else r[::-1] for r in asked)
            turned = tuple(slice(None, None, 1 if r.step > 0 else -1) for r in asked)
            out = self.read(bands, rows, cols)[turned]
        return out[tuple(slice(None) if isinstance(k, slice) else 0 for k in key)]

    def field(
        self, coords: Mapping[Any, Any], attrs: Mapping[str, Any], name: str | None, source: str
    ) -> xr.DataArray:
        """Return the field of these pixels, unread; `encoding["source"]` says where they come from."""
        variable = xr.Variable(DIMS, indexing.LazilyIndexedArray(self))
        out = xr.DataArray(variable, coords=coords, name=name, attrs=dict(attrs))
        out.encoding["source"] = source
        return out


def as_slice(indices: range) -> slice:
    """Return the slice that selects `indices`."""
    return slice(indices.start, indices.stop, indices.step)
