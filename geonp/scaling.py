"""Normalising a field, and the exact inverse for its mean and its variance.

A scaling (`Standardise` or `Fixed`) says how; fitted to the values at hand it gives a `Scale`, an affine map
for every field and band of a batch. Scalings are what a checkpoint keeps (`dumps`, `loads`).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from geonp.errors import ModelError, UsageError

_RELATIVE_FLOOR = 1e-6
_ABSOLUTE_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Scale:
    """The affine map of a batch: scaled = (value - offset) / scale.

    Parameters
    ----------
    offset, scale : (B, C, 1, 1) in the units of the field; `scale` is positive.
    """

    offset: Tensor
    scale: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Return (B, C, H, W) values without units."""
        return (values - self.offset) / self.scale

    def invert_mean(self, mean: Tensor) -> Tensor:
        """Return a scaled mean (or value) in the units of the field."""
        return mean * self.scale + self.offset

    def invert_variance(self, variance: Tensor) -> Tensor:
        """Return a scaled variance in the squared units of the field."""
        return variance * self.scale.square()

    def invert_std(self, std: Tensor) -> Tensor:
        """Return a scaled standard deviation in the units of the field."""
        return std * self.scale


@dataclass(frozen=True, slots=True)
class Standardise:
    """Each field and band by the mean and standard deviation of its own context.

    The model then knows nothing of units or of the level of a field: completing a + b x field gives
    a + b x the completion. A context of one value has no spread; its scale is a millionth of its size
    (1e-12 for zero), so that the completion is that value.
    """

    def fit(self, values: Tensor, context: Tensor) -> Scale:
        """Return the scale of a batch.

        Parameters
        ----------
        values : (B, C, H, W) in the units of the field; what stands outside the context is not read.
        context : (B, 1, H, W), 1 where the values are seen. Where there is no such pixel the scale is the
            identity.
        """
        seen = context > 0
        count = seen.sum((2, 3), keepdim=True)
        total = count.clamp(min=1)
        mean = torch.where(seen, values, 0).sum((2, 3), keepdim=True) / total
        # A second pass takes out the rounding of the first: no float64, which some devices lack.
        mean = mean + torch.where(seen, values - mean, 0).sum((2, 3), keepdim=True) / total
        spread = torch.where(seen, (values - mean).square(), 0).sum((2, 3), keepdim=True) / total
        floor = (mean.abs() * _RELATIVE_FLOOR).clamp(min=_ABSOLUTE_FLOOR)
        scale = torch.where(count > 0, torch.maximum(spread.sqrt(), floor), 1.0)
        return Scale(mean, scale)


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same known affine map for every field: scaled = (value - offset) / scale.

    Parameters
    ----------
    offset, scale : one value a band, or a single one for all of them; scales are positive.
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.offset) != len(self.scale) or not self.scale:
            raise UsageError(
                f"{len(self.offset)} offsets and {len(self.scale)} scales; give one of each a band"
            )
        if not all(0 < s < math.inf for s in self.scale) or not all(map(math.isfinite, self.offset)):
            raise UsageError(f"scales {self.scale} must be positive and offsets {self.offset} finite")

    def fit(self, values: Tensor, context: Tensor) -> Scale:
        """Return the map as a `Scale` for `values` (B, C, H, W); `context` is not looked at.

        Raises
        ------
        UsageError
            If there are neither one nor C offsets.
        """
        b, c = values.shape[:2]
        if len(self.offset) not in (1, c):
            raise UsageError(f"the scaling has {len(self.offset)} bands and the field {c}; give one, or {c}")
        offset, scale = (
            values.new_tensor(v).view(1, -1, 1, 1).expand(b, c, 1, 1) for v in (self.offset, self.scale)
        )
        return Scale(offset, scale)


Scaling = Standardise | Fixed


def dumps(scaling: Scaling) -> str:
    """Return `scaling` as JSON."""
    return json.dumps({"kind": type(scaling).__name__.lower(), **asdict(scaling)})


def loads(text: str) -> Scaling:
    """Read what `dumps` wrote.

    Raises
    ------
    ModelError
        If the text is not a scaling.
    """
    try:
        given = json.loads(text)
        if given["kind"] == "standardise":
            return Standardise()
        if given["kind"] == "fixed":
            return Fixed(tuple(map(float, given["offset"])), tuple(map(float, given["scale"])))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{text!r} does not describe a scaling; the model file is damaged") from error
    raise ModelError(f"scaling {given['kind']!r} is unknown; the model was written by a newer version")
