"""What a benchmark ends in: tables as Markdown and JSON, figures, and how it was come by."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from geonp import __version__

_NONE = "–"


@dataclass(frozen=True, slots=True)
class Spread:
    """What several seeds gave: their mean, standard deviation (None of a single one) and number."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one value or more."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


Cell = str | int | float | Spread | None


class Column(NamedTuple):
    """A column of a table: its name in JSON, its heading, and the digits that its numbers are shown with.

    Positive `digits` count the decimals; None shows four significant digits.
    """

    name: str
    heading: str
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_markdown(self) -> str:
        """Return the table as Markdown, its title above it."""
        head = [column.heading for column in self.columns]
        rule = ["---", *["---:"] * (len(head) - 1)]
        body = [
            [_shown(cell, column.digits) for cell, column in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]
        lines = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in [head, rule, *body]]
        return "\n".join([f"### {self.title}", "", *lines])

    def as_dict(self) -> dict[str, object]:
        """Return title and rows, each row a mapping from column names to values."""
        names = [column.name for column in self.columns]
        rows = [dict(zip(names, map(_plain, row), strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows}


class Picture(NamedTuple):
    """A figure and the name of its file, without an extension."""

    name: str
    figure: Figure


@dataclass(frozen=True)
class Result:
    """A benchmark's outcome.

    Parameters
    ----------
    benchmark, budget : which one was run, and how long.
    data : what it was run on, a line for each set.
    seeds : the seeds of the trainings, or of the hidden pixels.
    settings : what was run, as name and value.
    differences : what was not as in the paper.
    findings : what the numbers say, in sentences.
    tables, pictures : what is shown.
    short : whether networks were trained for less than the full length.
    """

    benchmark: str
    budget: str
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: tuple[tuple[str, str], ...]
    differences: tuple[str, ...]
    findings: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...] = ()
    short: bool = False

    def to_markdown(self) -> str:
        """Return the whole result as one page."""
        parts = [f"## {self.benchmark}, budget {self.budget}"]
        if self.short:
            parts.append(
                "Short version: the networks are not trained to the end; full-length figures differ."
            )
        parts.append(_listed("Data", self.data))
        parts += [table.to_markdown() for table in self.tables]
        parts.append(_listed("Findings", self.findings))
        seeds = ", ".join(map(str, self.seeds))
        told = [("seeds", seeds), *self.settings, *machine()]
        parts.append(_listed("Settings", [f"{name}: {value}" for name, value in told]))
        parts.append(_listed("Different from the paper", self.differences))
        parts += [f"![{p.name}]({self.benchmark}_{p.name}.png)" for p in self.pictures]
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_json(self) -> str:
        """Return the whole result as one JSON object; what is not finite is null."""
        content = {
            "benchmark": self.benchmark,
            "budget": self.budget,
            "short": self.short,
            "data": self.data,
            "seeds": self.seeds,
            "settings": dict(self.settings),
            "machine": dict(machine()),
            "tables": [table.as_dict() for table in self.tables],
            "findings": self.findings,
            "differences": self.differences,
            "figures": [f"{self.benchmark}_{p.name}.png" for p in self.pictures],
        }
        return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def machine() -> tuple[tuple[str, str], ...]:
    """Return what the numbers of speed depend on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return (
        ("geonp", __version__),
        ("torch", torch.__version__),
        ("machine", platform.machine()),
        ("device", f"{device}, {torch.get_num_threads()} thread(s)"),
    )


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"**{title}**", "", *[f"- {line}" for line in lines]]) if lines else ""


def _shown(cell: Cell, digits: int | None) -> str:
    if isinstance(cell, Spread):
        mean = _shown(cell.mean, digits)
        return mean if cell.deviation is None else f"{mean} ± {_shown(cell.deviation, digits)}"
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return _NONE
        return f"{cell:,.{digits}f}" if digits is not None else f"{cell:.4g}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return _NONE if cell is None else cell


def _plain(cell: Cell) -> object:
    if isinstance(cell, Spread):
        return {"mean": _plain(cell.mean), "deviation": _plain(cell.deviation), "count": cell.count}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
