"""Checks of an architecture's settings."""

from __future__ import annotations

import math
from collections.abc import Iterable

from geonp.errors import ModelError


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ModelError unless low <= value <= high."""
    if not low <= value <= high:
        raise ModelError(f"{name} is {value}; give a number from {low} to {high}")


def check_odd(name: str, value: int) -> None:
    """Raise ModelError unless `value` is odd."""
    if value % 2 == 0:
        raise ModelError(f"{name} is {value}; give an odd number of pixels")


def check_name(name: str, value: str, known: Iterable[str]) -> None:
    """Raise ModelError unless `value` is one of the known names."""
    names = list(known)
    if value not in names:
        raise ModelError(f"{name} is {value!r}; choose one of {', '.join(names)}")


def check_noise(noise: float | None) -> None:
    """Raise ModelError unless `noise` is a positive deviation or None."""
    if noise is not None and not (math.isfinite(noise) and noise > 0):
        raise ModelError(f"noise is {noise}; give a positive deviation, or None to learn it")
