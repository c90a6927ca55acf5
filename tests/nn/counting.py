"""Counting what PyTorch does, as docs/scripts/blocks_cost.py counts it."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from geonp.nn.cost import Cost
from geonp.nn.imageblock import ImageBlock

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "scripts"))
from blocks_cost import Written, count

__all__ = ["Written", "counted"]


def counted(block: ImageBlock, channels: int, height: int, width: int) -> Cost:
    """Return what one forward pass costs, with attention in its plain form (maps are part of the bytes)."""
    return count(block, torch.zeros(1, channels, height, width))
