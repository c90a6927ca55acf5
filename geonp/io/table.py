"""Survey points from text: one point a line, columns found by their names."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from geonp.errors import InputError, UsageError
from geonp.io.paths import StrPath, check_readable, reason

Column = NDArray[np.float64]

_X = ("x", "easting", "east", "e", "xcoord", "x_coord", "coord_x", "x_utm", "utm_x", "point_x")
_Y = ("y", "northing", "north", "n", "ycoord", "y_coord", "coord_y", "y_utm", "utm_y", "point_y")
_LON = ("lon", "long", "longitude", "lng")
_LAT = ("lat", "latitude")
_VALUE = ("value", "val", "v", "z", "elevation", "elev", "height", "depth", "altitude")
_ERROR = ("error", "err", "std", "stddev", "std_dev", "sigma", "se", "stderr", "std_error", "uncertainty")
_VARIANCE = ("variance", "var", "error_variance")
_MISSING = {"", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "*", "."}
_CHUNK = 1 << 16
_LISTED = 12
_SHOWN = 40
_UNIT = re.compile(r"[\s_]*(\[.*\]|\(.*\)|_(m|km|ft|deg|degree|degrees))$")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table, or attributes of a layer, hold what; None where their names tell.

    Parameters
    ----------
    x, y : coordinates.
    value : what was measured.
    error : its standard error, in the units of the value.
    variance : or the variance of its error.
    """

    x: str | None = None
    y: str | None = None
    value: str | None = None
    error: str | None = None
    variance: str | None = None


@dataclass(frozen=True)
class Table:
    """Columns of numbers, NaN where a cell is empty; `variance` is that of the error, None if none is given.

    `geographic` says that the columns are named longitude and latitude.
    """

    x: Column
    y: Column
    value: Column
    variance: Column | None
    name: str
    geographic: bool


def read_table(path: StrPath, columns: Columns | None = None) -> Table:
    """Read points from a CSV file.

    Columns are separated by commas, semicolons, tabs or blanks, with a header or, without one, in the order
    x, y, value[, error]. With semicolons, a decimal comma is understood. Lines that are empty or begin with #
    are passed over.

    Raises
    ------
    InputError
        If the file cannot be read, has no points, or a cell is not a number; the line is named.
    UsageError
        If it is not clear which column is meant, or one that was named is not there.
    """
    check_readable(path)
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
            return _parse(_Source(name, file), columns or Columns())
    except (OSError, csv.Error) as error:
        raise InputError(f"{name}: is no table of points ({reason(error)}); export it as CSV") from None


class _Source:
    """Lines of a text file without comments, and the number of the last one read."""

    def __init__(self, path: str, file: TextIO) -> None:
        self.path = path
        self.line = 0
        self._file = file

    def __iter__(self) -> Iterator[str]:
        for text in self._file:
            self.line += 1
            if "\0" in text:
                raise InputError(f"{self.path}: is no text (line {self.line}); export the points as CSV")
            if not text.isspace() and not text.lstrip().startswith("#"):
                yield text


def _parse(source: _Source, columns: Columns) -> Table:
    lines = iter(source)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{source.path}: holds no points")
    delimiter = max(";\t,", key=first.count)
    rows: Iterator[list[str]]
    if first.count(delimiter) == 0:
        rows = (line.split() for line in chain([first], lines))
    else:
        rows = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True)
    head = [cell.strip() for cell in next(rows)]
    headless = all(_is_number(cell, delimiter) for cell in head)
    if headless:
        names = ["x", "y", "value", "error"][: len(head)]
        if not 3 <= len(head) <= 4:
            raise InputError(
                f"{source.path}: has {len(head)} columns and no header; put one in line 1, such as x,y,value"
            )
        rows = chain([head], rows)
    else:
        names = head
    chosen = choose_columns(names, columns, source.path)
    wanted = [n for n in (chosen.x, chosen.y, chosen.value, chosen.error, chosen.variance) if n is not None]
    at = [names.index(n) for n in wanted]
    arrays = _numbers(rows, dict(zip(wanted, at, strict=True)), source, delimiter)
    if not arrays[0].size:
        raise InputError(f"{source.path}: has a header and no points")
    error = arrays[3] if len(arrays) > 3 else None
    geographic = _plain(wanted[0]) in _LON and _plain(wanted[1]) in _LAT
    variance = None if error is None else checked_variance(error, chosen, source.path)
    return Table(arrays[0], arrays[1], arrays[2], variance, wanted[2], geographic)


