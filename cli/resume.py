"""`--resume`: what a run was asked, in words that a later one can compare, and what is said when it is interrupted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geonp.errors import UsageError

if TYPE_CHECKING:
    from geonp.journal import Journal

OPTION = click.option(
    "--resume",
    "resumed",
    is_flag=True,
    help="Keep what is finished if the run is interrupted, and go on from what an earlier one kept.",
)
_INTERRUPTED = 130
# Of no consequence for the result; the tile is compared with the one that was chosen.
_PASSED_OVER = ("resumed", "overwrite", "as_json", "quiet", "verbose", "tile")


@contextlib.contextmanager
def keeping(wanted: bool, outputs: Sequence[Path]) -> Iterator[Journal | None]:
    """Give the journal of the run that writes `outputs`; without `--resume` none.

    It is removed when the run is finished. If the run fails with something finished, it is kept, and a line says how
    to go on.

    Raises
    ------
    UsageError, OutputError
        See `geonp.journal.Journal`; and if the run is not the same when it is repeated.
    """
    from geonp.journal import Journal, place_of

    if not wanted:
        if place_of(outputs[0]).exists():
            click.echo(
                f"note: an interrupted run left {place_of(outputs[0])}; --resume goes on with it, this run does not",
                err=True,
            )
        yield None
        return
    context = click.get_current_context()
    if context.params.get("adapt"):
        raise UsageError(
            "--adapt learns for a number of seconds, never the same twice: a run with it cannot be gone on with; "
            "leave --resume or --adapt out"
        )
    journal = Journal(outputs, asked(context.params, outputs))
    try:
        with journal:
            yield journal
    except BaseException as error:
        if journal.finished == 0:
            journal.remove()
            raise
        click.echo(
            f"geonp: {journal.finished} finished windows are kept in {journal.folder}; "
            "type the same command again to go on from there",
            err=True,
        )
        if isinstance(error, KeyboardInterrupt):
            context.exit(_INTERRUPTED)
        raise
    journal.remove()


def asked(params: dict[str, Any], outputs: Sequence[Path]) -> dict[str, str]:
    """Return what decides over the result, by the names of the options: files with their size and time."""
    from geonp import __version__
    from geonp.kriging.threads import available

    written = {os.fspath(path.absolute()) for path in outputs}
    told = {"geonp": __version__, "threads": str(available()), "folder": os.getcwd()}
    for name, value in params.items():
        if name in _PASSED_OVER or value is None or value == () or value is False:
            continue
        told[name] = str(value)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, str | Path) and os.path.exists(part):
                path = os.path.abspath(part)
                if path not in written:
                    told[f"file {path}"] = _identity(path)
    return told


def _identity(path: str) -> str:
    """Return size and time of a file, or of all files in a folder, such as a Zarr store."""
    files = [path]
    if os.path.isdir(path):
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    stats = [os.stat(file) for file in files]
    latest = max((stat.st_mtime_ns for stat in stats), default=0)
    return f"{sum(stat.st_size for stat in stats)} bytes in {len(stats)} file(s), changed at {latest} ns"
