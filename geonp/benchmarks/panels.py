"""Figures of completed images, as the papers draw them: a row an image or a method, a column the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geonp.benchmarks.images import Images, as_task
from geonp.models.base import Model

Image = NDArray[Any]

_SIDE, _LABEL = 1.05, 1.2
_UNSEEN = (0.45, 0.55, 0.75)


class Strip(NamedTuple):
    """Images that belong together: a label, and (C, H, W) arrays; `deviation` marks another colour scale."""

    label: str
    images: Sequence[Image]
    deviation: bool = False


def seen_only(image: Image, seen: NDArray[np.bool_]) -> Image:
    """Return an image (C, H, W) with NaN at the pixels that are not in `seen` (H, W)."""
    return np.where(seen, np.asarray(image, np.float32), np.float32(np.nan))


def strips(rows: Sequence[Strip], limits: Sequence[tuple[float, float]], colours: str = "gray") -> Figure:
    """Draw strips below one another, image beside image.

    Parameters
    ----------
    rows : all of the same length.
    limits : darkest and brightest value of each column. Deviations have limits of their own, a column each.
    colours : of images of one band; those of three are drawn as red, green and blue.
    """
    width, height = _SIDE * len(limits) + _LABEL, _SIDE * len(rows)
    fig, axes = plt.subplots(len(rows), len(limits), figsize=(width, height), squeeze=False)
    fig.subplots_adjust(left=_LABEL / width, right=0.995, bottom=0.005, top=0.995, wspace=0.05, hspace=0.05)
    for line, row in zip(axes, rows, strict=True):
        for axis, image, (low, high) in zip(line, row.images, limits, strict=True):
            if row.deviation:
                axis.imshow(np.asarray(image).mean(0), cmap="magma", vmin=0, interpolation="nearest")
            else:
                axis.imshow(_pixels(image, low, high, colours), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_frame_on(False)
        line[0].set_ylabel(row.label, rotation=0, ha="right", va="center", fontsize=8)
    figure: Figure = fig
    return figure


def samples(images: Images, models: Mapping[str, Model], count: int = 2, draws: int = 3) -> Figure:
    """Draw surfaces that models hold possible, given the upper half of some test images.

    A row a model; for every image what is seen, `draws` draws, and the truth. A model without a latent variable
    gives the same surface every time.
    """
    shown = images.test[:count]
    upper = np.arange(images.shape[0])[:, None] < images.shape[0] // 2
    seen = [np.broadcast_to(upper, images.shape)] * count
    task, scale = as_task(shown, np.stack(seen), images.scaling)
    rows = []
    for label, model in models.items():
        generator = torch.Generator(next(model.parameters()).device).manual_seed(0)
        with torch.inference_mode():
            drawn = model.realisations(task.to(generator.device), draws, generator).cpu()
        surfaces = [scale.invert_mean(one).numpy() for one in drawn]
        strip: list[Image] = []
        for i, (image, where) in enumerate(zip(shown, seen, strict=True)):
            strip += [seen_only(image, where), *(surface[i] for surface in surfaces), image]
        rows.append(Strip(label, strip))
    return strips(rows, [(0.0, images.brightest)] * (count * (draws + 2)))


def _pixels(image: Image, low: float, high: float, colours: str) -> NDArray[np.float64]:
    """Return red, green and blue of an image; pixels that are not known are a flat grey-blue."""
    scaled = np.clip((np.asarray(image, np.float64) - low) / max(high - low, 1e-12), 0, 1)
    known = np.asarray(np.isfinite(scaled).all(axis=0))
    filled = np.where(known, scaled, 0)
    rgb = plt.get_cmap(colours)(filled[0])[..., :3] if len(filled) == 1 else np.moveaxis(filled[:3], 0, -1)
    return np.where(np.expand_dims(known, -1), rgb, _UNSEEN)
