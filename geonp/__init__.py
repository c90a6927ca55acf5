"""geonp completes gridded fields: a sparse or holey raster becomes a mean raster and a variance raster.

Importing the package is cheap: every public name is loaded on first use, and the `.geonp` accessor is
registered as soon as xarray is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from geonp import _register
from geonp.errors import GeonpError, GeonpWarning

if TYPE_CHECKING:
    from geonp.evaluate import evaluate
    from geonp.fitting import fit
    from geonp.io import open_field
    from geonp.kriging import krige
    from geonp.methods.choose import load
    from geonp.predict import complete

__version__ = "0.1.0"

__all__ = [
    "GeonpError",
    "GeonpWarning",
    "__version__",
    "complete",
    "evaluate",
    "fit",
    "krige",
    "load",
    "open_field",
]

_HOME = {
    "complete": "geonp.predict",
    "evaluate": "geonp.evaluate",
    "fit": "geonp.fitting",
    "krige": "geonp.kriging",
    "load": "geonp.methods.choose",
    "open_field": "geonp.io",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'geonp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


_register.when_xarray_is_imported("geonp.accessor")
