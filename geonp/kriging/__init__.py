"""Kriging: exact where it can be, local where it must be; on the processor by NumPy and SciPy, on a GPU by torch.

The public names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geonp import _loading

if TYPE_CHECKING:
    from geonp.kriging.blocks import rectangles
    from geonp.kriging.covariance import Covariance, Structure
    from geonp.kriging.fit import fit_covariance, fit_grid
    from geonp.kriging.scattered import Kriged, Options, PointKriging, krige
    from geonp.kriging.validation import Validation, leave_one_out
    from geonp.kriging.variogram import empirical_variogram, fit_variogram, variogram_map

__all__ = [
    "Covariance",
    "Kriged",
    "Options",
    "PointKriging",
    "Structure",
    "Validation",
    "empirical_variogram",
    "fit_covariance",
    "fit_grid",
    "fit_variogram",
    "krige",
    "leave_one_out",
    "rectangles",
    "variogram_map",
]

_HOME = {
    "Covariance": "covariance",
    "Kriged": "scattered",
    "Options": "scattered",
    "PointKriging": "scattered",
    "Structure": "covariance",
    "Validation": "validation",
    "empirical_variogram": "variogram",
    "fit_covariance": "fit",
    "fit_grid": "fit",
    "fit_variogram": "variogram",
    "krige": "scattered",
    "leave_one_out": "validation",
    "rectangles": "blocks",
    "variogram_map": "variogram",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(_loading.load(f"geonp.kriging.{_HOME[name]}"), name)
    raise AttributeError(f"module 'geonp.kriging' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
