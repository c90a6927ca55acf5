"""Training steps and pixels a second of every network of docs/systems.md, at the same number of parameters.

Run `python docs/scripts/systems_speed.py`. Tiles of random numbers, 12.5 % seen; times are processor time of one
thread, the median of several steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch

from geonp.models import config_from, create, matched, names, parameters, resolve
from geonp.tasks import Task

SMALL_HEAD = {"head_layers": 2, "head_width": 64}
SETTINGS: dict[str, dict[str, object]] = {
    "acnp": {"heads": 4},
    "anp": {"heads": 4, "latent": 64},
    "np": {"latent": 64},
    "convcnp": SMALL_HEAD,
    "convnp": SMALL_HEAD,
}


def seconds(what: Callable[[], object], times: int) -> float:
    """Return the median processor time of a call, after one that is not counted."""
    what()
    spent = []
    for _ in range(times):
        began = time.process_time()
        what()
        spent.append(time.process_time() - began)
    return median(spent)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tile", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(0)
    shape = (given.batch, 1, given.tile, given.tile)
    context = (torch.rand(shape, generator=g) < 0.125).float()
    task = Task(torch.randn(shape, generator=g), context, torch.ones(shape), torch.ones(given.batch, 2))
    wanted = parameters("ifanp")
    print("| network | parameters | width | training steps/s | pixels/s |")
    print("|---|---|---|---|---|")
    for name in names():
        if name == "kriged-ifanp":  # it works on what kriging gives, and has a table of its own
            continue
        found = matched(name, wanted, SETTINGS.get(name))
        net = create(found.architecture, config_from(*found))
        optimiser = torch.optim.Adam(net.parameters(), 1e-3)

        def step(net: torch.nn.Module = net, optimiser: torch.optim.Optimizer = optimiser) -> None:
            optimiser.zero_grad()
            torch.autograd.backward(net.loss(task, g))
            optimiser.step()

        train = seconds(step, given.times)
        with torch.inference_mode():
            told = seconds(lambda net=net: net(task), given.times)
        count, width = parameters(*resolve(*found)), found.settings["channels"]
        print(f"| {name} | {count:,} | {width} | {1 / train:.1f} | {task.values.numel() / told:,.0f} |")


if __name__ == "__main__":
    main()
