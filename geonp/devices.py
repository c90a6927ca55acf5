"""Where training runs: on which devices, in how many processes, how precisely it computes.

Several processes are started by `torchrun` or by `geonp fit --devices`, or by Fabric itself, which runs a
script once more for every further device. Who started them tells each by the variables of the environment
that PyTorch defines (https://pytorch.org/docs/stable/elastic/run.html).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from geonp.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32-true", "bf16-mixed")


@dataclass(frozen=True)
class Crew:
    """The processes that train one network together.

    Parameters
    ----------
    here : processes on this machine, one a device.
    machines : how many machines have as many.
    """

    here: int
    machines: int = 1

    @classmethod
    def started(cls) -> Crew | None:
        """Return the processes that a launcher started, this one among them; None where none did."""
        found = os.environ
        if "TORCHELASTIC_RUN_ID" not in found:
            return None
        here = int(found["LOCAL_WORLD_SIZE"])
        return cls(here, int(found["WORLD_SIZE"]) // here)


def on_gpu(device: str) -> bool:
    """Return whether `device` (`auto`, `cpu`, `cuda`) means a GPU here."""
    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


def resolve_precision(precision: str, device: str) -> str:
    """Return a precision, and for `auto` what it means: bfloat16 on a GPU that computes in it, else float32."""
    if precision != "auto":
        return precision
    return (
        "bf16-mixed"
        if on_gpu(device) and torch.cuda.is_bf16_supported(including_emulation=False)
        else "32-true"
    )


def fabric(device: str, devices: int, precision: str) -> Fabric:
    """Return the Fabric that this process trains with, joined with the other processes.

    Parameters
    ----------
    device : `auto`, `cpu` or `cuda`.
    devices : processes on this machine; 1 for as many as a launcher started.
    precision : `auto`, `32-true` or `bf16-mixed`.

    Raises
    ------
    UsageError
        If a launcher started another number of processes, or there are fewer GPUs.
    """
    crew = Crew.started()
    if crew is not None and devices not in (1, crew.here):
        raise UsageError(
            f"devices is {devices}, and {crew.here} processes were started on this machine; leave it out, or "
            f"start as many: torchrun --nproc-per-node {devices}"
        )
    crew = crew or Crew(devices)
    gpu = on_gpu(device)
    if gpu and crew.here > torch.cuda.device_count():
        raise UsageError(
            f"{crew.here} processes need a GPU each, and torch sees {torch.cuda.device_count()}; start fewer "
            "(--devices), or use --device cpu"
        )
    with _silenced():
        made = Fabric(
            accelerator="gpu" if gpu else "cpu",
            devices=crew.here,
            num_nodes=crew.machines,
            precision=resolve_precision(precision, device),
        )
        if crew.here * crew.machines > 1:
            made.launch()
    return made


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep Fabric from telling on the terminal what it computes in and how its processes found each other."""
    log = logging.getLogger("lightning_fabric")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)
