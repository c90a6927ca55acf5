"""A reader of data frames in R's own files (.RData, .rda), which runs nothing of what they hold.

The format is that of "R Internals", section 1.8 (serialization formats): a stream of items in XDR (big-endian)
order, each beginning with flags whose lowest byte is its type. Vectors of numbers and texts, lists and their
attributes are read; functions, environments and whatever else a data frame does not need are refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geonp.errors import InputError

Item = object
Frame = dict[str, NDArray[np.float64]]

_SYMBOL, _PAIRS, _CHARS, _LOGICAL, _INTEGER, _REAL = 1, 2, 9, 10, 13, 14
_STRINGS, _LIST, _COMPACT, _NIL, _REFERENCE = 16, 19, 238, 254, 255
_HAS_ATTRIBUTES, _HAS_TAG = 1 << 9, 1 << 10
_HEADS = (b"RDX2\n", b"RDX3\n")
_NA_INTEGER = -(2**31)


@dataclass(frozen=True)
class Vector:
    """A vector of R with its attributes by name."""

    values: Item
    attributes: dict[str, Item] = field(default_factory=dict)


def read_frame(path: Path, name: str) -> Frame:
    """Return the columns of numbers of the data frame `name`, as float64; NA is NaN.

    Raises
    ------
    InputError
        If the file is not one of R's, is damaged, or has no such data frame.
    """
    try:
        content = _Reader(_unpacked(path)).whole()
    except (struct.error, IndexError, ValueError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read as a file of R data ({error}); fetch it again") from None
    found = content.get(name)
    if not isinstance(found, Vector) or not isinstance(found.values, list):
        raise InputError(f"{path}: holds {', '.join(content) or 'nothing'}, and no data frame {name}")
    names = found.attributes.get("names")
    labels = names.values if isinstance(names, Vector) else None
    if not isinstance(labels, list) or len(labels) != len(found.values):
        raise InputError(f"{path}: {name} has no names of columns; it is no data frame")
    columns = zip(labels, found.values, strict=True)
    return {
        str(label): _as_float(column.values)
        for label, column in columns
        if isinstance(column, Vector) and isinstance(column.values, np.ndarray)
    }


def _as_float(values: NDArray[np.float64] | NDArray[np.int32]) -> NDArray[np.float64]:
    out = values.astype(np.float64)
    return np.where(values == _NA_INTEGER, np.nan, out) if values.dtype.kind == "i" else out


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    for head, unpack in (
        (b"\x1f\x8b", gzip.decompress),
        (b"BZh", bz2.decompress),
        (b"\xfd7zXZ", lzma.decompress),
    ):
        if content.startswith(head):
            return unpack(content)
    return content


class _Reader:
    """Reads items one after another."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._known: list[str] = []

    def whole(self) -> dict[str, Item]:
        """Return what the file holds by name."""
        head = self._take(5)
        if head not in _HEADS or self._take(2) != b"X\n":
            raise ValueError("its first bytes are not those of R data in XDR format")
        version = self._integer()
        self._take(8)  # the versions of R that wrote it, and that can read it
        if version == 3:
            self._take(self._integer())  # name of the native encoding
        content = self._item()
        if not isinstance(content, dict):
            raise ValueError("it holds one object without a name")
        return content

    def _item(self) -> Item:
        flags = self._integer()
        kind = flags & 0xFF
        if kind == _NIL:
            return None
        if kind == _REFERENCE:
            return self._known[(flags >> 8 or self._integer()) - 1]
        if kind == _SYMBOL:
            self._known.append(str(self._item()))
            return self._known[-1]
        if kind == _CHARS:
            return self._text()
        if kind == _PAIRS:
            return self._pairs(flags)
        if kind == _COMPACT:
            return self._compact()
        values = self._values(kind)
        attributes = self._item() if flags & _HAS_ATTRIBUTES else {}
        return Vector(values, attributes if isinstance(attributes, dict) else {})

    def _values(self, kind: int) -> Item:
        if kind not in (_LOGICAL, _INTEGER, _REAL, _STRINGS, _LIST):
            raise ValueError(f"it holds an item of type {kind}, which is no part of a data frame")
        count = self._integer()
        if count < 0:
            raise ValueError("a vector has more than 2**31 elements")
        if kind == _REAL:
            return np.frombuffer(self._take(8 * count), ">f8").astype(np.float64)
        if kind in (_LOGICAL, _INTEGER):
            return np.frombuffer(self._take(4 * count), ">i4").astype(np.int32)
        return [self._item() for _ in range(count)]

    def _pairs(self, flags: int) -> dict[str, Item]:
        """Return a pair list by its tags; it is written head first, so a loop does for recursion."""
        out: dict[str, Item] = {}
        while flags & 0xFF == _PAIRS:
            if flags & _HAS_ATTRIBUTES:
                self._item()
            tag = self._item() if flags & _HAS_TAG else f"[{len(out)}]"
            out[str(tag)] = self._item()
            flags = self._integer()
        if flags & 0xFF != _NIL:
            raise ValueError("a list does not end as it should")
        return out

    def _compact(self) -> Item:
        """Return a vector that R keeps in a shorter form: a run of numbers, or one that is only wrapped."""
        info, state, attributes = self._item(), self._item(), self._item()
        name = next(iter(info.values()), "") if isinstance(info, dict) else ""
        named = attributes if isinstance(attributes, dict) else {}
        if name in ("compact_intseq", "compact_realseq") and isinstance(state, Vector):
            count, first, step = np.asarray(state.values, np.float64)
            return Vector(first + step * np.arange(int(count)), named)
        if str(name).startswith("wrap_") and isinstance(state, dict):
            wrapped = next(iter(state.values()))
            return Vector(wrapped.values, named) if isinstance(wrapped, Vector) else wrapped
        raise ValueError(f"it holds a vector in the unknown form {name!r}")

    def _text(self) -> str | None:
        count = self._integer()
        return None if count == -1 else self._take(count).decode("utf-8", "replace")

    def _integer(self) -> int:
        value: int = struct.unpack(">i", self._take(4))[0]
        return value

    def _take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._content):
            raise ValueError("it ends too early")
        self._at += count
        return self._content[self._at - count : self._at]
