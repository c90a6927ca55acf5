"""`--scheduler` and `--keep-going`: windows completed by the workers of a dask cluster that runs already."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .options import together

if TYPE_CHECKING:
    from geonp.blend import Layers
    from geonp.cluster import Workers
    from geonp.field import Window
    from geonp.predict import Completion

OPTIONS = together(
    click.option(
        "--scheduler", metavar="ADDRESS", help="Let a dask cluster complete the windows: tcp://host:8786."
    ),
    click.option(
        "--keep-going", is_flag=True, help="With --scheduler: mask a window that keeps failing, and go on."
    ),
)


@dataclass(frozen=True)
class Crew:
    """Who completes the windows: the workers of a cluster, or, where there are none, this process."""

    workers: Workers | None

    def completing(self, ready: Completion) -> Callable[[Sequence[Window]], Iterable[Layers]]:
        """Return what completes windows of a run, in their order."""
        workers = self.workers
        return ready.completed if workers is None else lambda windows: workers.completed(ready, windows)

    def report(self) -> dict[str, Any]:
        """Say on stderr which windows failed; return how many for `--json`."""
        if self.workers is None:
            return {}
        failures = self.workers.failures
        for failure in failures:
            click.echo(f"note: {failure}; it is masked", err=True)
        return {"workers": len(self.workers.client.nthreads()), "failed_windows": len(failures)}


@contextlib.contextmanager
def crew(address: str | None, keep_going: bool, resumed: bool) -> Iterator[Crew]:
    """Give the workers of the cluster at `address`, or nobody where it is None."""
    if address is None:
        if keep_going:
            raise click.UsageError("--keep-going is for windows that a cluster completes (--scheduler)")
        yield Crew(None)
        return
    if keep_going and resumed:
        raise click.UsageError("--resume would keep what --keep-going masks; leave one of them out")
    from geonp.cluster import Workers, connected

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said in one line
    with connected(address) as client:
        yield Crew(Workers(client, keep_going))
