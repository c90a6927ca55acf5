"""Lets autodoc read the docstrings of this package, which are written to be read as they stand.

Parameters are written `name : what it is`; types stand in the signatures. Numpydoc would take what follows the
colon for a type; here it becomes the description, with the lines that continue it. Bars and stars are norms and
products, not markup.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_LISTING = ("Parameters", "Attributes", "Other Parameters")
_ENTRY = re.compile(r"(?P<names>\*{0,2}[A-Za-z_][\w.]*(?:, \*{0,2}[A-Za-z_][\w.]*)*) : (?P<text>.+)")
_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_MARKUP = re.compile(r"(?<!\\)([|*])|(?<=\w)(_)(?!\w)")
_DOCTEST = re.compile(r"\s*(>>>|\.\.\. |\.\. )")


def described(lines: list[str]) -> list[str]:
    """Return a docstring's lines with every `name : text` of its parameters split into name and text."""
    out: list[str] = []
    section = ""
    for number, line in enumerate(lines):
        under = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if under and set(under) == {"-"}:
            section = line.strip()
        found = _ENTRY.fullmatch(line) if section in _LISTING else None
        if found is not None:
            out += [found["names"], f"    {literal(found['text'])}"]
        else:
            out.append(line if section == "Examples" else literal(line))
    return out


def literal(line: str) -> str:
    """Return a line whose bars and stars, outside of code, stand for themselves; code gets double backticks."""
    if _DOCTEST.match(line):
        return line
    parts = _CODE.split(line)
    parts[0::2] = [_MARKUP.sub(r"\\\g<0>", text) for text in parts[0::2]]
    parts[1::2] = [code if code.startswith("``") else f"`{code}`" for code in parts[1::2]]
    return "".join(parts)


def _process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = described(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before napoleon, which has the usual priority of 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True}
