"""Freed memory that is kept: pages are handed out once."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from geonp.heap import keep_freed

kept = keep_freed() if sys.argv[1] == "keep" else False
def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 * 2**20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
touched()
print(kept, touched())
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")


def told(program: str, *words: str, **environment: str) -> list[str]:
    """What a program prints, in an environment that says nothing of memory."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    # Huge pages would hide the faults that are counted.
    plain["NUMPY_MADVISE_HUGEPAGE"] = "0"
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def run(*words: str, **environment: str) -> tuple[bool, int]:
    kept, faults = told(PROGRAM, *words, **environment)
    return kept == "True", int(faults)


def test_memory_that_was_freed_is_used_again() -> None:
    asked, before = run("leave")
    assert not asked
    assert before > 1000
    kept, after = run("keep")
    assert kept
    assert after < before / 10


def test_what_the_environment_says_stands() -> None:
    kept, faults = run("keep", MALLOC_TRIM_THRESHOLD_="65536")
    assert not kept
    assert faults > 1000


def test_what_was_freed_is_given_back_when_asked() -> None:
    program = """
import numpy as np
from geonp.heap import give_back, keep_freed
from geonp.machine import used_memory
keep_freed()
np.ones(256 * 2**20, np.uint8)
kept = used_memory()
give_back()
print(kept - used_memory())
"""
    assert int(told(program)[0]) > 200 * 2**20


def test_blocks_of_some_megabytes_are_made_of_freed_ones_without_a_setting() -> None:
    program = """
import resource, sys
import numpy as np
from geonp.heap import reuse

def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        blocks = [np.ones(2**20, np.uint8) for _ in range(24)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "reuse":
    reuse()
touched()
print(touched())
"""
    (before,), (after,) = told(program, "leave"), told(program, "reuse")
    assert int(before) > 4 * 1000
    assert int(after) < int(before) / 10
