"""Loads modules that are large, torch among them, without the garbage collector looking on.

What a module defines stays for good, and the collector walks all of it again and again while it is being
defined: of the second that torch takes to load, that is a third.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it, the garbage collector is at rest."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def load(module: str) -> ModuleType:
    """Import `module`, and everything that it imports, undisturbed."""
    with undisturbed():
        return importlib.import_module(module)
