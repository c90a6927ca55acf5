"""A trained kriged IFANP at work: what it changes in kriging's answer, seen from several sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geonp.kriged_tiles import turned_back
from geonp.kriging.features import CHANNELS, REACH, Kriged, features
from geonp.machine import bfloat16_pays
from geonp.models.kriged import KrigedIFANP, with_beside
from geonp.tasks import Task

_ASPECT = CHANNELS.index("aspect")
_CPU = torch.device("cpu")
_CELL, _CELLS = 16, 5
_FELT = 160
_FAINT = 1e-5
"""Observed share of a neighbourhood at which the network is half believed: one pixel, far out in it."""
_BYTES, _BYTES_IN_HALVES = 500, 350
"""Memory by each pixel of a canvas of one band; measured on terrain, as the growth of resident memory."""


@dataclass(frozen=True)
class Correction:
    """A network and the orientations in which it looks at a canvas.

    Terrain has no right way up: the mean over turned and mirrored canvases is a better answer than any one of
    them, and has their symmetry.

    Parameters
    ----------
    model : a trained network of C bands.
    orientations : how many of the eight, 1 to 8.
    device : where it runs.
    """

    model: KrigedIFANP
    orientations: int = 8
    device: torch.device = _CPU

    @property
    def reach(self) -> int:
        """Pixels around a pixel that its correction depends on, beyond those that kriging read.

        The bundled network's receptive field is wider (364 pixels), but what is farther away than 160 changes
        no digit of its answers.
        """
        felt = min(self.model.receptive_field + REACH, _FELT)
        return max(felt, _CELL * (2 * (_CELLS // 2) + 2))

    @property
    def stride(self) -> int:
        """Canvases start at multiples of this many pixels of the raster, and are multiples of it wide."""
        return max(self.model.stride, _CELL)

    @torch.inference_mode()
    def __call__(
        self,
        kriged: Kriged,
        noise_std: Sequence[float],
        spacing: tuple[float, float],
        beside: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return shift and factor (C, H, W): the mean moves by shift x deviation, the deviation by factor.

        Parameters
        ----------
        kriged : a batch of the C bands that the network takes, observed at the same pixels, on a canvas whose
            sides are multiples of `stride`.
        noise_std : square roots of the nuggets, (C,).
        spacing : pixel size (dy, dx); only their ratio matters.
        beside : (1, 2 K, H, W), the covariates that the network reads, and by how much kriging misses them (see
            `geonp.models.kriged.with_beside`). They are turned as the canvas is.
        """
        kriged = Kriged(*(a.to(self.device) for a in kriged))
        beside = None if beside is None else beside.to(self.device)
        bands, _, rows, cols = kriged.mean.shape
        if not kriged.observed.any():  # the network is not believed then, whatever it says
            nothing = torch.zeros(bands, rows, cols, device=self.device)
            return nothing, torch.ones_like(nothing)
        size = torch.tensor([[abs(spacing[0]), abs(spacing[1])]], device=self.device)
        noise = torch.tensor(noise_std, device=self.device)
        told = features(kriged, noise, size.expand(bands, 2), torch.ones(bands, device=self.device))
        # What the network may read of the observations themselves: how far kriging passes them by.
        shift = torch.zeros(1, bands, rows, cols, device=self.device)
        factor = torch.zeros_like(shift)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.halved):
            for turn in range(self.looks):
                answer = self.model(_seen(turn, kriged, told, size, beside))
                shift += turned_back(answer.mean, turn)
                factor += turned_back(answer.std.log(), turn)
        belief = self._belief(kriged.observed[:1]) / self.looks
        return (shift * belief)[0], (factor * belief).exp()[0]

    @property
    def halved(self) -> bool:
        """Whether the network computes in bfloat16: on processors that multiply it twice as fast."""
        return self.device.type == "cpu" and bfloat16_pays()

    @property
    def bytes_a_pixel(self) -> int:
        """Memory in bytes that the network takes by each pixel of a canvas, for each of its bands."""
        return _BYTES_IN_HALVES if self.halved else _BYTES

    @property
    def looks(self) -> int:
        """Orientations that are averaged; one of fields that have a right way up."""
        return 1 if self.model.config.upright else self.orientations

    def _belief(self, observed: Tensor) -> Tensor:
        """Return 1 near observations, 0 where the network saw none: there kriging's prior holds."""
        share = avg_pool2d(observed, _CELL)
        for _ in range(2):
            share = avg_pool2d(share, _CELLS, 1, _CELLS // 2)
        smooth = interpolate(share, scale_factor=float(_CELL), mode="bilinear", align_corners=False)
        return smooth / (smooth + _FAINT)


def _seen(turn: int, kriged: Kriged, told: Tensor, spacing: Tensor, beside: Tensor | None) -> Task:
    """Return the canvas in one of its eight orientations, its bands together."""
    covariates = _turned(told, turn)
    if turn & 1:
        covariates = covariates.clone()
        covariates[:, _ASPECT] *= -1
        spacing = spacing.flip(1)
    observed = _turned(kriged.observed[:1], turn)
    misfit = _turned(kriged.misfit, turn).transpose(0, 1)
    together = covariates.reshape(1, -1, *covariates.shape[2:])
    if beside is not None:
        together = with_beside(together, *_turned(beside, turn).chunk(2, 1))
    return Task(misfit, observed, torch.zeros_like(observed), spacing, together)


def _turned(image: Tensor, turn: int) -> Tensor:
    image = image.transpose(2, 3) if turn & 1 else image
    axes = [axis for axis, bit in ((2, 2), (3, 4)) if turn & bit]
    return image.flip(axes) if axes else image
