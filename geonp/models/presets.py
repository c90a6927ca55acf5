"""Named settings of architectures, and widths at which different networks have as many parameters."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import NamedTuple

import torch

from geonp.errors import ModelError, UsageError
from geonp.models.registry import ARCHITECTURES, config_from

_WIDTHS = {"kriged-ifanp": "width"}
_WIDEST = 1024
_CLOSE = 0.05


class Preset(NamedTuple):
    """An architecture and the settings that differ from its defaults."""

    architecture: str
    settings: Mapping[str, object]


PRESETS: Mapping[str, Preset] = types.MappingProxyType(
    {
        "ifnp-lpa": Preset("ifanp", {"gca_layers": 0}),
        "ifnp-senet": Preset("ifnp", {"attention": "squeeze-excitation"}),
        "ifnp-gca": Preset("ifanp", {"lpa_window": 1}),
    }
)
"""The ablations of the IFNP paper's table 1, where they are called IFANP (LPA), (SENet) and (GCA). Squeeze and
excitation stands where the local pooling aggregation does, before the pooling; the paper does not say where."""


def names() -> tuple[str, ...]:
    """Return every name that `resolve` knows."""
    return *ARCHITECTURES, *PRESETS


def resolve(name: str, settings: Mapping[str, object] | None = None) -> Preset:
    """Return the architecture and settings that a name stands for, with `settings` over them.

    Raises
    ------
    UsageError
        If there is no such architecture or preset.
    """
    if name in ARCHITECTURES:
        return Preset(name, dict(settings or {}))
    if name not in PRESETS:
        raise UsageError(f"there is no architecture {name!r}; choose one of {', '.join(names())}")
    found = PRESETS[name]
    return Preset(found.architecture, {**found.settings, **(settings or {})})


def parameters(name: str, settings: Mapping[str, object] | None = None) -> int:
    """Return how many parameters a network has; nothing of its size is allocated.

    Parameters
    ----------
    name : an architecture or a preset.
    settings : that differ from its defaults.

    Raises
    ------
    UsageError, ModelError
        See `resolve` and `config_from`.
    """
    found = resolve(name, settings)
    config = config_from(found.architecture, found.settings)
    with torch.device("meta"):
        model = ARCHITECTURES[found.architecture].model(config)
    return sum(p.numel() for p in model.parameters())


def matched(name: str, count: int, settings: Mapping[str, object] | None = None) -> Preset:
    """Return a network with the width at which it has `count` parameters, as nearly as it can.

    Parameters
    ----------
    name : an architecture or a preset.
    count : parameters to have, for example `parameters("ifanp")`.
    settings : that differ from its defaults, all but the width.

    Raises
    ------
    ModelError
        If no width comes within 5 % of `count`.
    UsageError
        See `resolve`.
    """
    found = resolve(name, settings)
    key = _WIDTHS.get(found.architecture, "channels")
    heads = {"heads": 8, **found.settings}["heads"] if found.architecture in ("acnp", "anp") else 1
    step = 8 if key == "width" else int(str(heads))

    def size(width: int) -> int:
        return parameters(found.architecture, {**found.settings, key: width * step})

    low, high = 1, _WIDEST // step
    while low < high:  # the narrowest with at least as many
        middle = (low + high) // 2
        low, high = (middle + 1, high) if size(middle) < count else (low, middle)
    best = min((w for w in (low - 1, low) if w >= 1), key=lambda w: abs(size(w) - count))
    if abs(size(best) - count) > _CLOSE * count:
        raise ModelError(
            f"{name} cannot have about {count} parameters: with {key}={best * step} it has {size(best)}"
        )
    return Preset(found.architecture, {**found.settings, key: best * step})
