"""Training tasks from a folder of rasters: any size, any spacing, holes included, larger than memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geonp.errors import InputError, MissingCRSWarning, UsageError
from geonp.field import Window, geobox, grid_shape, grid_spacing, load
from geonp.masks import Context, Mask, MaskKind, Mixture, draw_context
from geonp.scaling import Scaling, Standardise
from geonp.shares import Portion
from geonp.split import Cell, centre, crop, split_rasters
from geonp.tasks import Share, Task

Values = NDArray[np.float32]
DrawCell = Callable[[np.random.Generator], Cell]

_TRIES = 32
_OBSERVED_TRIES = 8
_GAP_TRIES = 8
_FEWEST_TO_STANDARDISE = 3
_FARTHEST = 25.0
_FLAT = 0.98
_SURVEYED_WINDOWS = 8
_SURVEYED_IN_ALL = 2048
# One stream of random numbers for each purpose, so that none shifts another.
_SPLIT, _SURVEY, _TRAINING, _VALIDATION, _HELD_OUT = range(5)


class TileSet:
    """Training and validation tasks, drawn from rasters that are read window by window.

    Every tile is a pure function of the seed, the step and its number in the batch, and safe to draw from
    several threads wherever reading the fields is: training resumes bit for bit, a batch can be prepared while
    another is in use, and processes that share a batch draw each their own tiles of it.

    Parameters
    ----------
    fields : rasters (band, y, x), lazy or not, of any size and spacing, all with as many bands. Pixels that
        are unknown in any band are neither seen nor scored.
    size : side of a tile in pixels. A raster with a shorter side stands in the middle of its tile, and what
        surrounds it is unknown.
    batch : tiles in a batch.
    context : how many of a tile's known pixels are seen.
    masks : which of them are; random ones by default.
    scaling : how values are normalised; by default each tile by its own context.
    seed : of every draw.
    augment : flip and turn training tiles at random (the pixel size follows). Leave it out for images that
        have a right way up.
    score_context : make every known pixel a target, those of the context too; else those outside it alone.
    donors : rasters whose gaps `MaskKind.GAPS` borrows; by default those of `fields` that have some.
    fewest_known : share of a tile that must be known.
    validation_tiles : tiles that `validation` holds.
    covariates : so many of the last bands of every field are covariates: given to the network everywhere, and not
        scored. Pixels at which one is unknown are neither seen nor scored.

    Raises
    ------
    InputError
        If there is no raster, their numbers of bands differ, or they have no room for two tiles.
    UsageError
        If a parameter is out of range, no raster has gaps to borrow, or so few pixels are to be seen that
        they have no spread to standardise by.

    Warns
    -----
    MissingCRSWarning
        Once, if rasters have no CRS: pixel sizes are then in the units of their coordinates.

    Notes
    -----
    A raster is drawn with the square root of its usable area as weight: a large mosaic counts for more than
    a small survey, and does not drown it. The usable share is estimated from up to eight windows a raster.

    A tile that is mostly unknown, or flat (98 % of it one value, such as the sea), is drawn anew, raster and
    all; after 32 draws the one with the most known pixels is taken. So is a tile with a pixel more than 25
    standard deviations of its context away, which standardising would turn into an absurd target; after
    eight of them, the last is taken without those pixels.
    """

    def __init__(
        self,
        fields: Sequence[xr.DataArray],
        size: int,
        batch: int,
        context: Context,
        masks: Mixture | None = None,
        scaling: Scaling | None = None,
        seed: int = 0,
        *,
        augment: bool = True,
        score_context: bool = False,
        donors: Sequence[xr.DataArray] = (),
        fewest_known: float = 0.5,
        validation_tiles: int = 64,
        covariates: int = 0,
    ) -> None:
        self.fields = tuple(fields)
        self.size = size
        self.batch_size = batch
        self.context = context
        self.masks = masks or Mixture()
        self.scaling: Scaling = scaling or Standardise()
        self.seed = seed
        self.augment = augment
        self.score_context = score_context
        self.fewest_known = fewest_known
        self.validation_tiles = validation_tiles
        self.covariates = covariates
        self._check()
        self.bands = _common_bands(self.fields) - covariates
        self._boxes = _geoboxes(self.fields)
        self._pixels = tuple(_bare(field) for field in self.fields)
        shapes = [grid_shape(field) for field in self.fields]
        self.split = split_rasters(shapes, size, self._stream(_SPLIT), self._usable)
        self._rasters = sorted({cell.raster for cell in self.split.training})
        usable, gappy = self._survey()
        weight = np.sqrt(usable * [shapes[i][0] * shapes[i][1] for i in self._rasters])
        self._upto = np.cumsum(weight / weight.sum())
        self._donors = tuple(donors) or tuple(self.fields[i] for i in gappy)
        if MaskKind.GAPS in self.masks.kinds and not self._donors:
            raise UsageError("no raster has gaps to borrow; give some that have (donors), or other masks")

    def batch(self, step: int) -> Task:
        """Return the training batch of one step: `batch` tiles, with masks and orientations of their own."""
        return self.draw(step, range(self.batch_size))

    def draw(self, step: int, numbers: range) -> Task:
        """Return the tiles of a step's batch that have these consecutive numbers."""
        task = self._task(
            [
                self._tile(self._stream(_TRAINING, step, number), self._training_cell, self.augment)
                for number in numbers
            ]
        )
        whole = len(numbers) == self.batch_size
        return task if whole else replace(task, share=Share(numbers.start, self.batch_size))

    def validation(self) -> list[Task]:
        """Return the validation tasks in batches, never turned; the same ones every time, read once."""
        return self._whole.validation()

    def validated(self, numbers: range) -> Task:
        """Return the validation tiles that have these numbers."""
        return self._task(
            [
                self._tile(self._stream(_VALIDATION, 0, number), self._validation_cell, augment=False)
                for number in numbers
            ]
        )

    def held_out(self, count: int) -> list[xr.DataArray]:
        """Return `count` loaded windows of the validation cells, whole but for their own gaps.

        They are what a trained model is compared with other methods on, and carry their covariates. Early
        stopping may have looked at the same cells under other masks; no gradient has.
        """
        rng = self._stream(_HELD_OUT)
        cells = [self._window(rng, self._validation_cell)[0] for _ in range(count)]
        return [load(self.fields[cell.raster], cell.window) for cell in cells]

    @property
    def spacing(self) -> tuple[float, float]:
        """Typical pixel size (dy, dx) in metres: the median over training rasters, each at its centre."""
        whole = [Cell(i, Window.whole(self.split.shapes[i])) for i in self._rasters]
        dy, dx = np.median([self._spacing(cell) for cell in whole], 0)
        return float(dy), float(dx)

    @cached_property
    def _whole(self) -> Portion:
        return Portion(self, 0, 1)

    def _stream(self, purpose: int, step: int = 0, number: int = 0) -> np.random.Generator:
        words = [self.seed, step, number]
        return np.random.default_rng(np.random.SeedSequence(words, spawn_key=(purpose,)))

    def _training_cell(self, rng: np.random.Generator) -> Cell:
        drawn = min(int(np.searchsorted(self._upto, rng.random(), side="right")), len(self._rasters) - 1)
        raster = self._rasters[drawn]
        return Cell(raster, self.split.training_window(raster, rng))

    def _validation_cell(self, rng: np.random.Generator) -> Cell:
        cell = self.split.validation[int(rng.integers(len(self.split.validation)))]
        return Cell(cell.raster, crop(cell.window, self.size, rng))

    def _window(self, rng: np.random.Generator, draw: DrawCell) -> tuple[Cell, Values]:
        """Return the first worthwhile window of 32, or the one of them with the most known pixels."""
        best, most = None, 0
        for _ in range(_TRIES):
            cell = draw(rng)
            values = self._read(cell)
            if self._worthwhile(values):
                return cell, values
            known = int(_known(values).sum())
            if known > most:
                best, most = (cell, values), known
        if best is None:
            raise InputError(
                f"{_TRIES} windows of {self.size} pixels, drawn from {len(self.fields)} rasters, "
                "have not one known pixel; check what the rasters mark as nodata"
            )
        return best

    def _tile(self, rng: np.random.Generator, draw: DrawCell, augment: bool) -> _Tile:
        for _ in range(_OBSERVED_TRIES):
            cell, values = self._window(rng, draw)
            tile = self._observe(rng, cell, values, augment)
            far = tile.far(self.bands)
            if not far.any() or not isinstance(self.scaling, Standardise):
                return tile
        # A copy: the values may be a view of the caller's own array.
        values = np.where(far, np.float32(np.nan), tile.values)
        return replace(tile, values=values, context=tile.context & ~far)

    def _observe(self, rng: np.random.Generator, cell: Cell, values: Values, augment: bool) -> _Tile:
        dy, dx = self._spacing(cell)
        values = self._canvas(values)
        if augment:
            quarters = int(rng.integers(4))
            values = np.rot90(values, quarters, (1, 2))
            dy, dx = (dx, dy) if quarters % 2 else (dy, dx)
            values = values[:, ::-1] if rng.random() < 0.5 else values
        known = _known(values)
        kind = self.masks.draw(rng)
        donor = self._gaps(rng) if kind is MaskKind.GAPS else None
        count = self.context.draw(rng, int(known.sum()))
        return _Tile(values, draw_context(kind, known, count, rng, donor), (dy, dx))

    def _gaps(self, rng: np.random.Generator) -> Mask:
        """Return the observed mask of a donor's window, with gaps and data both if eight draws find one."""
        for _ in range(_GAP_TRIES):
            donor = self._donors[int(rng.integers(len(self._donors)))]
            window = crop(Window.whole(grid_shape(donor)), self.size, rng)
            mask = _known(load(donor, window).to_numpy())
            if mask.any() and not mask.all():
                break
        return mask

    def _task(self, tiles: Sequence[_Tile]) -> Task:
        values = torch.from_numpy(np.stack([tile.values for tile in tiles]))
        context = torch.from_numpy(np.stack([tile.context for tile in tiles]))[:, None]
        known = values.isfinite().all(1, keepdim=True)
        values, beside = values[:, : self.bands], values[:, self.bands :]
        values = torch.where(known, values, 0)
        scaled = self.scaling.fit(values, context).apply(values)
        return Task(
            values=torch.where(known, scaled, 0),
            context=context.float(),
            target=(known if self.score_context else known & ~context).float(),
            spacing=torch.tensor([tile.spacing for tile in tiles]),
            covariates=beside if self.covariates else None,
        )

    def _read(self, cell: Cell) -> Values:
        return np.asarray(load(self._pixels[cell.raster], cell.window).to_numpy())

    def _canvas(self, values: Values) -> Values:
        """Return a window in the middle of a tile, unknown around it."""
        bands, rows, cols = values.shape
        if (rows, cols) == (self.size, self.size):
            return values
        canvas = np.full((bands, self.size, self.size), np.nan, np.float32)
        top, left = (self.size - rows) // 2, (self.size - cols) // 2
        canvas[:, top : top + rows, left : left + cols] = values
        return canvas

    def _spacing(self, cell: Cell) -> tuple[float, float]:
        box, window = self._boxes[cell.raster], cell.window
        if box is None:
            return 1.0, 1.0
        return grid_spacing(box[window.row : window.stop[0], window.col : window.stop[1]])

    def _worthwhile(self, values: Values) -> bool:
        known = _known(values)
        return bool(known.mean() >= self.fewest_known) and not _flat(values[: self.bands, known])

    def _usable(self, cell: Cell) -> bool:
        return self._worthwhile(self._read(Cell(cell.raster, centre(cell.window, self.size))))

    def _survey(self) -> tuple[NDArray[np.float64], list[int]]:
        """Return the usable share of each training raster, and which of the rasters have gaps.

        Sets of more rasters than can be looked at are taken to be all usable, and all to have gaps.
        """
        windows = min(_SURVEYED_WINDOWS, _SURVEYED_IN_ALL // len(self._rasters))
        if windows == 0:
            return np.ones(len(self._rasters)), self._rasters
        rng, usable, gappy = self._stream(_SURVEY), [], []
        for raster in self._rasters:
            cells = [Cell(raster, self.split.training_window(raster, rng)) for _ in range(windows)]
            known = float(np.mean([_known(self._read(cell)).mean() for cell in cells]))
            # One that shows nothing in a few windows may still have something elsewhere.
            usable.append(max(known, 0.5 / windows))
            if 0 < known < 1:
                gappy.append(raster)
        return np.asarray(usable), gappy

    def _check(self) -> None:
        if not self.fields:
            raise InputError("no raster was given to train on")
        for name, value in (
            ("size", self.size),
            ("batch", self.batch_size),
            ("validation_tiles", self.validation_tiles),
        ):
            if value < 1:
                raise UsageError(f"{name} is {value}; give 1 or more")
        if not 0 < self.fewest_known <= 1:
            raise UsageError(f"fewest_known is {self.fewest_known}; give a share in (0, 1]")
        fewest = self.context.count or round(self.context.low * self.size**2)
        if isinstance(self.scaling, Standardise) and fewest < _FEWEST_TO_STANDARDISE:
            raise UsageError(
                f"a context of {self.context} shows as few as {fewest} pixels of a tile of {self.size}, "
                "with no spread to standardise by; give a larger context, larger tiles or a fixed scaling"
            )


@dataclass(frozen=True, slots=True)
class _Tile:
    """A window on its canvas: values (C, size, size), NaN where unknown, its context and its pixel size."""

    values: Values
    context: Mask
    spacing: tuple[float, float]

    def far(self, bands: int) -> Mask:
        """Return the pixels that lie absurdly many deviations of the context away from its mean in some band."""
        values = self.values[:bands]
        seen = values[:, self.context].astype(np.float64)
        mean, std = seen.mean(1)[:, None, None], seen.std(1)[:, None, None]
        return np.asarray((np.abs(values - mean) > _FARTHEST * std).any(0))


def _bare(field: xr.DataArray) -> xr.DataArray:
    """Return `field` without coordinates and attributes, which cost more to cut than the pixels of a tile."""
    bare = field.drop_vars(list(field.coords))
    bare.attrs = {}
    return bare


def _known(values: Values) -> Mask:
    return np.asarray(np.isfinite(values).all(0))


def _flat(values: Values) -> bool:
    """Return whether every band (band, pixel) has one value at nearly all of its pixels."""
    middle = np.median(values, 1, keepdims=True)
    return bool(((values == middle).mean(1) > _FLAT).all())


def _common_bands(fields: Sequence[xr.DataArray]) -> int:
    """Return the number of bands that all rasters have."""
    bands = [field.sizes["band"] for field in fields]
    for number, other in enumerate(bands):
        if other != bands[0]:
            raise InputError(
                f"rasters must have the same bands: {_name(fields, 0)} has {bands[0]}, "
                f"{_name(fields, number)} has {other}; train on them separately, or select bands"
            )
    return bands[0]


def _geoboxes(fields: Sequence[xr.DataArray]) -> list[GeoBox | None]:
    boxes = [geobox(field) for field in fields]
    without = [number for number, box in enumerate(boxes) if box is None or box.crs is None]
    if without:
        warnings.warn(
            f"{len(without)} of {len(fields)} rasters have no coordinate reference system (the first is "
            f"{_name(fields, without[0])}): their pixel sizes are taken as they are, not in metres",
            MissingCRSWarning,
            stacklevel=3,
        )
    return boxes


def _name(fields: Sequence[xr.DataArray], number: int) -> str:
    field = fields[number]
    name = field.attrs.get("source") or field.encoding.get("source") or field.name
    return str(name) if name else f"raster {number + 1}"
