"""How much is run: a short version for two cores, and the full length."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Budget(StrEnum):
    """What a benchmark may cost."""

    CPU = "cpu"
    FULL = "full"


@dataclass(frozen=True)
class Plan:
    """Sizes of a benchmark that trains networks.

    Parameters
    ----------
    channels : of the reference network; the others get as many parameters as that has.
    steps : optimiser steps of every training.
    batch : images in a batch.
    learning_rate : its peak.
    seeds : trainings of every network; seeds 0, 1, ...
    tested : test images.
    validated : images kept from training, to choose the best weights by.
    every : steps between two validations.
    """

    channels: int
    steps: int
    batch: int
    learning_rate: float
    seeds: int
    tested: int
    validated: int
    every: int
