"""The directive `automodules`: every public module that no other page documents, so that none is left out."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# What stands behind commands is documented with them.
_BEHIND_COMMANDS = frozenset({"benchmarks", "cli", "weights"})
_NAMED = re.compile(r"\.\. automodule:: (\S+)")


def public_modules(package: str = "geonp") -> Iterator[str]:
    """Yield the modules of a package that are no one's business but the user's.

    A package that lists its names in `__all__` offers those; of one that does not, each module is public.
    """
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        last = info.name.rpartition(".")[2]
        if last.startswith("_") or last in _BEHIND_COMMANDS:
            continue
        if info.ispkg and not hasattr(importlib.import_module(info.name), "__all__"):
            yield from public_modules(info.name)
        else:
            yield info.name


class AutoModules(SphinxDirective):
    """Document the modules of the package that is named, but for those that a page names itself."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return an automodule for each, under its name."""
        lines: list[str] = []
        for name in sorted(set(public_modules(self.arguments[0])) - self._named()):
            lines += [f".. rubric:: {name}", "", f".. automodule:: {name}", "   :members:", ""]
        node = nodes.Element()
        self.state.nested_parse(StringList(lines, source="automodules"), self.content_offset, node)
        return node.children

    def _named(self) -> set[str]:
        pages = Path(self.env.srcdir).rglob("*.md")
        named = {name for page in pages for name in _NAMED.findall(page.read_text())}
        return named if self.arguments[0] != "geonp" else named | set(public_modules("geonp.nn"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("automodules", AutoModules)
    return {"parallel_read_safe": True}
