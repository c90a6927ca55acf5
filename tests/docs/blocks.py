"""Finds every code block of the README and of the documentation.

What happens to a block follows from its language: `python` and `sh` (or `console`) are run, in order, page by
page; a `{code-cell}` is run when the site is built; `text` is output, and data formats are parsed. A block that
cannot run here says why, in a comment right before it: `<!-- not run: needs a GPU -->`; one that needs a program
which is not everywhere names it: `<!-- needs: gdal_grid -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PYTHON = ("python", "py")
SHELL = ("sh", "bash", "console", "shell")
DATA = ("toml", "json", "yaml", "csv", "ini")
OUTPUT = ("text", "markdown")
CELL = "{code-cell}"
# Directives whose content is Markdown again.
_NESTING = re.compile(r"\{(note|tip|warning|important|admonition|dropdown|tab-set|tab-item|details)\}")
_CODE = re.compile(r"\{(?:code-block|code)\}\s*(\w+)")
_EXCUSE = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->", re.DOTALL)
_NEEDS = re.compile(r"<!--\s*needs:\s*(.+?)\s*-->")


@dataclass(frozen=True)
class Block:
    """One code block: where it stands, its language, its text, and why it is not run, where it is not.

    `needs` are the programs without which it cannot run.
    """

    page: Path
    line: int
    language: str
    text: str
    excuse: str | None = None
    needs: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The page and line, as an editor opens them."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return the README and every page of the documentation."""
    inside = (p for p in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in p.parts)
    return [ROOT / "README.md", *inside]


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, top to bottom."""
    return list(_blocks(page, page.read_text(), 1))


def _blocks(page: Path, text: str, first: int) -> Iterator[Block]:
    excuse, needs = None, ()
    for token in MarkdownIt("commonmark").parse(text):
        line = first + (token.map[0] if token.map else 0)
        if token.type == "html_block":
            said, wants = _EXCUSE.search(token.content), _NEEDS.search(token.content)
            excuse, needs = said and said[1], tuple(wants[1].split()) if wants else ()
            continue
        if token.type in ("fence", "code_block"):
            info = token.info.strip()
            if _NESTING.match(info):
                yield from _blocks(page, token.content, line + 1)
            elif language := _language(info):
                yield Block(page, line, language, token.content, excuse, needs)
        excuse, needs = None, ()


def _language(info: str) -> str | None:
    """Return the language of a fence, CELL for a cell, "" for none, None for a directive without code."""
    if info.startswith(CELL):
        return CELL
    if found := _CODE.match(info):
        return found[1]
    if info.startswith("{"):
        return None
    return info.split()[0] if info else "(none)"


def commands(text: str) -> list[str]:
    """Return the command lines of a shell block: prompts and comments dropped, continued lines joined.

    Where a line begins with the prompt `$`, the lines without one are output.
    """
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]
