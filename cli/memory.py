"""`--memory` and `--tile`: what a run may take of the machine, and what it is told to expect of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from geonp.predict import Completion

TILE = click.option(
    "--tile",
    type=click.IntRange(min=1),
    help="Side of a window in pixels.  [default: what suits the method and fits into --memory]",
)


@contextlib.contextmanager
def machine() -> Iterator[int | None]:
    """Give the bytes stated by the command's `--memory`, and keep libraries to their share of the machine.

    GDAL keeps blocks of files in a sixteenth of the memory. BLAS, and torch where the method has loaded it, use as many
    threads as there are cores for this process, unless OMP_NUM_THREADS says otherwise.
    """
    import rasterio
    from threadpoolctl import threadpool_limits

    from geonp.kriging.threads import available
    from geonp.machine import cores
    from geonp.memory import Budget

    stated: int | None = click.get_current_context().params.get("memory")
    with contextlib.ExitStack() as limits:
        if "OMP_NUM_THREADS" not in os.environ:
            limits.enter_context(threadpool_limits(min(available(), cores()), "blas"))
            if (torch := sys.modules.get("torch")) is not None:
                torch.set_num_threads(min(torch.get_num_threads(), cores()))
        limits.enter_context(rasterio.Env(GDAL_CACHEMAX=Budget.of(stated).blocks))
        yield stated


def expect(ready: Completion, quiet: bool) -> int:
    """Say what memory a run takes beside the program, in bytes, and return it."""
    needed = ready.bytes_needed()
    if not quiet and ready.method is not None:
        click.echo(
            f"{ready.method.name} takes about {needed / 1e6:.0f} MB beside the program itself, in windows of "
            f"{ready.tile} pixels",
            err=True,
        )
    return needed
