"""Completion of dask arrays: dask in, dask out, nothing computed until it is asked for.

The graph is geonp's own and not `dask.array.map_overlap`, which gives a function neither the place of a block in
its raster nor what the whole raster teaches, and wants to know the halo before anything was computed. It has four
parts.

- *Pack*: every block is read once; its observed pixels are kept until the windows around it are done.
- *Learn*: the packs are merged in a tree, and one task prepares the method from them. Of a raster with more
  observations than `_LEARNT` bytes hold, those of a sample of blocks are learnt from.
- *Windows*: of about `tile` pixels, made of whole blocks or parts of large ones. Each is given its packs and those
  around it, and takes from them the halo that the prepared method turned out to have.
- *Blocks*: the results in the chunks of the array given, feathered where the method asks for it.
"""

from __future__ import annotations

import dataclasses
import sys
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.blend import Layers, ramp
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import Window, as_field, grid_shape
from geonp.methods.base import Method
from geonp.mosaic import Cuts, Mosaic, Piece, between, cells, cut, edges_of, overlap
from geonp.predict import DEFAULT_TILE, Completion, begin, check_request
from geonp.predict import complete as complete_in_memory

if TYPE_CHECKING:
    import dask.array as da

_REACH = 512
"""Pixels around a window whose blocks it is given, where a method's halo is known only once it is prepared."""
_LEARNT = 1 << 30
"""Bytes of packed observations from which a method learns at most."""
_MERGED = 16

Graph = dict[Any, Any]


def complete(
    field: xr.DataArray,
    method: Method,
    *,
    variance: bool = True,
    status: bool = False,
    tile: int | None = None,
    memory: int | None = None,
    keep_observed: bool = True,
) -> xr.Dataset:
    """Complete a field: in memory, or, where it is a dask array, as dask arrays that are computed when asked.

    Parameters
    ----------
    field : DataArray with two spatial dimensions, NaN where not observed; other dimensions are bands. It may
        be lazy; it is read window by window.
    method : how to complete it (`geonp.methods.choose.choose`, or an object of one of the classes).
    variance : whether the variance is wanted.
    status : whether to add `status` (uint8: 0 masked, 1 observed, 2 interpolated, 3 extrapolated).
    tile : side in pixels of the windows, no smaller than the method's grain (`Method.grain`); None takes what suits the
        method and fits into the memory. Chunks of a dask array are put together, or cut, to about that size, 1024 if
        None.
    memory : bytes that the program may take in all, beside the result; None is what it has, and a quarter of what is
        free, 1.5 GB at most. It is for those who run a dask array to see to theirs.
    keep_observed : return observed pixels as they were, with variance 0, or as the method predicts them. Those whose
        error is stated (`Kriging(errors=...)`) and not 0 are estimated in any case.

    Returns
    -------
    Dataset
        `mean` in the units of the field and `variance` in their square, dimensions (band, y, x), on the
        field's own coordinates; of a dask array, dask arrays in its chunks.

    Raises
    ------
    InputError
        If nothing was observed; of a dask array, when it is computed.
    MethodError
        If a variance is wanted of a method without one.
    UsageError
        If `memory` is given and is not enough.
    """
    field = as_field(field)
    if not _is_dask(field):
        return complete_in_memory(
            field,
            method,
            variance=variance,
            status=status,
            tile=tile,
            memory=memory,
            keep_observed=keep_observed,
        )
    check_request(method, variance=variance, tile=tile)
    layers = ["mean", *(["variance"] if variance else []), *(["status"] if status else [])]
    request = _Request(method, variance, tile or DEFAULT_TILE, keep_observed)
    arrays = _graph(field, request, layers)
    return xr.Dataset(
        {name: xr.DataArray(array, coords=field.coords, dims=field.dims) for name, array in arrays.items()}
    )


def _is_dask(array: xr.DataArray) -> bool:
    """Return whether an array is a dask array."""
    return array.chunks is not None


@dataclass(frozen=True, slots=True)
class _Request:
    """How a field is to be completed; see `geonp.predict.begin`."""

    method: Method
    variance: bool
    tile: int
    keep_observed: bool

    @property
    def reach(self) -> int:
        """Pixels around a window that it is given: no fewer than the method's halo, if that is known yet."""
        learns = type(self.method).prepare is not Method.prepare
        return max(self.method.halo, _REACH if learns else 0)


