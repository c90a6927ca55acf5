"""The sizes that the networks' configs have in common."""

from __future__ import annotations

from dataclasses import dataclass

from geonp.models.checks import check_noise, check_range


@dataclass(frozen=True)
class Sizes:
    """Sizes of any network.

    Parameters
    ----------
    bands : bands C of the fields.
    channels : channels of representations and hidden layers.
    noise : standard deviation of the likelihood in scaled units; None learns one for every pixel.

    Raises
    ------
    ModelError
        If a value is out of its range, or a name unknown.
    """

    bands: int = 1
    channels: int = 128
    noise: float | None = None

    def __post_init__(self) -> None:
        check_range("bands", self.bands, 1, 1024)
        check_range("channels", self.channels, 1, 4096)
        check_noise(self.noise)


@dataclass(frozen=True)
class LatentImageSizes(Sizes):
    """Sizes of a network that goes from an image by convolutions to one latent vector z, and back.

    Parameters
    ----------
    latent : dimension of z.
    encoder_layers : convolutions of an encoder.
    samples : draws of z in the loss.
    """

    channels: int = 32
    latent: int = 32
    encoder_layers: int = 3
    samples: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("latent", self.latent, 1, 4096)
        check_range("encoder_layers", self.encoder_layers, 1, 32)
        check_range("samples", self.samples, 1, 1024)
