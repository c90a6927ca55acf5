"""Counting what PyTorch does: operations by its own counter, activations by watching every operator."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from geonp.nn.cost import Cost
from geonp.nn.imageblock import ImageBlock

WRITERS = {"aten::convolution", "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}


class Written(TorchDispatchMode):
    """Sums the bytes that convolutions and matrix products write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.name in WRITERS:
            self.bytes += out.numel() * out.element_size()
        return out


def counted(block: ImageBlock, channels: int, height: int, width: int) -> Cost:
    """Return what one forward pass costs, with attention in its plain form (maps are part of the bytes)."""
    image = torch.zeros(1, channels, height, width)
    flops, written = FlopCounterMode(display=False), Written()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with flops:
            block(image)
        with written:
            block(image)
    return Cost(flops.get_total_flops(), written.bytes)
