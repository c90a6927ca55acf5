"""Registers the xarray accessor without importing xarray, which would slow every `geonp --help`."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

from geonp._loading import undisturbed


class _AfterImport(importlib.abc.Loader):
    """Runs xarray's own loader, then imports the accessor module."""

    def __init__(self, loader: importlib.abc.Loader, then: str) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        with undisturbed():
            self._loader.exec_module(module)
            importlib.import_module(self._then)


class _Finder(importlib.abc.MetaPathFinder):
    """Answers for xarray once, then leaves."""

    def __init__(self, then: str) -> None:
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "xarray":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _AfterImport(spec.loader, self._then)
        return spec


def when_xarray_is_imported(then: str) -> None:
    """Import the module `then` after xarray: now if it is loaded, else when somebody loads it."""
    if "xarray" in sys.modules:
        importlib.import_module(then)
    else:
        sys.meta_path.insert(0, _Finder(then))
