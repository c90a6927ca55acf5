"""Figures and reports about completed fields.

`page` makes a report; `geonp.report.figures` draws single figures on matplotlib axes. matplotlib is imported when
one of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geonp.report.build import Report, page
    from geonp.report.hidden import Hidden

__all__ = ["Hidden", "Report", "page"]

_HOME = {"Hidden": "hidden", "Report": "build", "page": "build"}


def __getattr__(name: str) -> object:
    import importlib

    if name in _HOME:
        return getattr(importlib.import_module(f"geonp.report.{_HOME[name]}"), name)
    raise AttributeError(f"module 'geonp.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
