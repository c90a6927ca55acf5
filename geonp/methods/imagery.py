"""The bundled method for images: its network went on learning on satellite images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from geonp.methods.flagship import BUNDLED, Flagship

IMAGERY = BUNDLED.with_name("kriged-ifanp-imagery.safetensors")
"""The weights for images."""


@dataclass(frozen=True)
class Imagery(Flagship):
    """Kriging, corrected by a network for images; in everything else it is `Flagship`."""

    name: ClassVar[str] = "imagery"
    weights: ClassVar[Path] = IMAGERY
    insistence: ClassVar[str] = "in Python Imagery(insist=True) insists on the network"
