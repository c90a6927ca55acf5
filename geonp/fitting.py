"""From a folder of rasters to a model file: tiles, a network, a training run, a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import xarray as xr

from geonp.errors import ModelError, OutputError
from geonp.field import as_field, grid_spacing
from geonp.io.checkpoint import Checkpoint, Trained, read_checkpoint, write_checkpoint
from geonp.kriged_tiles import FRESH, KrigedTiles
from geonp.masks import parse_context, parse_masks
from geonp.methods.base import Method
from geonp.methods.choose import load
from geonp.methods.flagship import BUNDLED
from geonp.methods.neural import as_checkpoint
from geonp.models import config_from, create, resolve, restore
from geonp.models.base import Model
from geonp.models.kriged import KrigedIFANP
from geonp.tiles import TileSet
from geonp.training import Options, Record, Training


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
    batch : tiles in a batch.
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
        replace the recipe's.

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
    ) -> None:
        self.recipe = recipe
        self.options = options
        fields = [as_field(raster) for raster in rasters]
        self.model = model = self._model(start, fields[0].sizes["band"] if fields else 1)
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
        )
        upright = not recipe.augment or (isinstance(model, KrigedIFANP) and model.config.upright)
        batches = KrigedTiles(self.tiles, upright) if kriged else self.tiles
        self.training = Training(model, batches, options)

    def _model(self, start: str | PathLike[str] | None, bands: int) -> Model:
        recipe = self.recipe
        if start is None:
            architecture, settings = resolve(recipe.architecture, {"bands": bands, **recipe.config})
            config = config_from(architecture, settings)
            return create(architecture, config, seed=self.options.seed)
        known = read_checkpoint(BUNDLED if start == "bundled" else Path(start))
        model = restore(known.architecture, known.config, known.tensors).train()
        if model.bands != bands:
            raise ModelError(f"{start} was trained on {model.bands} band(s), the rasters have {bands}")
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
        known = [
            f.odc.geobox for f in tiles.fields if f.odc.geobox is not None and f.odc.geobox.crs is not None
        ]
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
        )
        return as_checkpoint(self.model, tiles.scaling, trained)


def fit(
    rasters: Sequence[xr.DataArray],
    path: str | PathLike[str],
    *,
    recipe: Recipe | None = None,
    options: Options | None = None,
    start: str | PathLike[str] | None = None,
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
    overwrite : replace `path` where it exists.
    progress : called with every record.

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
    fitting = Fitting(rasters, recipe or Recipe(), options or Options(max_time=600), start)
    for record in fitting.run():
        if progress is not None:
            progress(record)
    write_checkpoint(target, fitting.checkpoint(), overwrite=overwrite)
    return load(target)
