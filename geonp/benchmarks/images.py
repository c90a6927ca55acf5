"""Sets of images as training and test tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geonp.errors import InputError
from geonp.scaling import Fixed, Scale, Scaling
from geonp.tasks import Task

Mask = NDArray[np.bool_]

# One stream of random numbers for each purpose, so that none shifts another.
_TRAINING, _VALIDATION, _TEST = range(3)
_TEST_BATCH = 50
_FARTHEST = 25.0


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size, part of them to learn from and part to be tested on.

    Parameters
    ----------
    name : of the data set.
    train, test : (N, C, H, W), every pixel known.
    peak : largest possible value, to which errors are compared (PSNR); None where there is none.
    scaling : how values are normalised for a network.
    source : where they come from and how they were prepared.
    """

    name: str
    train: NDArray[Any]
    test: NDArray[Any]
    peak: float | None
    scaling: Scaling
    source: str = ""

    def __post_init__(self) -> None:
        for part in (self.train, self.test):
            if part.ndim != 4 or part.shape[1:] != self.train.shape[1:] or not len(part):
                raise InputError(
                    f"{self.name}: training and test images are {self.train.shape} and {self.test.shape}; "
                    "both must be (images, bands, rows, columns) of one size"
                )

    @classmethod
    def of_bytes(cls, name: str, train: NDArray[Any], test: NDArray[Any], source: str = "") -> Images:
        """Return images of unsigned bytes, which networks see on a scale from -1 to 1."""
        return cls(name, train, test, 255.0, Fixed((127.5,), (127.5,)), source)

    @property
    def bands(self) -> int:
        """Bands of an image."""
        return int(self.train.shape[1])

    @property
    def brightest(self) -> float:
        """The peak, or where there is none the range of the test images."""
        return float(np.ptp(self.test)) if self.peak is None else self.peak

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return int(self.train.shape[2]), int(self.train.shape[3])

    def padded(self, side: int) -> Images:
        """Return the images in the middle of a square canvas of `side` pixels, zeros around them."""
        rows, cols = self.shape
        top, left = (side - rows) // 2, (side - cols) // 2
        around = ((0, 0), (0, 0), (top, side - rows - top), (left, side - cols - left))
        train, test = np.pad(self.train, around), np.pad(self.test, around)
        return Images(self.name, train, test, self.peak, self.scaling, self.source)


def random_contexts(rng: np.random.Generator, images: int, shape: tuple[int, int], count: int) -> Mask:
    """Return a mask (images, H, W) for every image, `count` pixels of each drawn at random."""
    pixels = shape[0] * shape[1]
    drawn = rng.random((images, pixels)).argpartition(count - 1, axis=1)[:, :count]
    seen = np.zeros((images, pixels), bool)
    np.put_along_axis(seen, drawn, True, axis=1)
    return seen.reshape(images, *shape)


def as_task(values: NDArray[Any], seen: Mask, scaling: Scaling) -> tuple[Task, Scale]:
    """Return images (B, C, H, W) as a task whose target is every pixel, and the scale they were given.

    Pixels farther than 25 of its units from the middle of the scale are no targets: a context that happens to be
    nearly flat would make them absurd.
    """
    known = torch.from_numpy(np.asarray(values, np.float32))
    context = torch.from_numpy(seen[:, None])
    scale = scaling.fit(known, context)
    scaled = scale.apply(known)
    task = Task(
        values=scaled,
        context=context.float(),
        target=(scaled.abs() <= _FARTHEST).all(1, keepdim=True).float(),
        spacing=torch.ones(len(seen), 2),
    )
    return task, scale


class ImageTasks:
    """Training batches of a set of images: the `Batches` of `geonp.training`.

    Every image of a batch shows as many pixels, a fraction drawn uniformly; which ones differs from image to
    image. The target is the whole image.

    Parameters
    ----------
    images : the set. The last `validated` of its training images are kept for validation.
    batch : images in a batch.
    context : least and largest fraction of the pixels that is seen.
    seed : of every draw.
    validated : images to validate with.
    """

    def __init__(
        self, images: Images, batch: int, context: tuple[float, float], seed: int, validated: int
    ) -> None:
        if validated >= len(images.train):
            raise InputError(
                f"{images.name} has {len(images.train)} training images; {validated} are to be kept for "
                "validation, and none would be left"
            )
        self.images, self.batch_size, self.context, self.seed = images, batch, context, seed
        self._learnt = len(images.train) - validated

    def batch(self, step: int) -> Task:
        """Return the training batch of one step."""
        rng = _stream(self.seed, _TRAINING, step)
        chosen = rng.integers(self._learnt, size=self.batch_size)
        return self._task(rng, self.images.train[chosen])

    def validation(self) -> list[Task]:
        """Return the validation tasks, the same ones for every seed."""
        return list(self._validation)

    @cached_property
    def _validation(self) -> tuple[Task, ...]:
        rng = _stream(0, _VALIDATION)
        kept = self.images.train[self._learnt :]
        return tuple(self._task(rng, kept[i : i + _TEST_BATCH]) for i in range(0, len(kept), _TEST_BATCH))

    def _task(self, rng: np.random.Generator, values: NDArray[Any]) -> Task:
        pixels = math.prod(self.images.shape)
        count = max(round(rng.uniform(*self.context) * pixels), 1)
        seen = random_contexts(rng, len(values), self.images.shape, count)
        return as_task(values, seen, self.images.scaling)[0]


def held_out(images: Images, count: int, fraction: float) -> Iterator[tuple[NDArray[Any], Mask]]:
    """Yield the first `count` test images in batches (B, C, H, W), and the `fraction` of pixels seen, (B, H, W).

    Which pixels those are depends on the fraction alone: every model is asked the same.
    """
    rng = _stream(round(fraction * 1e6), _TEST)
    seen_pixels = max(round(fraction * math.prod(images.shape)), 1)
    for start in range(0, min(count, len(images.test)), _TEST_BATCH):
        values = images.test[start : min(start + _TEST_BATCH, count)]
        yield values, random_contexts(rng, len(values), images.shape, seen_pixels)


def test_tasks(images: Images, count: int, fraction: float) -> Iterator[tuple[Task, Scale]]:
    """Yield the batches of `held_out` as tasks, each with the scale that its values were given."""
    for values, seen in held_out(images, count, fraction):
        yield as_task(values, seen, images.scaling)


def _stream(seed: int, purpose: int, step: int = 0) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, step], spawn_key=(purpose,)))
