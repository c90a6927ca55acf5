"""The encoders of image-faced networks, by name."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from geonp.errors import UsageError
from geonp.nn.imageblock import ImageBlock
from geonp.nn.residual import ResidualCNN
from geonp.nn.transformer import PatchTransformer
from geonp.nn.unet_classic import ClassicUNet
from geonp.nn.unet_gated import GatedUNet
from geonp.nn.unet_nested import NestedUNet
from geonp.nn.unet_nonlocal import NonLocalUNet


class Build(Protocol):
    """How an encoder is made."""

    def __call__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        depth: int,
        kernel: int,
        attention: str,
    ) -> ImageBlock:
        """Return a new encoder."""
        ...


class Encoder(NamedTuple):
    """An encoder and its usual sizes.

    Parameters
    ----------
    build : makes it.
    depth : blocks of the residual network, resolutions of a U-Net, layers of the transformer.
    kernel : side of the convolutions in pixels, or of the transformer's patches.
    deepest : largest depth; channels of a U-Net double with every resolution.
    odd : whether `kernel` must be odd.
    """

    build: Build
    depth: int
    kernel: int
    deepest: int
    odd: bool = True


ENCODERS: Mapping[str, Encoder] = types.MappingProxyType(
    {
        "residual": Encoder(ResidualCNN, 5, 9, 64),
        "unet": Encoder(ClassicUNet, 4, 3, 8),
        "nested-unet": Encoder(NestedUNet, 4, 3, 8),
        "gated-unet": Encoder(GatedUNet, 4, 3, 8),
        "non-local-unet": Encoder(NonLocalUNet, 3, 3, 8),
        "vit": Encoder(PatchTransformer, 6, 4, 64, odd=False),
    }
)


def encoder(
    name: str,
    channels_in: int,
    channels_out: int,
    width: int,
    depth: int | None = None,
    kernel: int | None = None,
    attention: str = "none",
) -> ImageBlock:
    """Return a new encoder: (B, channels_in, H, W) in, (B, channels_out, H, W) out, any H and W.

    Parameters
    ----------
    name : a key of `ENCODERS`.
    channels_in, channels_out : of the image and of the result.
    width : channels at full resolution, or of the transformer's tokens.
    depth : blocks, resolutions or layers; the encoder's own default where None.
    kernel : side of the convolutions in pixels, odd, or of the transformer's patches; the encoder's own
        default where None.
    attention : a key of `ATTENTIONS`: what looks over the deepest features.

    Raises
    ------
    UsageError
        If no encoder or attention has that name, or a size is out of range.
    """
    if name not in ENCODERS:
        raise UsageError(f"there is no encoder {name!r}; choose one of {', '.join(ENCODERS)}")
    kind = ENCODERS[name]
    depth = kind.depth if depth is None else depth
    kernel = kind.kernel if kernel is None else kernel
    for what, value in (("channels_in", channels_in), ("channels_out", channels_out), ("width", width)):
        if value < 1:
            raise UsageError(f"{what} is {value}; give at least 1")
    if not 1 <= depth <= kind.deepest:
        raise UsageError(f"depth is {depth}; {name} takes 1 to {kind.deepest}, and {kind.depth} by itself")
    if kernel < 1 or (kind.odd and kernel % 2 == 0):
        wanted = "an odd number of pixels" if kind.odd else "at least 1 pixel"
        raise UsageError(f"kernel is {kernel}; give {wanted}; {name} takes {kind.kernel} by itself")
    return kind.build(channels_in, channels_out, width, depth, kernel, attention)
