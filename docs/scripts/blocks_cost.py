"""What encoders and attentions cost, as stated and as counted: the tables of docs/blocks.md.

Run `OMP_NUM_THREADS=1 python docs/scripts/blocks_cost.py`; it takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from geonp.nn.attentions import ATTENTIONS, attention
from geonp.nn.cost import Cost
from geonp.nn.encoders import ENCODERS, encoder
from geonp.nn.imageblock import ImageBlock

MIB = 1024**2
WRITERS = {"aten::convolution", "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}


class Written(TorchDispatchMode):
    """Sums the bytes that convolutions and matrix products write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and look at what it returns."""
        out = func(*args, **(kwargs or {}))
        if func._schema.name in WRITERS:
            self.bytes += out.numel() * out.element_size()
        return out


@dataclass(frozen=True)
class Measured:
    """A block on one image of random values.

    Parameters
    ----------
    stated, counted : cost by formula, and by PyTorch's counters with attention in its plain form.
    kept : bytes that autograd holds for the backward pass, attention by the fused kernel where there is one.
    seconds : processor time of a forward pass without gradients, the shortest of some.
    parameters : numbers that are learnt.
    """

    stated: Cost
    counted: Cost
    kept: int
    seconds: float
    parameters: int


def measure(block: ImageBlock, channels: int, side: int, repeats: int) -> Measured:
    """Measure a block on an image of `side` x `side` pixels."""
    image = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    return Measured(
        block.cost(side, side),
        count(block, image),
        kept(block, image),
        min(seconds(block, image) for _ in range(repeats)),
        sum(p.numel() for p in block.parameters()),
    )


def count(block: ImageBlock, image: torch.Tensor) -> Cost:
    """Count operations and written bytes of a forward pass, attention in its plain form: maps are part of the bytes."""
    flops, written = FlopCounterMode(display=False), Written()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with flops:
            block(image)
        with written:
            block(image)
    return Cost(flops.get_total_flops(), written.bytes)


def kept(block: ImageBlock, image: torch.Tensor) -> int:
    """Count the bytes that are kept for the backward pass, each memory once, parameters apart."""
    own = {p.untyped_storage().data_ptr() for p in block.parameters()}
    held: dict[int, int] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(hold, lambda tensor: tensor):
        # The result holds the graph, and so all memory that was counted: no address is used twice.
        result = block(image.requires_grad_())
    del result
    return sum(held.values())


def seconds(block: ImageBlock, image: torch.Tensor) -> float:
    """Return the processor time of a forward pass: the time on one thread, whatever else the machine does."""
    with torch.no_grad():
        start = time.process_time()
        block(image)
        return time.process_time() - start


def table(rows: Iterator[tuple[str, Measured]]) -> None:
    """Print a Markdown table."""
    print(
        "| name | parameters | MFLOP stated | counted | MiB written, stated | counted | of it maps | kept | ms |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, found in rows:
        stated, counted = found.stated, found.counted
        cells = [
            f"{found.parameters:,}",
            f"{stated.flops / 1e6:.5g}",
            f"{counted.flops / 1e6:.5g}",
            f"{stated.bytes / MIB:.4g}",
            f"{counted.bytes / MIB:.4g}",
            f"{stated.maps / MIB:.4g}",
            f"{found.kept / MIB:.3g}",
            f"{1e3 * found.seconds:.2g}",
        ]
        print(f"| `{name}` | {' | '.join(cells)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=64, help="side of the image in pixels")
    parser.add_argument("--channels", type=int, default=64, help="channels in, out and between")
    parser.add_argument("--repeats", type=int, default=10, help="forward passes timed")
    given = parser.parse_args()
    c, side, repeats = given.channels, given.side, given.repeats
    torch.manual_seed(0)
    table((n, measure(attention(n, c), c, side, repeats)) for n in ATTENTIONS if n != "none")
    print()
    table((n, measure(encoder(n, c, c, c), c, side, repeats)) for n in ENCODERS)
    print()
    names = ["non-local-embedded", "dual", "criss-cross", "non-local-dot"]
    print(f"| side | {' | '.join(f'`{n}`' for n in names)} |")
    print(f"|--:|{'--:|' * len(names)}")
    for size in (32, 64, 128, 256):
        costs = [attention(n, c).cost(size, size) for n in names]
        print(f"| {size} | {' | '.join(f'{k.flops / 1e6:,.0f} / {k.bytes / MIB:,.1f}' for k in costs)} |")


if __name__ == "__main__":
    main()
