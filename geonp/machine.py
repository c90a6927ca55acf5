"""What this process may use of the machine: cores and memory, as the system and its containers grant them."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
_MEMINFO, _STATM, _CPUINFO = Path("/proc/meminfo"), Path("/proc/self/statm"), Path("/proc/cpuinfo")
_UNKNOWN_FREE = 4 << 30


def cores() -> int:
    """Return the cores that this process may keep busy: its affinity, or the quota of its container if less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (_GROUP / "cpu.max").read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return allowed


def free_memory() -> int:
    """Return the bytes that can be taken without swapping: what the system has available, or the container's rest.

    4 GiB where the system does not tell.
    """
    found = [n for n in (_available(), _left_in_group()) if n is not None]
    return min(found, default=_UNKNOWN_FREE)


def used_memory() -> int:
    """Return the bytes that this process holds in memory; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


@lru_cache(maxsize=1)
def bfloat16_pays() -> bool:
    """Return whether the processor multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    try:
        flags = _CPUINFO.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _available() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _left_in_group() -> int | None:
    try:
        limit, used = (int((_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        return max(limit - used, 0)
    except (OSError, ValueError):
        return None
