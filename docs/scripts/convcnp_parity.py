"""Our ConvCNP beside that of `neuralprocesses`, DeepSensor's engine, on the same tiles for the same steps.

Run `python docs/scripts/convcnp_parity.py RASTERS...` where `neuralprocesses` is installed (it is no dependency
of geonp). Both networks have five residual blocks with separable 9 x 9 convolutions (two a block in ours, one in
theirs) and about as many parameters; both see the same batches in turn, with Adam at the same rates, which rise
and fall as in `geonp fit`. It prints the log-likelihoods of held-out tiles and the speeds of docs/systems.md.
Times are processor time of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import lab.torch  # noqa: F401  (gives neuralprocesses its backend)
import neuralprocesses.torch as nps
import torch
from torch import Tensor

from geonp import open_field
from geonp.field import as_field
from geonp.masks import parse_context
from geonp.models import config_from, create, matched
from geonp.models.base import Gaussian
from geonp.nn.likelihood import normal_log_density
from geonp.tasks import Task
from geonp.tiles import TileSet
from geonp.training import schedule

BLOCKS, KERNEL = 5, 9
Network = Callable[[Task], Gaussian]


class Theirs(torch.nn.Module):
    """The ConvCNP of `neuralprocesses`, reading our tasks: lists of context points, a grid of targets."""

    def __init__(self, channels: int, tile: int) -> None:
        super().__init__()
        # The kernel is asked for by its receptive field: kernel = 1 + (field - 1) / blocks.
        field = (1 + BLOCKS * (KERNEL - 1)) / tile
        self.net = nps.construct_convgnp(
            dim_x=2,
            dim_y=1,
            likelihood="het",
            conv_arch="conv-res-sep",
            conv_layers=BLOCKS,
            conv_channels=channels,
            conv_receptive_field=field,
            points_per_unit=tile,
            margin=0,
        )

    def forward(self, task: Task) -> Gaussian:
        """Return the distribution of every pixel."""
        fields, _, rows, cols = task.values.shape
        if task.context.sum((1, 2, 3)).unique().numel() > 1:  # a few tiles show a pixel less
            apart = [self(Task(*part, None)) for part in zip(*(a.split(1) for a in parts(task)), strict=True)]
            return Gaussian(*(torch.cat(layer) for layer in zip(*apart, strict=True)))
        seen = task.context.flatten(1).nonzero()[:, 1].view(fields, -1)
        places = torch.stack([seen // cols, seen % cols], 1) / rows
        values = task.values.flatten(2).gather(2, seen[:, None])
        grid = tuple((torch.arange(n) / rows).expand(fields, 1, n) for n in (rows, cols))
        told = self.net(places, values, grid)
        return Gaussian(told.mean, told.var.sqrt())


def parts(task: Task) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a task's tensors."""
    return task.values, task.context, task.target, task.spacing


def score(network: Network, task: Task) -> Tensor:
    """Return the log density of every known pixel, nats per pixel."""
    density = normal_log_density(task.values, *network(task)) * task.target
    return density.sum() / task.target.sum()


def hidden(network: Network, tasks: list[Task]) -> tuple[float, float]:
    """Return the mean log density of unseen pixels, nats per pixel, and pixels told a second."""
    total = count = 0.0
    began = time.process_time()
    with torch.no_grad():
        for task in tasks:
            unseen = task.target * (1 - task.context)
            total += float((normal_log_density(task.values, *network(task)) * unseen).sum())
            count += float(unseen.sum())
    pixels = sum(task.values.numel() for task in tasks)
    return total / count, pixels / (time.process_time() - began)


def main() -> None:
    """Train both, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rasters", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tile", type=int, default=64)
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--context", default="0.125")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    fields = [as_field(open_field(path)) for path in given.rasters]
    tiles = TileSet(
        fields, given.tile, given.batch, parse_context(given.context), seed=given.seed, score_context=True
    )
    theirs = Theirs(given.channels, given.tile)
    task = tiles.batch(0)
    theirs(task)  # some of its parameters are made on the first call
    count = sum(p.numel() for p in theirs.parameters())
    head = {"head_layers": 2, "head_width": 32, "depth": BLOCKS, "kernel": KERNEL}
    found = matched("convcnp", count, head)
    ours = create(found.architecture, config_from(*found), seed=given.seed)
    networks: dict[str, torch.nn.Module] = {"geonp": ours, "neuralprocesses": theirs}
    spent = dict.fromkeys(networks, 0.0)
    optimisers = {n: torch.optim.Adam(net.parameters(), given.learning_rate) for n, net in networks.items()}
    validation = tiles.validation()
    for step in range(given.steps):
        task = tiles.batch(step)
        for name, net in networks.items():
            began = time.process_time()
            optimisers[name].zero_grad()
            torch.autograd.backward(-score(net, task))
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            for group in optimisers[name].param_groups:
                group["lr"] = given.learning_rate * schedule((step + 1) / given.steps, 0.05)
            optimisers[name].step()
            spent[name] += time.process_time() - began
        if (step + 1) % max(given.steps // 5, 1) == 0:
            told = {name: hidden(net, validation)[0] for name, net in networks.items()}
            shown = ", ".join(f"{name} {value:.4f}" for name, value in told.items())
            print(f"step {step + 1}: {shown}", flush=True)
    print("| implementation | parameters | log-likelihood (nats/pixel) | steps/s | pixels/s |")
    print("|---|---|---|---|---|")
    for name, net in networks.items():
        likelihood, speed = hidden(net, validation)
        size = sum(p.numel() for p in net.parameters())
        print(f"| {name} | {size} | {likelihood:.4f} | {given.steps / spent[name]:.2f} | {speed:,.0f} |")


if __name__ == "__main__":
    main()
