"""The architectures, by name; one file each."""

from __future__ import annotations

from geonp.models.base import Gaussian, Model
from geonp.models.presets import PRESETS, Preset, matched, names, parameters, resolve
from geonp.models.registry import ARCHITECTURES, Architecture, config_from, create, restore, weights

__all__ = [
    "ARCHITECTURES",
    "PRESETS",
    "Architecture",
    "Gaussian",
    "Model",
    "Preset",
    "config_from",
    "create",
    "matched",
    "names",
    "parameters",
    "resolve",
    "restore",
    "weights",
]
