"""Training tasks in the units of kriging: tiles are kriged once, and seen several times from many sides.

Kriging a tile costs more than a training step on it. A tile that was kriged is therefore kept for a while, and
shown again turned, mirrored, upside down, and on canvases that are larger than its raster.

Tiles that carry covariates are treated as a survey is that is given some: what is kriged is the rest of a regression
on them. Their covariates are turned and mirrored with them, but neither is shown upside down: snow that lies on high
ground does not lie on low ground, and which way a field follows its covariate is what there is to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geonp.kriging import quick
from geonp.kriging.features import Kriged, features
from geonp.kriging.threads import one_thread
from geonp.models.kriged import with_beside
from geonp.shares import Portion
from geonp.tasks import Task
from geonp.tiles import TileSet

Images = NDArray[np.float32]
Mask = NDArray[np.bool_]
_T = TypeVar("_T", bound=np.generic)

FRESH = 4
"""One example of a batch in so many is new, the others have been seen before."""

_KEPT = 256  # batches of new examples that are kept
_JITTERED = 0.2
_ON_LARGER_CANVAS, _BORDER = 0.2, 24
_LEAST_STD = 1e-6
_MOST = 6e4
_PLAIN, _FORGOTTEN = 0.25, 0.3
"""Share of the new examples that are kriged without regression, and of these, those whose covariates have a hole."""
_FARTHEST_MISS = 50.0
_SLOPES_OFF = 0.4
"""Relative deviation of the slopes of jittered tiles: a survey has one slope, and it is wrong in most places."""
# One stream of random numbers for each purpose, so that none shifts another.
_FITTED, _DRAWN, _VALIDATED = range(3)


@dataclass(frozen=True)
class Example:
    """A tile of C bands, part of it observed, and what kriging makes of it.

    Parameters
    ----------
    mean, std, surprise : (C, H, W), see `geonp.kriging.features.Kriged`; in any one unit a band.
    residual : (C, H, W), (value - mean) / std.
    observed, known, inside : (H, W): what was seen, what there is a value of, what lies on the raster.
    spacing : (dy, dx).
    noise : (C,), deviation of the nugget, in the unit of `std`.
    beside : (2 K, H, W), the covariates as they are, NaN where unknown, and by how much kriging misses them (see
        `geonp.models.kriged.with_beside`); None where there are none.
    """

    mean: Images
    std: Images
    surprise: Images
    residual: Images
    observed: Mask
    known: Mask
    inside: Mask
    spacing: tuple[float, float]
    noise: Images
    beside: Images | None = None

    def turned(self, turn: int, sign: int = 1) -> Example:
        """Return one of the eight orientations, upside down where the sign is -1; covariates never are.

        Bit 0 of `turn` transposes, bit 1 reverses rows, bit 2 columns.
        """

        def image(array: NDArray[_T]) -> NDArray[_T]:
            array = array.swapaxes(-2, -1) if turn & 1 else array
            array = array[..., ::-1, :] if turn & 2 else array
            return array[..., ::-1] if turn & 4 else array

        dy, dx = self.spacing
        return Example(
            sign * image(self.mean),
            image(self.std),
            sign * image(self.surprise),
            sign * image(self.residual),
            image(self.observed),
            image(self.known),
            image(self.inside),
            (dx, dy) if turn & 1 else (dy, dx),
            self.noise,
            None if self.beside is None else image(self.beside),
        )

    def cut(self, below: int, right: int) -> Example:
        """Return the example with its last rows and columns outside the raster."""
        inside = self.inside.copy()
        inside[len(inside) - below :] = False
        inside[:, inside.shape[1] - right :] = False
        return replace(self, inside=inside)


def turned_back(image: Tensor, turn: int) -> Tensor:
    """Return an image (B, C, H, W) of `Example.turned` in the orientation it had before that `turn`."""
    axes = [axis for axis, bit in ((2, 2), (3, 4)) if turn & bit]
    image = image.flip(axes) if axes else image
    return image.transpose(2, 3) if turn & 1 else image


def assemble(examples: Sequence[Example]) -> Task:
    """Return examples of one size as a task: residuals to be told, and the channels of kriging."""

    def stack(images: Sequence[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(images)).float()

    inside = stack([e.inside for e in examples])[:, None]
    observed = stack([e.observed for e in examples])[:, None] * inside
    known = stack([e.known for e in examples])[:, None]
    residual = stack([e.residual for e in examples])
    std, surprise = stack([e.std for e in examples]), stack([e.surprise for e in examples])
    mean = stack([e.mean for e in examples]) * inside
    count, bands, rows, cols = residual.shape

    def each(images: Tensor) -> Tensor:
        return images.expand(count, bands, rows, cols).reshape(count * bands, 1, rows, cols)

    kriged = Kriged(
        each(observed),
        each(mean),
        each(std),
        each(surprise * observed),
        each(observed),
        each(residual * observed),
        each(inside),
    )
    spacing = torch.tensor([e.spacing for e in examples], dtype=torch.float32)
    noise, unit = stack([e.noise for e in examples]).flatten(), std.mean((2, 3)).flatten()
    told = features(kriged, noise, spacing.repeat_interleave(bands, 0), unit)
    target = (1 - observed) * known * inside
    told = told.view(count, -1, rows, cols)
    beside = [e.beside for e in examples if e.beside is not None]
    if beside:
        values, missed = stack(beside).chunk(2, 1)
        told = with_beside(told, torch.where(inside > 0, values, torch.nan), missed * inside)
    return Task(residual, observed, target, spacing, told)


def krige_tiles(
    task: Task, rng: np.random.Generator, jitter: float = 0.0, plain: float = 0.0
) -> list[Example]:
    """Fit and krige every tile of a task from its context.

    Parameters
    ----------
    task : values 0 where unknown. Where it has covariates, the rest of a regression on them is kriged; they are NaN
        where unknown, and known wherever a value is.
    rng : chooses the observations that covariances are fitted to, and spoils some fits.
    jitter : share of the tiles whose covariance is made a little wrong.
    plain : share of the tiles with covariates that are kriged without regression, as a survey is whose covariates
        are found to be of no use to kriging. In some of them covariates are unknown in places.
    """
    values = task.values.double().numpy()
    context = task.context[:, 0].numpy() > 0
    known = context | (task.target[:, 0].numpy() > 0)
    spacing = [(float(dy), float(dx)) for dy, dx in task.spacing]
    if task.covariates is not None:
        beside = task.covariates.numpy()
        with one_thread():
            return [
                _with_covariates(*parts, rng, jitter, plain)
                for parts in zip(values, beside, context, known, spacing, strict=True)
            ]
    with one_thread():
        kriged = [
            _krige(y, seen, step, rng, jitter) for y, seen, step in zip(values, context, spacing, strict=True)
        ]
    return [example(*parts) for parts in zip(values, context, known, spacing, kriged, strict=True)]


def krige_together(task: Task, rng: np.random.Generator, jitter: float = 0.0) -> list[Example]:
    """Krige all tiles of a task through the first one's context, with one correlation: as cheap as one tile.

    For fields of one kind on one grid, such as pictures. Parameters are those of `krige_tiles`.
    """
    values = task.values.double().numpy()
    known = (task.context[:, 0].numpy() > 0) | (task.target[:, 0].numpy() > 0)
    context = (task.context[0, 0].numpy() > 0) & known.all(0)
    count, bands, rows, cols = values.shape
    spacing = (float(task.spacing[0, 0]), float(task.spacing[0, 1]))
    with one_thread():
        all_bands = _krige(values.reshape(-1, rows, cols), context, spacing, rng, jitter)

    def tile(layer: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        return np.asarray(layer.reshape(count, bands, *layer.shape[1:])[number])

    layers = (all_bands.mean, all_bands.std, all_bands.surprise, all_bands.noise)
    return [
        example(values[n], context, known[n], spacing, quick.CropKriging(*(tile(a, n) for a in layers)))
        for n in range(count)
    ]


def _krige(
    values: NDArray[np.float64],
    observed: Mask,
    spacing: tuple[float, float],
    rng: np.random.Generator,
    jitter: float,
) -> quick.CropKriging:
    found = _correlation(values, observed, spacing, rng, jitter)
    return _krige_as(found, values, observed, spacing)


def _correlation(
    values: NDArray[np.float64],
    observed: Mask,
    spacing: tuple[float, float],
    rng: np.random.Generator,
    jitter: float,
) -> quick.Correlation:
    aspect = spacing[0] / spacing[1]
    found, _ = quick.fit(np.argwhere(observed) * [aspect, 1.0], values[:, observed].T, rng)
    return found.jittered(rng) if rng.random() < jitter else found


def _krige_as(
    found: quick.Correlation, values: NDArray[np.float64], observed: Mask, spacing: tuple[float, float]
) -> quick.CropKriging:
    return quick.krige(values, observed, (spacing[0] / spacing[1], 1.0), found.covariance())


def _with_covariates(
    values: NDArray[np.float64],
    beside: Images,
    observed: Mask,
    known: Mask,
    spacing: tuple[float, float],
    rng: np.random.Generator,
    jitter: float,
    plain: float,
) -> Example:
    """Return a tile as an example with its covariates (K, H, W)."""
    bands = len(values)
    seen = beside[:, observed].astype(np.float64)
    centre, spread = seen.mean(1)[:, None, None], seen.std(1)[:, None, None]
    columns = np.where(np.isfinite(beside), (beside - centre) / np.where(spread > 0, spread, 1.0), 0.0)
    regressed = rng.random() >= plain
    if regressed:
        rest = values[:, observed] - values[:, observed].mean(1, keepdims=True)
        first = _slopes(columns[:, observed], rest)
        found = _correlation(values - np.tensordot(first, columns, 1), observed, spacing, rng, jitter)
        both = _krige_as(found, np.concatenate([values, columns]), observed, spacing)
        # Least squares of leave-one-out residuals: coefficients that weigh the data nearly as kriging does.
        left = both.surprise[:, observed] * both.std.mean((1, 2))[:, None]
        slopes = _slopes(left[bands:], left[:bands])
        if jitter:
            slopes = slopes * (1 + _SLOPES_OFF * rng.standard_normal(slopes.shape))
        values = values - np.where(known, np.tensordot(slopes, columns, 1), 0.0)
    else:
        found = _correlation(values, observed, spacing, rng, jitter)
    both = _krige_as(found, np.concatenate([values, columns]), observed, spacing)
    own, theirs = (
        quick.CropKriging(*(layer[part] for layer in (both.mean, both.std, both.surprise, both.noise)))
        for part in (slice(bands), slice(bands, None))
    )
    missed = missed_by(columns, theirs.mean, theirs.std, theirs.surprise, observed)
    told = np.where(_holes(known.shape, rng) & ~regressed, np.float32(np.nan), beside) if plain else beside
    return replace(
        example(values, observed, known, spacing, own),
        beside=np.concatenate([told, missed]).astype(np.float32),
    )


def missed_by(
    values: NDArray[np.floating],
    mean: NDArray[np.floating],
    std: NDArray[np.floating],
    surprise: NDArray[np.floating],
    observed: Mask,
    scale: Sequence[float] | None = None,
) -> Images:
    """Return by how much kriging misses covariates (K, H, W); see `geonp.models.kriged.with_beside`.

    Parameters
    ----------
    values, mean, std, surprise : (K, H, W), the covariates and their kriging from where the field is observed.
    observed : (H, W), where that is.
    scale : (K,), root mean squares of the surprise; those of this window where None.
    """
    if scale is None:
        size = np.sqrt(np.square(surprise[:, observed]).mean(1))
        unit = np.where(size > 0, size, 1.0)
    else:
        unit = np.asarray(scale)
    miss = np.where(observed, surprise, (values - mean) / np.maximum(std, _LEAST_STD)) / unit[:, None, None]
    return np.nan_to_num(miss, nan=0.0).clip(-_FARTHEST_MISS, _FARTHEST_MISS).astype(np.float32)


def _slopes(columns: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients (C, K) of a linear regression of values (C, n) on columns (K, n)."""
    return np.asarray(np.linalg.lstsq(columns.T, values.T, rcond=1e-6)[0].T)


