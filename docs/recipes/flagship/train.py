"""Trains the bundled network on packed examples; `export.py` writes what was learnt as a model file.

    python docs/recipes/flagship/train.py OUT --held OUT_HELD --minutes 80 --run runs/flagship

A run that was interrupted goes on where it saved last; new shards in OUT are taken up as they appear. The
learning rate is constant for a third of the time, then falls linearly to zero. The running average of the
weights is what is exported. With `--device cuda --width 64` a GPU makes a larger one of the same examples.
`--start RUN` begins with the average of another run; residual blocks that it lacks (`--depth`) start without
effect. Time for which the process was suspended does not count.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geonp.kriged_tiles import Example, assemble, varied
from geonp.models import create
from geonp.models.kriged import KrigedConfig, KrigedIFANP, crps
from geonp.optimisers import optimiser
from geonp.tasks import Task

Shard = dict[str, NDArray[np.generic]]

_IMAGES = ("mean", "std", "residual", "surprise", "observed", "known")
_WARM_UP, _HOLD = 300, 0.35
_LONGEST_STEP = 20.0  # seconds
_OF_HIDDEN, _DECAY = 1 / 3, 0.02  # hidden kernels': share of the learning rate, and weight decay


def example(shard: Shard, index: int) -> Example:
    """Return a packed example."""
    images = {key: shard[key][index] for key in _IMAGES}
    layers = (images[key][None].astype(np.float32) for key in ("mean", "std", "surprise", "residual"))
    known = images["known"]
    noise = np.array([shard["noise"][index]], np.float32)
    spacing = (float(shard["aspect"][index]), 1.0)
    return Example(*layers, images["observed"], known, np.ones_like(known), spacing, noise)


def batch(shards: list[Shard], rng: np.random.Generator, size: int) -> Task:
    """Draw examples: turned, mirrored, upside down, one in five on a canvas larger than its raster."""
    drawn = [shards[int(rng.integers(len(shards)))] for _ in range(size)]
    return assemble([varied(example(shard, int(rng.integers(len(shard["aspect"])))), rng) for shard in drawn])


def take_up(model: KrigedIFANP, average: dict[str, Tensor]) -> None:
    """Give a network the weights of another, which may have fewer residual blocks in a row."""
    missing, unexpected = model.load_state_dict(average, strict=False)
    if unexpected or any(".following." not in name for name in missing):
        raise SystemExit(f"the other run's network is of another kind: {[*unexpected, *missing][0]}")


@torch.no_grad()
def scores(model: KrigedIFANP, shards: list[Shard]) -> dict[str, float]:
    """Return geometric means over examples of RMSE and CRPS as shares of kriging's, and the 90 % coverage."""
    rows = []
    for shard in shards:
        for start in range(0, len(shard["aspect"]), 64):
            count = len(shard["aspect"])
            given = assemble([example(shard, i) for i in range(start, min(start + 64, count))])
            told = model(given)
            z, weight = given.values.clamp(-50, 50), given.covariates[:, :1]

            def mean(x: Tensor, target: Tensor = given.target) -> Tensor:
                return (x * target).sum((1, 2, 3)) / target.sum((1, 2, 3))

            zero, one = torch.zeros_like(z), torch.ones_like(z)
            squared = mean((weight * (z - told.mean)) ** 2) / mean((weight * z) ** 2)
            score = mean(weight * crps(z, told.mean, told.std)) / mean(weight * crps(z, zero, one))
            covered = mean(((z - told.mean).abs() < 1.6449 * told.std).float())
            rows.append(torch.stack([squared.sqrt(), score, covered], 1))
    found = torch.cat(rows)
    ratios = found[:, :2].log().mean(0).exp()
    return {"rmse": float(ratios[0]), "crps": float(ratios[1]), "cov90": float(found[:, 2].mean())}


def main() -> None:
    """Train until the time is up, then export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--held", type=Path, required=True, help="shards that are only scored")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run's state and log")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--start", type=Path, help="folder of the run whose average is the start")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.run.mkdir(parents=True, exist_ok=True)

    device = torch.device(chosen.device)
    config = KrigedConfig(width=chosen.width, attention_window=5, depth=chosen.depth)
    model = create(KrigedIFANP.name, config, chosen.seed).to(device, memory_format=torch.channels_last)
    assert isinstance(model, KrigedIFANP)
    if chosen.start:
        take_up(model, torch.load(chosen.start / "state.pt", weights_only=True)["average"])
    average = copy.deepcopy(model)
    method = optimiser(model, chosen.rate, 0.0, half=True)
    state, step, spent = chosen.run / "state.pt", 0, 0.0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        model.load_state_dict(kept["model"])
        average.load_state_dict(kept["average"])
        method.load_state_dict(kept["optimiser"])
        step, spent = kept["step"], kept["spent"]

    def save() -> None:
        tensors = {"model": model.state_dict(), "average": average.state_dict()}
        draft = state.with_suffix(".part")
        told = {"config": asdict(config), "step": step, "spent": spent}
        torch.save({**tensors, "optimiser": method.state_dict(), **told}, draft)
        os.replace(draft, state)

    held = [dict(np.load(path)) for path in sorted(chosen.held.glob("*.npz"))]
    shards: dict[Path, Shard] = {}

    def drawn(step: int) -> Task:
        return batch(list(shards.values()), np.random.default_rng([chosen.seed, step]), chosen.batch)

    ahead = ThreadPoolExecutor(1)
    coming: Future[Task] | None = None
    last, saved = time.monotonic(), time.monotonic()
    while spent < 60 * chosen.minutes:
        if step % 100 == 0 or not shards:
            new = [path for path in sorted(chosen.shards.glob("*.npz")) if path not in shards]
            shards |= {path: dict(np.load(path)) for path in new}
        given = (drawn(step) if coming is None else coming.result()).to(device)
        coming = ahead.submit(drawn, step + 1)
        share = spent / (60 * chosen.minutes)
        rate = chosen.rate * min(1, (step + 1) / _WARM_UP) * min(1, max((1 - share) / (1 - _HOLD), 0.01))
        with torch.autocast(device.type, torch.bfloat16):
            loss = model.loss(given)
        method.zero_grad()
        loss.backward()
        size = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if torch.isfinite(size):
            for group in method.param_groups:
                group["lr"] = rate * _OF_HIDDEN if group["hidden"] else rate
                group["weight_decay"] = _DECAY if group["hidden"] else 0.0
            method.step()
        step += 1
        keep = min(0.9995 if share > 0.3 else 0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
        now = time.monotonic()
        spent, last = spent + min(now - last, _LONGEST_STEP), now
        if now - saved > 240:
            found = scores(average.cpu().eval(), held)
            average.to(device)
            line = {
                "step": step,
                "seconds": round(spent),
                "examples": 512 * len(shards),
                "rate": rate,
                **found,
            }
            with (chosen.run / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), file=sys.stderr, flush=True)
            save()
            saved = last = time.monotonic()
    save()


if __name__ == "__main__":
    main()