def choose_columns(names: Sequence[str], columns: Columns, path: str) -> Columns:
    """Return `columns` with what it left open filled from the names that there are.

    Raises
    ------
    UsageError
        If a column is missing, or several could hold the value.
    """
    for asked in (columns.x, columns.y, columns.value, columns.error, columns.variance):
        if asked is not None and asked not in names:
            raise UsageError(f"{path}: there is no column '{asked}'; there are: {_listed(names)}")
    if columns.error is not None and columns.variance is not None:
        raise UsageError("name the column of the standard error or that of its variance, not both")
    plain = [_plain(n) for n in names]

    def find(aliases: tuple[str, ...]) -> str | None:
        return next((names[plain.index(alias)] for alias in aliases if alias in plain), None)

    x = columns.x or find(_X) or find(_LON)
    y = columns.y or (find(_LAT) if x is not None and _plain(x) in _LON else find(_Y) or find(_LAT))
    if x is None or y is None:
        raise UsageError(
            f"{path}: which columns are x and y? Call them x and y, or lon and lat, or name them; there are: "
            f"{_listed(names)}"
        )
    out = replace(columns, x=x, y=y)
    if out.error is None and out.variance is None:
        error = find(_ERROR)
        out = replace(out, error=error, variance=None if error else find(_VARIANCE))
    if out.value is None:
        taken = {x, y, out.error, out.variance}
        rest = [n for n in names if n and n not in taken]
        named = next(
            (names[plain.index(a)] for a in _VALUE if a in plain and names[plain.index(a)] in rest), None
        )
        value = rest[0] if len(rest) == 1 else named
        if value is None:
            raise UsageError(
                f"{path}: which column is the value? Name one (--value); there are: {_listed(rest)}"
            )
        out = replace(out, value=value)
    return out


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(shown(n) or "''" for n in names[:_LISTED]) or "no others") + more


def shown(text: str) -> str:
    """Return what a file says as part of a message: one line, short, nothing that a terminal would obey."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(plain.split())[:_SHOWN]


def checked_variance(error: Column, chosen: Columns, path: str) -> Column:
    """Return error variances from standard errors, or as they are if those were given.

    Raises
    ------
    InputError
        If one is negative.
    """
    negative = np.flatnonzero(error < 0)
    if negative.size:
        name = chosen.error or chosen.variance
        raise InputError(
            f"{path}: '{name}' of point {negative[0] + 1} is {error[negative[0]]:g} ({negative.size} of {error.size} "
            "are negative); an error is positive or 0: correct it, or leave the cell empty to drop the point"
        )
    return error if chosen.error is None else error**2


def _plain(name: str) -> str:
    """Return a column name in lower case, without its unit."""
    return _UNIT.sub("", name.strip().strip('"').lower())


def _with_decimal_comma(text: str) -> float:
    return float(text.replace(",", "."))


def _is_number(cell: str, delimiter: str) -> bool:
    try:
        (_with_decimal_comma if delimiter == ";" else float)(cell)
    except ValueError:
        return False
    return True


def _numbers(
    rows: Iterator[list[str]], columns: dict[str, int], source: _Source, delimiter: str
) -> list[Column]:
    """Return the columns wanted as numbers, read in chunks: most hold nothing but numbers."""
    convert = _with_decimal_comma if delimiter == ";" else float
    parts: list[list[Column]] = [[np.empty(0)] for _ in columns]
    while chunk := [(source.line, row) for row in islice(rows, _CHUNK)]:
        for part, (name, at) in zip(parts, columns.items(), strict=True):
            try:
                part.append(np.array([convert(row[at]) for _, row in chunk]))
            except (IndexError, ValueError):
                part.append(np.array([_number(row, at, convert, name, line, source) for line, row in chunk]))
    return [np.concatenate(part) for part in parts]


def _number(
    row: list[str], at: int, convert: Callable[[str], float], name: str, line: int, source: _Source
) -> float:
    text = row[at] if at < len(row) else ""
    try:
        return convert(text)
    except ValueError:
        if text.strip().lower() in _MISSING:
            return math.nan
    raise InputError(
        f"{source.path}, line {line}: '{name}' is '{shown(text)}', not a number; correct it, "
        "or leave the cell empty to drop the point"
    )
