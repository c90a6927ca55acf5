"""Images and weights drawn from a seed."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Block = TypeVar("Block", bound=nn.Module)


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def awake(block: Block, seed: int = 0, std: float = 0.5) -> Block:
    """Draw every parameter anew, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in block.double().parameters():
        nn.init.normal_(parameter, std=std, generator=generator)
    return block


def applied(block: nn.Module, image: torch.Tensor) -> NDArray[np.float64]:
    with torch.no_grad():
        found: NDArray[np.float64] = block(image).double().numpy()
    return found