def _holes(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """Return where covariates are forgotten: in a rectangle, at times."""
    hole = np.zeros(shape, bool)
    if rng.random() < _FORGOTTEN:
        (top, bottom), (left, right) = (np.sort(rng.integers(-side // 4, side * 5 // 4, 2)) for side in shape)
        hole[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return hole


def example(
    values: NDArray[np.float64],
    observed: Mask,
    known: Mask,
    spacing: tuple[float, float],
    kriged: quick.CropKriging,
) -> Example:
    """Return a kriged tile as an example; `values` (C, H, W) are 0 where they are not known."""
    std = np.maximum(kriged.std, _LEAST_STD)
    residual = np.where(known, (values - kriged.mean) / std, 0.0).clip(-_MOST, _MOST)
    layers = (kriged.mean, std, kriged.surprise, residual)
    mean, deviation, surprise, left = (layer.astype(np.float32) for layer in layers)
    noise = kriged.noise.astype(np.float32)
    return Example(mean, deviation, surprise, left, observed, known, np.ones_like(known), spacing, noise)


class KrigedTiles:
    """Batches for a network that corrects kriging; see `geonp.training.Batches`.

    A batch consists of lanes: a new tile and three tiles that were new in the same lane before. A lane is a pure
    function of the seed, the step and its number, so that processes that share a batch krige each their own.

    Parameters
    ----------
    tiles : where new examples come from, a quarter of a batch at a time.
    upright : fields are pictures of one kind, with a right way up: examples are never turned, mirrored or laid
        on larger canvases, and those of a step share one context.
    """

    def __init__(self, tiles: TileSet, upright: bool) -> None:
        self.tiles = tiles
        self.upright = upright
        self.batch_size = tiles.batch_size
        self.validation_tiles = tiles.validation_tiles
        self._new = lru_cache(maxsize=(_KEPT + 1) * tiles.batch_size)(self._krige)
        self._together = lru_cache(maxsize=_KEPT + 1)(self._krige_together)

    def batch(self, step: int) -> Task:
        """Return the training batch of one step: new examples, and three times as many of the last ones."""
        return self.draw(step, range(self.batch_size))

    def draw(self, step: int, numbers: range) -> Task:
        """Return the lanes of a step's batch that have these numbers, `FRESH` examples each."""
        return assemble([example for number in numbers for example in self._lane(step, number)])

    def validation(self) -> list[Task]:
        """Return the validation tasks of the tiles, kriged."""
        return self._whole.validation()

    def validated(self, numbers: range) -> Task:
        """Return the validation tiles that have these numbers, kriged."""
        alone = ((number, self.tiles.validated(range(number, number + 1))) for number in numbers)
        return assemble([krige_tiles(tile, self._stream(_VALIDATED, number))[0] for number, tile in alone])

    @cached_property
    def _whole(self) -> Portion:
        return Portion(self, 0, 1)

    def _stream(self, purpose: int, *words: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.tiles.seed, *words], spawn_key=(purpose,)))

    def _lane(self, step: int, number: int) -> list[Example]:
        rng = self._stream(_DRAWN, step, number)
        earlier = rng.integers(max(0, step - _KEPT), step + 1, FRESH - 1).tolist()
        examples = [self._new(at, number) for at in (step, *earlier)]
        return examples if self.upright else [varied(example, rng) for example in examples]

    def _krige(self, step: int, number: int) -> Example:
        if self.upright and not self.tiles.covariates:
            return self._together(step)[number]
        task = self.tiles.draw(step, range(number, number + 1))
        return krige_tiles(task, self._stream(_FITTED, step, number), _JITTERED, _PLAIN)[0]

    def _krige_together(self, step: int) -> list[Example]:
        return krige_together(self.tiles.batch(step), self._stream(_FITTED, step), _JITTERED)


def varied(example: Example, rng: np.random.Generator) -> Example:
    """Return the example turned, mirrored, upside down, and at times on a larger canvas.

    One with covariates is never upside down: a field that falls with them does not rise with them.
    """
    sign = -1 if rng.random() < 0.5 and example.beside is None else 1
    turned = example.turned(int(rng.integers(8)), sign)
    if rng.random() < _ON_LARGER_CANVAS:
        rows, cols = (min(_BORDER, side // 2) for side in turned.inside.shape)
        return turned.cut(int(rng.integers(rows + 1)), int(rng.integers(cols + 1)))
    return turned
