"""The registry: what each data set is, and how its files are known to be the right ones."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from geonp.errors import UsageError

_TILE = re.compile(r"([NS])(\d{2})([EW])(\d{3})")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set.

    Parameters
    ----------
    name : of the file on disk.
    urls : where it is; the first that answers is taken. None where it must be put in place by hand.
    sha256, md5, size : what it must be; None where that is not known.
    local_name : what it is called in a folder named by GEONP_DATA.
    """

    name: str
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    local_name: str | None = None

    @property
    def hash(self) -> str | None:
        """The strongest hash that is known, as `algorithm:hash`; None where there is none."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}" if self.md5 else None


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Parameters
    ----------
    name, title, licence, citation, homepage : what it is.
    files : its files; of a set of tiles, the pattern of one.
    tiles : tiles that are fetched where none is named; empty for sets that are not made of tiles.
    validation : names of rasters that nothing is trained on.
    local : folder of GEONP_DATA that may hold a copy.
    manual : why a program cannot fetch it; empty where it can.
    """

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    files: tuple[RemoteFile, ...] = ()
    tiles: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    local: str = ""
    manual: str = ""

    @property
    def size(self) -> int | None:
        """Bytes of all files together; None where a size is not known."""
        sizes = [file.size for file in self.files]
        return None if not sizes or None in sizes else sum(size for size in sizes if size is not None)

    def tile(self, name: str) -> RemoteFile:
        """Return the file of one tile, such as N46E008: the one-degree cell north and east of that corner.

        Raises
        ------
        UsageError
            If the set has no tiles, or the name is none.
        """
        found = _TILE.fullmatch(name.upper())
        if not self.tiles:
            raise UsageError(f"{self.name} is not made of tiles; leave --tile out")
        if found is None or int(found[2]) > 90 or int(found[4]) > 180:
            raise UsageError(f"{name!r} is no tile; name its south-west corner, such as N46E008 or S33W071")
        north, east = found[1] + found[2], found[3] + found[4]
        words = {"tile": north + east, "band": north, "lat": north, "lon": east}
        (pattern,) = self.files
        return replace(
            pattern,
            name=pattern.name.format(**words),
            urls=tuple(url.format(**words) for url in pattern.urls),
        )


@cache
def data_sets() -> Mapping[str, DataSet]:
    """Return every data set by name."""
    text = files("geonp.datasets").joinpath("registry.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: _data_set(name, entry) for name, entry in tomllib.loads(text).items()})


def data_set(name: str) -> DataSet:
    """Return the data set `name`.

    Raises
    ------
    UsageError
        If there is none; the message names close matches.
    """
    known = data_sets()
    if name not in known:
        close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UsageError(f"there is no data set {name!r}; {hint}there are: {', '.join(known)}")
    return known[name]


def _data_set(name: str, entry: dict[str, Any]) -> DataSet:
    remote = tuple(RemoteFile(**{**f, "urls": tuple(f.get("urls", ()))}) for f in entry.pop("files", ()))
    tiles, validation = tuple(entry.pop("tiles", ())), tuple(entry.pop("validation", ()))
    return DataSet(name=name, files=remote, tiles=tiles, validation=validation, **entry)
