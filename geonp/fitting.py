"""From a folder of rasters to a model file: tiles, a network, a training run, a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from geonp.covariates import Covariates, beside
from geonp.errors import GeonpWarning, InputError, ModelError, OutputError, UsageError
from geonp.field import as_field, geobox, grid_spacing
from geonp.io.checkpoint import Checkpoint, Trained, read_checkpoint, write_checkpoint
from geonp.kriged_tiles import FRESH, KrigedTiles
from geonp.masks import parse_context, parse_masks
from geonp.methods.base import Method
from geonp.methods.choose import load
from geonp.methods.flagship import BUNDLED
from geonp.methods.neural import as_checkpoint
from geonp.models import ARCHITECTURES, config_from, create, resolve, restore
from geonp.models.base import Model
from geonp.models.convcnp import ConvCNP, ConvConfig
from geonp.models.kriged import KrigedConfig, KrigedIFANP, widened
from geonp.shares import Batches
from geonp.tiles import TileSet
from geonp.training import Options, Record, Training

_BATCHES_MEASURED = 8
"""Batches whose covariates say how all are scaled."""


@dataclass(frozen=True)
class Recipe:
    """What is trained on what.

    Parameters
    ----------
    architecture : a name of `geonp.models.ARCHITECTURES` or `geonp.models.PRESETS`.
    config : settings of the architecture that differ from its defaults, by name.
    context : how many pixels of a tile are seen (see `geonp.masks.parse_context`).
    masks : which ones, as kinds with weights: `random`, `random:3,swaths,blocks`.
    tile : side of a tile in pixels.
    batch : tiles in a batch, which all processes and parts share.
    augment : flip and turn tiles.
    """

    architecture: str = "ifanp"
    config: Mapping[str, object] = field(default_factory=dict)
    context: str = "0.125"
    masks: str = "random"
    tile: int = 32
    batch: int = 8
    augment: bool = True


class Fitting:
    """A training run on rasters.

    Parameters
    ----------
    rasters : fields (band, y, x), lazy or not, all with as many bands.
    recipe : what is trained on what.
    options : how long, how fast, where.
    start : model file to start from, or `bundled` for the one of the package; its architecture and settings
        replace the recipe's. A `kriged-ifanp` that reads no covariates is widened for those that are given: it
        starts as if there were none.
    covariates : of every raster the rasters that the network reads beside it (`convcnp` and `kriged-ifanp` do), on
        whatever grid; as many bands for each.
    names : what these are called, one a raster; what the first raster's are where none are given. They are kept with
        the model, which asks for them by name.

    Raises
    ------
    InputError, UsageError, ModelError
        See `geonp.tiles.TileSet`, `geonp.models.config_from` and `geonp.io.checkpoint.read_checkpoint`.
    """

    def __init__(
        self,
        rasters: Sequence[xr.DataArray],
        recipe: Recipe,
        options: Options,
        start: str | PathLike[str] | None = None,
        covariates: Sequence[Sequence[xr.DataArray]] = (),
        names: Sequence[str] = (),
    ) -> None:
        self.recipe = recipe
        self.options = options
        fields = [as_field(raster) for raster in rasters]
        bands = fields[0].sizes["band"] if fields else 1
        self._names: tuple[str, ...] = ()
        if covariates:
            alone, fields = fields, _with_covariates(fields, covariates)
            self._names = _labels(covariates[0], alone[0], names)
        count = fields[0].sizes["band"] - bands if fields else 0
        self.model = model = self._model(start, bands, count)
        kriged = isinstance(model, KrigedIFANP)
        self.tiles = TileSet(
            fields,
            recipe.tile,
            max(recipe.batch // FRESH, 1) if kriged else recipe.batch,
            parse_context(recipe.context),
            parse_masks(recipe.masks),
            seed=options.seed,
            augment=recipe.augment and not kriged,  # kriged ones are turned afterwards
            score_context=not kriged,  # the paper scores the whole image
            covariates=count,
        )
        if isinstance(model, ConvCNP | KrigedIFANP) and count and not self._scaled:
            model.beside.learn_scale(*_scale(self.tiles))
        upright = not recipe.augment or (isinstance(model, KrigedIFANP) and model.config.upright)
        self.batches: Batches = KrigedTiles(self.tiles, upright) if kriged else self.tiles
        self.training = Training(model, self.batches, options)

    def _model(self, start: str | PathLike[str] | None, bands: int, covariates: int) -> Model:
        recipe = self.recipe
        self._scaled = False
        if start is None:
            sizes = {"bands": bands, **({"covariates": covariates} if covariates else {}), **recipe.config}
            architecture, settings = resolve(recipe.architecture, sizes)
            if covariates and not issubclass(ARCHITECTURES[architecture].config, ConvConfig | KrigedConfig):
                raise UsageError(
                    f"the network {recipe.architecture!r} reads no covariates; train a convcnp or a kriged-ifanp "
                    "(--model convcnp), or leave them out here: every model takes covariates by regression when it "
                    "predicts"
                )
            config = config_from(architecture, settings)
            return create(architecture, config, seed=self.options.seed)
        known = read_checkpoint(BUNDLED if start == "bundled" else Path(start))
        model = restore(known.architecture, known.config, known.tensors).train()
        if model.bands != bands:
            raise ModelError(f"{start} was trained on {model.bands} band(s), the rasters have {bands}")
        if isinstance(model, KrigedIFANP) and covariates and not model.covariates:
            return widened(model, covariates)
        if model.covariates != covariates:
            raise ModelError(f"{start} reads {model.covariates} covariate(s), and {covariates} are given")
        self._scaled = True
        return model

    def run(self) -> Iterator[Record]:
        """Train, one record a step; the model has its best weights at the end, however it comes."""
        try:
            yield from self.training.run()
        finally:
            self.training.use_best()

    def checkpoint(self) -> Checkpoint:
        """Return the model as it is now, with what it was trained on."""
        tiles, progress, size = self.tiles, self.training.progress, self.recipe.tile
        known = [box for box in map(geobox, tiles.fields) if box is not None and box.crs is not None]
        sides = [side for box in known for side in grid_spacing(box)]
        trained = Trained(
            context=tiles.context.fractions(size * size),
            tile=(size, size),
            spacing=tiles.spacing if known else None,
            spacing_range=(min(sides), max(sides)) if sides else None,
            steps=progress.step,
            seconds=round(progress.elapsed, 1),
            score=progress.best,
            seed=self.options.seed,
            covariates=self._names,
        )
        return as_checkpoint(self.model, tiles.scaling, trained)


def _with_covariates(
    fields: Sequence[xr.DataArray], covariates: Sequence[Sequence[xr.DataArray]]
) -> list[xr.DataArray]:
    """Return the fields with their covariates as further bands; what is said of many is said once."""
    if len(covariates) != len(fields):
        raise InputError(
            f"there are covariates of {len(covariates)} rasters for {len(fields)}; give some for each"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeonpWarning)
        found = [beside(field, rasters) for field, rasters in zip(fields, covariates, strict=True)]
    told = [w.message for w in caught if isinstance(w.message, GeonpWarning)]
    if told:
        others = f" (and so are others: {len(told)} in all)" if len(told) > 1 else ""
        warnings.warn(f"{told[0]}{others}", GeonpWarning, stacklevel=4)
    return found


def _labels(rasters: Sequence[xr.DataArray], field: xr.DataArray, names: Sequence[str]) -> tuple[str, ...]:
    """Return what the covariates of a field are called, by `names` or as the rasters are; one a band."""
    if not names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeonpWarning)  # said already
            return Covariates.of(rasters, field).labels
    if len(names) != len(rasters):
        raise UsageError(f"there are {len(names)} names for {len(rasters)} covariates; give one for each")
    counts = [as_field(raster).sizes["band"] for raster in rasters]
    return tuple(
        name if count == 1 else f"{name}:{band + 1}"
        for name, count in zip(names, counts, strict=True)
        for band in range(count)
    )


def _scale(tiles: TileSet) -> tuple[Tensor, Tensor]:
    """Return means and deviations (K,) of the covariates in some batches."""
    drawn = [task.covariates for task in map(tiles.batch, range(_BATCHES_MEASURED))]
    values = torch.cat([c.transpose(0, 1).flatten(1) for c in drawn if c is not None], 1)
    mean = values.nanmean(1)
    return mean, (values - mean[:, None]).square().nanmean(1).sqrt()


def fit(
    rasters: Sequence[xr.DataArray],
    path: str | PathLike[str],
    *,
    recipe: Recipe | None = None,
    options: Options | None = None,
    start: str | PathLike[str] | None = None,
    covariates: Sequence[Sequence[xr.DataArray]] = (),
    overwrite: bool = False,
    progress: Callable[[Record], None] | None = None,
) -> Method:
    """Train a network on rasters, write it to `path`, and return the method that completes fields with it.

    Parameters
    ----------
    rasters : fields to learn from, lazy or not (`geonp.open_field`), NaN where not observed.
    path : model file to write (`.safetensors`).
    recipe : what is trained on what; an IFANP on 32 x 32 tiles with 12.5 % seen by default.
    options : how long and where; ten minutes by default.
    start : model file to start from, or `bundled`.
    covariates : of every raster the rasters that the network reads beside it.
    overwrite : replace `path` where it exists.
    progress : called with every record, by the first process.

    Raises
    ------
    InputError, UsageError, ModelError
        See `Fitting`.
    OutputError
        If the file exists or cannot be written.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise OutputError(f"{target}: exists already; choose another name, or pass overwrite=True")
    fitting = Fitting(rasters, recipe or Recipe(), options or Options(max_time=600), start, covariates)
    for record in fitting.run():
        if progress is not None and fitting.training.leads:
            progress(record)
    if fitting.training.leads:
        write_checkpoint(target, fitting.checkpoint(), overwrite=overwrite)
    fitting.training.join()
    return load(target)
