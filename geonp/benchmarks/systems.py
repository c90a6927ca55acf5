"""The networks of a table, sized to as many parameters as a reference has."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from geonp.models import config_from
from geonp.models.presets import matched, parameters, resolve


class System(NamedTuple):
    """A row of a table: a label, an architecture or preset, and its settings that differ from the defaults."""

    label: str
    name: str
    settings: tuple[tuple[str, Any], ...] = ()


class Sized(NamedTuple):
    """A system's architecture and config, and how many parameters it has."""

    architecture: str
    config: Any
    parameters: int

    def __str__(self) -> str:
        values = ", ".join(
            f"{f.name}={getattr(self.config, f.name)}" for f in dataclasses.fields(self.config)
        )
        return f"{self.architecture}({values})"


def sized(system: System, bands: int, channels: int | None = None, count: int | None = None) -> Sized:
    """Return a system for images of `bands` bands: of so many channels, or of about `count` parameters.

    Raises
    ------
    UsageError
        If this version has no such architecture.
    ModelError
        If it has no such settings, or cannot have about so many parameters.
    """
    settings: dict[str, object] = {"bands": bands, **dict(system.settings)}
    if count is not None:
        found = matched(system.name, count, settings)
    else:
        found = resolve(system.name, settings if channels is None else {**settings, "channels": channels})
    config = config_from(found.architecture, found.settings)
    return Sized(found.architecture, config, parameters(found.architecture, found.settings))
