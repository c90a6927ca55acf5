"""Every way to complete a field, by name. A method is imported when it is asked for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from geonp import _loading
from geonp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geonp.methods.base import Method

__all__ = ["METHODS", "Entry", "method_class", "with_variance"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a method before it is imported.

    Parameters
    ----------
    module, class_name : where it is written, in `geonp.methods`.
    has_variance : whether it gives a variance.
    summary : what it is, in a line.
    """

    module: str
    class_name: str
    has_variance: bool
    summary: str


METHODS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "bundled": Entry("flagship", "Flagship", True, "kriging, corrected by the network that comes along"),
        "imagery": Entry("imagery", "Imagery", True, "the same, its network made for satellite images"),
        "neural": Entry("neural", "Neural", True, "a trained network (a model file)"),
        "kriging": Entry(
            "kriging", "Kriging", True, "local ordinary kriging, covariance fitted by likelihood"
        ),
        "pykrige": Entry("pykrige", "PyKrige", True, "PyKrige: ordinary kriging from 16 neighbours"),
        "nearest": Entry("classical", "Nearest", False, "the nearest observation"),
        "linear": Entry("classical", "Linear", False, "planes over a Delaunay triangulation"),
        "cubic": Entry("classical", "Cubic", False, "Clough-Tocher: smooth cubics over a triangulation"),
        "bicubic": Entry(
            "lattice", "Bicubic", False, "bicubic, where observations form a lattice; else cubic"
        ),
        "idw": Entry("classical", "Idw", False, "inverse distances to 12 neighbours"),
        "rbf": Entry("classical", "Rbf", False, "cubic radial basis functions of 32 neighbours"),
        "inr": Entry("inr", "Inr", True, "a network of coordinates (SIREN), fitted to the raster itself"),
        "fillnodata": Entry("fillnodata", "FillNodata", False, "GDAL's filling of nodata regions"),
    }
)


def with_variance() -> tuple[str, ...]:
    """Return the names of the methods that give a variance."""
    return tuple(name for name, entry in METHODS.items() if entry.has_variance)


def method_class(name: str) -> type[Method]:
    """Return the class of a method; its fields are the method's parameters.

    Raises
    ------
    UsageError
        If there is no such method; the message names close matches.
    """
    entry = METHODS.get(name)
    if entry is None:
        close = difflib.get_close_matches(name.lower(), METHODS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UsageError(f"there is no method {name!r}; {hint}the methods are: {', '.join(METHODS)}")
    module = _loading.load(f"geonp.methods.{entry.module}")
    found: type[Method] = getattr(module, entry.class_name)
    return found
