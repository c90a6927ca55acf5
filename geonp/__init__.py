"""geonp completes gridded fields: a sparse or holey raster becomes a mean raster and a variance raster.

Importing the package is cheap: every public name is loaded on first use, and the `.geonp` accessor is
registered as soon as xarray is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geonp import _loading, _register
from geonp.errors import GeonpError, GeonpWarning

if TYPE_CHECKING:
    from geonp.chunked import complete
    from geonp.evaluation import evaluate
    from geonp.exceedance import exceed
    from geonp.fitting import fit
    from geonp.io import open_field
    from geonp.kriging import krige
    from geonp.methods.choose import load
    from geonp.methods.covaried import with_covariates
    from geonp.methods.errors import with_errors
    from geonp.simulation import simulate
    from geonp.suggestion import suggest

__version__ = "0.1.0"

__all__ = [
    "GeonpError",
    "GeonpWarning",
    "__version__",
    "complete",
    "evaluate",
    "exceed",
    "fit",
    "krige",
    "load",
    "open_field",
    "simulate",
    "suggest",
    "with_covariates",
    "with_errors",
]

_HOME = {
    "complete": "geonp.chunked",
    "evaluate": "geonp.evaluation",
    "exceed": "geonp.exceedance",
    "fit": "geonp.fitting",
    "krige": "geonp.kriging",
    "load": "geonp.methods.choose",
    "open_field": "geonp.io",
    "simulate": "geonp.simulation",
    "suggest": "geonp.suggestion",
    "with_covariates": "geonp.methods.covaried",
    "with_errors": "geonp.methods.errors",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(_loading.load(_HOME[name]), name)
    raise AttributeError(f"module 'geonp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


_register.when_xarray_is_imported("geonp.accessor")
