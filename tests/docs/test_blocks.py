"""Every code block of the README and of the documentation runs, as it is written."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest

pytest.importorskip("markdown_it", reason="the docs group is not installed")

from click.testing import CliRunner
from geonp.cli import main

from . import world
from .blocks import CELL, DATA, OUTPUT, PYTHON, ROOT, SHELL, Block, blocks, commands, pages

# What a reader would wait an hour for is run as typed, and shortened by the options that follow.
SHORTENED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fit": ("--max-time", "1s", "--steps-per-epoch", "2", "--no-compare"),
        "report": ("--methods", "kriging,nearest"),
    }
)
# Blocks that are excused; a new one has to be counted here, so that none slips in.
MOST_EXCUSED = 20

RUN = [page for page in pages() if any(b.language in (*PYTHON, *SHELL) for b in blocks(page))]


def _known(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=_known)
def test_every_block_says_what_it_is(page: Path) -> None:
    known = (*PYTHON, *SHELL, *DATA, *OUTPUT, CELL)
    for block in blocks(page):
        assert block.language in known, f"{block.place}: fence it with a language out of {', '.join(known)}"


@pytest.mark.parametrize("page", RUN, ids=_known)
def test_the_blocks_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = [b for b in blocks(page) if b.language in (*PYTHON, *SHELL) and b.excuse is None]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    Path("docs").symlink_to(ROOT / "docs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world.populate(tmp_path, "\n".join(block.text for block in todo))
        module = ModuleType("page")  # dataclasses look their module up
        monkeypatch.setitem(sys.modules, "page", module)
        names = module.__dict__ | world.names(todo)
        for block in todo:
            if not all(map(shutil.which, block.needs)):
                continue
            if block.language in PYTHON:
                _run_python(block, names)
            else:
                for line in commands(block.text):
                    _run_line(block, line)


def test_data_blocks_parse() -> None:
    parse: dict[str, Callable[[str], object]] = {"toml": tomllib.loads, "json": json.loads}
    for page in pages():
        for block in blocks(page):
            if block.language in parse:
                parse[block.language](block.text)


def test_few_blocks_are_excused_and_each_says_why() -> None:
    excused = [block for page in pages() for block in blocks(page) if block.excuse is not None]
    for block in excused:
        assert len(block.excuse or "") > 8, f"{block.place}: say why it is not run"
    counts = Counter(block.place.split(":")[0] for block in excused)
    assert len(excused) <= MOST_EXCUSED, f"too many blocks are not run: {dict(counts)}"


def test_cells_stand_on_pages_that_are_executed() -> None:
    for page in pages():
        if any(block.language == CELL for block in blocks(page)):
            assert "file_format: mystnb" in page.read_text()[:200], f"{page}: its cells would never run"


def _run_python(block: Block, names: dict[str, object]) -> None:
    code = compile("\n" * block.line + block.text, str(block.page), "exec")
    try:
        exec(code, names)
    except Exception as error:
        error.add_note(f"in the block at {block.place}")
        raise


def _run_line(block: Block, line: str) -> None:
    """Run one shell line as typed: `geonp ...` in this process, anything else, and anything piped, by bash."""
    words = shlex.split(line, comments=True)
    if words[0] != "geonp" or {"|", ">", "&&", ";", "<"} & set(words) or "$(" in line:
        done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True)
        assert done.returncode == 0, f"{block.place}: {line}\n{done.stdout}{done.stderr}"
        return
    result = CliRunner().invoke(main, [*words[1:], *SHORTENED.get(words[1], ())])
    assert result.exit_code == 0, f"{block.place}: {line}\n{result.output}\n{result.exception!r}"
