"""Has the C library keep freed memory for the next window.

glibc gives large blocks back to the system as they are freed, and every page of the next ones is handed out anew,
zeroed, at its first use: four million times in four million pixels of the bundled method, a sixth of its time. A
program that allocates the same again and again does better to keep what it has; with one arena for all threads,
what one of them freed serves the others, and the peak is no higher.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

import numpy as np

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of `mallopt`, from glibc's malloc.h."""
_NEVER = 2**31 - 1
_LARGEST_LEARNT = 31 << 20
"""A block just below the largest from which glibc learns (DEFAULT_MMAP_THRESHOLD_MAX)."""


def keep_freed() -> bool:
    """Keep freed memory from now on, if the C library is glibc; for a process that is ours alone, at its start.

    Returns
    -------
    bool
        Whether that is so. What the environment says (`MALLOC_...`, `GLIBC_TUNABLES`) has precedence.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = _of_glibc("mallopt")
    if told or mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def reuse() -> None:
    """Have blocks of up to 31 MiB made of freed memory from now on, in a process that others use as well.

    No setting is changed: glibc does so by itself once a block of that size was freed, and still gives back what lies
    free beyond twice as much (mallopt(3), M_MMAP_THRESHOLD). What a fit and kriging allocate again and
    again is smaller.
    """
    np.empty(_LARGEST_LEARNT, np.uint8)


def give_back() -> None:
    """Give what was freed so far back to the system, once."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """Return a function of the C library by name; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
