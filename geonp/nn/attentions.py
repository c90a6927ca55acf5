"""The attentions that every encoder takes, by name."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping

from geonp.errors import UsageError
from geonp.nn.crisscross import CrissCross
from geonp.nn.dual import DualAttention
from geonp.nn.globalcontext import GlobalContext
from geonp.nn.imageblock import ImageBlock, Unchanged
from geonp.nn.nonlocal_block import (
    ConcatenationNonLocal,
    DotProductNonLocal,
    EmbeddedGaussianNonLocal,
    GaussianNonLocal,
)
from geonp.nn.squeeze import SqueezeExcitation


def _none(channels: int) -> ImageBlock:
    return Unchanged()


ATTENTIONS: Mapping[str, Callable[[int], ImageBlock]] = types.MappingProxyType(
    {
        "none": _none,
        "squeeze-excitation": SqueezeExcitation,
        "non-local-gaussian": GaussianNonLocal,
        "non-local-embedded": EmbeddedGaussianNonLocal,
        "non-local-dot": DotProductNonLocal,
        "non-local-concat": ConcatenationNonLocal,
        "criss-cross": CrissCross,
        "dual": DualAttention,
        "global-context": GlobalContext,
    }
)


def attention(name: str, channels: int) -> ImageBlock:
    """Return a new attention block: (B, channels, H, W) in and out.

    Parameters
    ----------
    name : a key of `ATTENTIONS`.
    channels : of the image.

    Raises
    ------
    UsageError
        If no attention has that name.
    """
    if name not in ATTENTIONS:
        raise UsageError(f"there is no attention {name!r}; choose one of {', '.join(ATTENTIONS)}")
    return ATTENTIONS[name](channels)
