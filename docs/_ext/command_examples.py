"""Shows the examples in a command's help as code, to be copied: sphinx-click makes lines of text of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
from sphinx.application import Sphinx


def as_code(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines with every run of `| text`, what click leaves unwrapped, turned into a literal block."""
    inside = False
    for line in lines:
        kept = line.startswith("| ")
        if kept and not inside:
            yield from ("::", "")
        if inside and not kept:
            yield ""
        yield f"    {line[2:]}" if kept else line
        inside = kept
    yield ""


def _process(app: Sphinx, ctx: click.Context, lines: list[str]) -> None:
    lines[:] = as_code(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Take part whenever sphinx-click has read the description of a command."""
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-description", _process)
    return {"parallel_read_safe": True}
