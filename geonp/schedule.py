"""How to train: how long, how fast, on which devices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from geonp.devices import DEVICES, PRECISIONS
from geonp.errors import UsageError


@dataclass(frozen=True)
class Options:
    """How to train.

    Parameters
    ----------
    epochs : number of epochs; None for as many as `max_time` allows.
    max_time : seconds; None for as long as `epochs` take. With both, what ends first.
    steps_per_epoch : steps between two looks at the validation tasks.
    learning_rate : its peak. It rises linearly over the first `warmup` of the run, and falls to zero along a
        cosine; the run is measured in steps, or in seconds where `max_time` sets its end.
    weight_decay : decoupled from the gradient, as AdamW's is.
    warmup : fraction of the run.
    clip : largest norm of the gradient.
    patience : epochs without a better validation loss after which training ends; None never ends it.
    seed : of batches and losses.
    device : `auto` (a GPU where there is one), `cpu` or `cuda`.
    devices : processes on this machine, one a device, that share every batch; 1 for as many as a launcher
        (`torchrun`) started.
    accumulate : parts that a process works on one after the other, when its share of a batch does not fit into
        memory at once.
    precision : `32-true`, `bf16-mixed`, or `auto`: bfloat16 on a GPU that computes in it, float32 elsewhere.

    Raises
    ------
    UsageError
        If a value is out of its range, or neither `epochs` nor `max_time` is given.
    """

    epochs: int | None = None
    max_time: float | None = None
    steps_per_epoch: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    clip: float = 1.0
    patience: int | None = 30
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    accumulate: int = 1
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.epochs is None and self.max_time is None:
            raise UsageError("training has no end; give a number of epochs or a time (--epochs, --max-time)")
        counts = ("epochs", "steps_per_epoch", "patience", "devices", "accumulate")
        for name in (*counts, "max_time", "learning_rate", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}; it must be positive")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"warmup is {self.warmup}; it must be a fraction of the run, from 0 to below 1")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay is {self.weight_decay}; it must not be negative")
        if self.device not in DEVICES:
            raise UsageError(f"device is {self.device!r}; choose one of {', '.join(DEVICES)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("device is 'cuda', and torch sees no GPU here; use 'cpu', or 'auto'")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision is {self.precision!r}; choose one of {', '.join(PRECISIONS)}")


def schedule(progress: float, warmup: float) -> float:
    """Return the learning rate at `progress` (0 to 1) as a fraction of its peak.

    It rises linearly over `warmup`, a fraction of the run, then falls along half a cosine.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1.0)))