@dataclass(frozen=True, slots=True)
class Sample:
    """Packed blocks of a raster: all, or those with the lowest ranks that fit into `limit` bytes.

    Parameters
    ----------
    ranked : pairs of a block's rank, drawn at random once for all, and the block.
    limit : bytes.
    below : the lowest rank that was left out; the number of blocks where none was.
    """

    ranked: tuple[tuple[int, Piece], ...]
    limit: int
    below: int

    @classmethod
    def of(cls, ranks: Sequence[int], limit: int, blocks: int, pieces: Sequence[Piece]) -> Sample:
        """Return the sample of some of the `blocks` of a raster."""
        return cls.merged([cls((pair,), limit, blocks) for pair in zip(ranks, pieces, strict=True)])

    @classmethod
    def merged(cls, parts: Sequence[Sample]) -> Sample:
        """Return the sample of all that the parts were drawn from."""
        below, total = min(part.below for part in parts), 0
        kept: list[tuple[int, Piece]] = []
        for rank, piece in sorted((pair for part in parts for pair in part.ranked), key=lambda pair: pair[0]):
            total += piece.nbytes
            if rank >= below or (kept and total > parts[0].limit):
                below = min(below, rank)
                break
            kept.append((rank, piece))
        return cls(tuple(kept), parts[0].limit, below)


@dataclass(frozen=True, slots=True)
class _Learned:
    """What is ready to complete any window.

    Parameters
    ----------
    ready : the method prepared; its field has the raster's coordinates, and no pixels.
    feather : pixels of blending.
    everywhere : all observed pixels, where the method reaches farther than the blocks around a window do.
    """

    ready: Completion
    feather: int
    everywhere: tuple[Piece, ...] = ()

    def window(self, inner: Window, pieces: Sequence[Piece]) -> Layers:
        """Complete a window, and the feather around it, from pieces of the raster."""
        field = self.ready.field
        here = Mosaic(field.shape, (*self.everywhere, *pieces)).on_grid_of(field)
        return replace(self.ready, field=here).completer()(inner.grow(self.feather, grid_shape(field)))


# What the tasks of the graph do.


def _learn(request: _Request, coordinates: xr.DataArray, blocks: int, wired: int, sample: Sample) -> _Learned:
    """Prepare the method; notes of a distributed worker are sent to its client."""
    shape = coordinates.shape
    pieces = tuple(piece for _, piece in sorted(sample.ranked, key=lambda pair: _corner(pair[1].window)))
    with _notes_to_client():
        ready = begin(
            Mosaic(shape, pieces).on_grid_of(coordinates),
            request.method,
            variance=request.variance,
            tile=request.tile,
            keep_observed=request.keep_observed,
        )
    halo, feather = (0, 0) if ready.method is None else (ready.method.halo, ready.method.feather)
    ready, feather = replace(ready, field=coordinates), min(feather, wired)
    if halo <= request.reach:
        return _Learned(ready, feather)
    if sample.below < blocks:
        raise UsageError(
            f"method '{request.method.name}' reads {halo} pixels around a window of this raster, and "
            f"{request.reach} were foreseen; give it prepared: method=method.prepare(geonp.field.as_field(array))"
        )
    return _Learned(ready, feather, pieces)


def _complete(learned: _Learned, inner: Window, pieces: list[Piece]) -> Layers:
    return learned.window(inner, pieces)


def _block(
    name: str, chunk: Window, bands: slice, feather: int, inner: list[Window], parts: list[Layers]
) -> NDArray[Any]:
    """Return a chunk of one layer from the windows that it lies in; see `geonp.blend`."""
    arrays = [part.arrays()[name][bands] for part in parts]
    out = np.zeros((len(arrays[0]), *chunk.shape))
    weight = np.zeros(chunk.shape)
    for window, part, values in zip(inner, parts, arrays, strict=True):
        common = overlap(part.window, chunk)
        if common is None:
            continue
        here, there = common.within(chunk), common.within(part.window)
        if name == "status":  # windows agree on it
            out[:, *here], weight[here] = values[:, *there], 1
            continue
        share = ramp(window, part.window, feather)[there]
        weight[here] += share
        out[:, *here] += share * values[:, *there]
    return np.asarray(out / weight, arrays[0].dtype)


def _graph(field: xr.DataArray, request: _Request, layers: Sequence[str]) -> dict[str, da.Array]:
    """Return the layers as dask arrays in the chunks of the field."""
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    bands, *chunks = field.data.chunks
    if any(np.isnan(size) for sizes in (bands, *chunks) for size in sizes):
        raise InputError(
            "the sizes of the array's chunks are unknown; call compute_chunk_sizes() on its data first"
        )
    data = field.data.rechunk({0: -1})
    plan = _Plan(
        grid_shape(field),
        (edges_of(chunks[0]), edges_of(chunks[1])),
        (cut(chunks[0], request.tile), cut(chunks[1], request.tile)),
        request,
    )
    window = f"geonp-window-{plan.token}"
    tasks = plan.pack(data.name) | plan.learn(Mosaic(field.shape, ()).on_grid_of(field)) | plan.windows()
    shared = HighLevelGraph.from_collections(window, tasks, dependencies=[data])
    out = {}
    for name in layers:
        layer = f"geonp-{name}-{plan.token}"
        graph = HighLevelGraph(
            {**shared.layers, layer: plan.blocks(name, edges_of(bands))},
            {**shared.dependencies, layer: {window}},
        )
        dtype = np.uint8 if name == "status" else np.float32
        out[name] = da.Array(graph, layer, field.data.chunks, dtype=dtype)
    return out


