"""Writes the running average of a run as a model file, its deviations made to cover what they should.

    python docs/recipes/flagship/export.py runs/flagship --held packed_held -o geonp/weights/kriged-ifanp.safetensors

The deviations are multiplied by the least factor with which the 90 % intervals cover nine tenths of the held
examples' pixels (a mean over examples), the eight orientations averaged as they are in use.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor
from train import Shard, example, scores

from geonp.io.checkpoint import Checkpoint, Trained, write_checkpoint
from geonp.kriged_tiles import assemble, turned_back
from geonp.models import create, weights
from geonp.models.kriged import KrigedConfig, KrigedIFANP
from geonp.scaling import Standardise, dumps

_NINETY = 1.6448536269514722
_EXAMPLES, _BATCH, _TURNS = 128, 32, 8


@torch.no_grad()
def standardised(model: KrigedIFANP, shard: Shard) -> list[Tensor]:
    """Return |error| / deviation at the targets of every example."""
    found = []
    for start in range(0, min(len(shard["aspect"]), _EXAMPLES), _BATCH):
        part = [example(shard, i) for i in range(start, min(start + _BATCH, len(shard["aspect"])))]
        mean, log_std = torch.zeros(()), torch.zeros(())
        for turn in range(_TURNS):
            told = model(assemble([one.turned(turn) for one in part]))
            mean = mean + turned_back(told.mean, turn) / _TURNS
            log_std = log_std + turned_back(told.std.log(), turn) / _TURNS
        given = assemble(part)
        ratio = (given.values.clamp(-50, 50) - mean).abs() / log_std.exp()
        found += [r[t > 0] for r, t in zip(ratio, given.target, strict=True)]
    return found


def widening(ratios: list[Tensor]) -> float:
    """Return the factor on the deviations with which 90 % of the targets are covered."""

    def missing(factor: float) -> float:
        return float(np.mean([(r < _NINETY * factor).float().mean() for r in ratios])) - 0.9

    return float(brentq(missing, 0.5, 2.0, xtol=1e-4))


def widened(model: KrigedIFANP, factor: float) -> KrigedIFANP:
    """Return the network with its deviations multiplied by `factor`: the bias of their logarithm is moved."""
    bias = model.net.head.bias
    with torch.no_grad():
        bias[len(bias) // 2 :] += math.log(factor)  # pixels of 2 x 2 cells, the means first
    return model


def main() -> None:
    """Write the file, and print what the network scores on the held examples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run's state")
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("-o", dest="out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    kept = torch.load(chosen.run / "state.pt", weights_only=True)
    model = create(KrigedIFANP.name, KrigedConfig(**kept["config"])).eval()
    assert isinstance(model, KrigedIFANP)
    model.load_state_dict(kept["average"])
    held = [dict(np.load(path)) for path in sorted(chosen.held.glob("*.npz"))]
    factor = widening([ratio for shard in held for ratio in standardised(model, shard)])
    told = {**scores(widened(model, factor), held), "factor": factor, "step": kept["step"]}
    print(json.dumps(told))
    rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in weights(model).items()}
    steps, seconds = kept["step"], kept["spent"]
    trained = Trained(
        (0.015, 0.5), (64, 64), steps=steps, seconds=seconds, score=told["crps"], seed=chosen.seed
    )
    file = Checkpoint(
        model.name, asdict(model.config), dumps(Standardise()), model.receptive_field, trained, rounded
    )
    write_checkpoint(chosen.out, file, overwrite=True)


if __name__ == "__main__":
    main()
