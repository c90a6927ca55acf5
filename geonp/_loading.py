"""Loads modules that are large, torch among them, without the garbage collector looking on.

What a module defines stays for good, and the collector walks all of it again and again while it is being
defined: of the second that torch takes to load, that is a third. Afterwards it is told that all this is old, or it
would walk it once more, as new objects.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it, the garbage collector is at rest; what is there at its end counts as old."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if gc.get_freeze_count() == 0:  # what somebody froze stays frozen
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def load(module: str) -> ModuleType:
    """Import `module`, and everything that it imports, undisturbed."""
    with undisturbed():
        return importlib.import_module(module)