@dataclass(frozen=True)
class _Plan:
    """The tasks of a graph.

    Parameters
    ----------
    shape : rows and columns of the raster.
    edges : where its blocks begin and end, down and across.
    cuts : where windows do.
    request : how it is to be completed.
    token : what makes the tasks' names unique. Not a hash: to hash a method may be to read the rasters it holds.
    """

    shape: tuple[int, int]
    edges: tuple[Cuts, Cuts]
    cuts: tuple[Cuts, Cuts]
    request: _Request
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def feather(self) -> int:
        """Pixels of blending: half of the narrowest window at most, the last ones apart; see `geonp.blend`."""
        if all(len(edges) == 2 for edges in self.cuts):
            return 0
        narrowest = [b - a for edges in self.cuts for a, b in pairwise(edges[:-1])]
        return min([self.request.method.feather, *(size // 2 for size in (self.request.tile, *narrowest))])

    def pack(self, source: str) -> Graph:
        """Return the tasks that read the blocks of the array `source`."""
        packs = self._packs(cells(self.edges))
        places = cells(self.edges).items()
        return {
            key: (Piece.packed, window, (source, 0, *at))
            for key, (at, window) in zip(packs, places, strict=True)
        }

    def learn(self, coordinates: xr.DataArray) -> Graph:
        """Return the tasks that prepare the method from the packs."""
        level: list[Any] = self._packs(cells(self.edges))
        count, depth = len(level), 0
        tasks: Graph = {}
        ranks = np.random.default_rng(0).permutation(count).tolist()
        while depth == 0 or len(level) > 1:
            groups = [slice(start, start + _MERGED) for start in range(0, len(level), _MERGED)]
            keys = [(f"geonp-merge-{self.token}", depth, number) for number in range(len(groups))]
            for key, group in zip(keys, groups, strict=True):
                if depth == 0:
                    tasks[key] = (Sample.of, ranks[group], _LEARNT, count, level[group])
                else:
                    tasks[key] = (Sample.merged, level[group])
            level, depth = list(keys), depth + 1
        return {**tasks, self._learned: (_learn, self.request, coordinates, count, self.feather, level[0])}

    def windows(self) -> Graph:
        """Return the tasks that complete the windows."""
        reach = self.feather + self.request.reach
        return {
            key: (_complete, self._learned, inner, self._packs(self._around(inner, reach, self.edges)))
            for key, inner in zip(self._windows(cells(self.cuts)), cells(self.cuts).values(), strict=True)
        }

    def blocks(self, name: str, bands: Cuts) -> Graph:
        """Return the tasks that cut blocks of one layer out of the windows."""
        tasks: Graph = {}
        for at, block in cells(self.edges).items():
            near = self._around(block, self.feather, self.cuts)
            keys, inner = self._windows(near), list(near.values())
            for number, (start, stop) in enumerate(pairwise(bands)):
                task = (_block, name, block, slice(start, stop), self.feather, inner, keys)
                tasks[f"geonp-{name}-{self.token}", number, *at] = task
        return tasks

    @property
    def _learned(self) -> str:
        return f"geonp-learn-{self.token}"

    def _packs(self, places: Iterable[tuple[int, int]]) -> list[Any]:
        return [(f"geonp-pack-{self.token}", *at) for at in places]

    def _windows(self, places: Iterable[tuple[int, int]]) -> list[Any]:
        return [(f"geonp-window-{self.token}", *at) for at in places]

    def _around(self, window: Window, margin: int, edges: tuple[Cuts, Cuts]) -> dict[tuple[int, int], Window]:
        return between(window.grow(margin, self.shape), *edges)


@contextmanager
def _notes_to_client() -> Iterator[None]:
    """Send what is noted within it to the client, where this is a task of a distributed worker."""
    distributed = sys.modules.get("distributed")
    try:
        if distributed is None:
            raise ValueError
        distributed.get_worker()
    except ValueError:  # no worker: notes are seen where they arise
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeonpWarning)
        yield
    for note in caught:
        distributed.worker.warn(str(note.message), note.category)


def _corner(window: Window) -> tuple[int, int]:
    return window.row, window.col
