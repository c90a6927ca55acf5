"""Where data sets lie on this machine, and how what is missing gets there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pooch

from geonp.errors import InputError, OutputError
from geonp.io.paths import reason

from .archive import MOST_BYTES
from .download import Resuming, remove_partial
from .registry import DataSet, RemoteFile

COPIES, CACHE = "GEONP_DATA", "GEONP_CACHE"

_FETCHED = "fetched.json"


@dataclass(frozen=True)
class Store:
    """The folders that data sets are read from.

    Parameters
    ----------
    cache : what was fetched, or put there by hand: a folder for each set.
    copies : a folder of copies that somebody else keeps; read first, never written, not checked.
    """

    cache: Path
    copies: Path | None = None

    @classmethod
    def default(cls) -> Store:
        """Return the store of this user: GEONP_CACHE or the system's cache folder, and GEONP_DATA."""
        cache, copies = os.environ.get(CACHE), os.environ.get(COPIES)
        return cls(Path(cache or pooch.os_cache("geonp")), Path(copies) if copies else None)

    def folder(self, data: DataSet) -> Path:
        """Return where files of a set are fetched to, or to be put by hand."""
        return self.cache / data.name

    def copy(self, data: DataSet) -> Path | None:
        """Return the folder of copies of a set, where there is one."""
        if self.copies is None or not data.local:
            return None
        folder = self.copies / data.local
        return folder if folder.is_dir() else None

    def find(self, data: DataSet, file: RemoteFile) -> Path | None:
        """Return where a file of a set is; None where it is not on this machine."""
        copy = self.copy(data)
        places = [self.folder(data) / file.name]
        if copy is not None:
            places.insert(0, copy / (file.local_name or file.name))
        return next((place for place in places if place.is_file()), None)

    def present(self, data: DataSet) -> bool:
        """Return whether every file of a set (of a set of tiles, any) is on this machine."""
        if data.tiles:
            return bool(self.tiles(data))
        if not data.files:
            return self.copy(data) is not None
        return all(self.find(data, file) is not None for file in data.files)

    def tiles(self, data: DataSet) -> dict[str, Path]:
        """Return the tiles of a set that are on this machine, by name."""
        (pattern,) = data.files
        before, _, after = pattern.name.partition("{tile}")
        found = sorted(self.folder(data).glob(f"{before}*{after}"))
        return {path.name.removeprefix(before).removesuffix(after): path for path in found}

    def need(self, data: DataSet, file: RemoteFile) -> Path:
        """Return where a file is.

        Raises
        ------
        InputError
            If it is not on this machine; the message says how it gets there.
        """
        found = self.find(data, file)
        if found is None:
            raise InputError(f"{data.name} is not on this machine: {self._how(data, file)}")
        return found

    def fetch(self, data: DataSet, file: RemoteFile, progress: bool = False) -> Path:
        """Return where a file is, after it was fetched where it was not there.

        A transfer that is cut short leaves its part, and the next one goes on from there. What arrives is
        compared with the registry's hash; where that has none, with the one that the first download had.

        Raises
        ------
        InputError
            If it must be put in place by hand, cannot be reached, or is not what it must be.
        OutputError
            If the cache cannot be written to.
        """
        here = self.find(data, file)
        if here is not None and here.parent != self.folder(data):
            return here
        if data.manual and here is None:
            raise InputError(f"{data.name} is to be fetched by hand: {self._how(data, file)}")
        folder = self.folder(data)
        known = file.hash or self._recorded(data).get(file.name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if here is None:
                self._retrieve(data, file, known, progress)
            elif known is not None:
                check(here, known)
            if file.size is not None and (size := (folder / file.name).stat().st_size) != file.size:
                raise InputError(
                    f"{folder / file.name}: has {size} bytes and should have {file.size}; delete it"
                )
            if known is None:
                self._record(data, file)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise OutputError(
                f"{folder}: cannot be written to ({reason(error)}); name another folder in {CACHE}"
            ) from None
        return folder / file.name

    def _retrieve(self, data: DataSet, file: RemoteFile, known: str | None, progress: bool) -> None:
        folder, failures = self.folder(data), []
        pooch.get_logger().setLevel("WARNING")
        for url in file.urls:
            resuming = Resuming(folder / f".{file.name}.part", progress, file.size or MOST_BYTES)
            try:
                pooch.retrieve(url, known, fname=file.name, path=folder, downloader=resuming)
            except ValueError as error:  # pooch's word for a hash that does not match
                remove_partial(folder / f".{file.name}.part")
                failures.append(f"{url}: is not the file that was expected ({reason(error)})")
            except PermissionError:
                raise
            except OSError as error:
                failures.append(f"{url}: {reason(error)}")
            else:
                return
        raise InputError(
            f"{data.name} cannot be fetched: {'; '.join(failures)}. Without a network, "
            f"{_by_hand(file, folder / file.name)}"
        )

    def _how(self, data: DataSet, file: RemoteFile) -> str:
        """Return how a file gets onto this machine."""
        place = self.folder(data) / file.name
        if data.manual and not data.files:
            return f"{data.manual}"
        if data.manual:
            where = f" from {data.homepage}" if data.homepage else ""
            return f"get {file.name}{where} ({data.manual}), and put it at {place}"
        tile = f" --tile {file.name.partition('.')[0]}" if data.tiles else ""
        return f"run `geonp datasets fetch {data.name}{tile}`, or {_by_hand(file, place)}"

    def _recorded(self, data: DataSet) -> dict[str, str]:
        path = self.folder(data) / _FETCHED
        if not path.exists():
            return {}
        try:
            found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(
                f"{path}: is damaged; delete it, and the files beside it will be hashed anew"
            ) from None
        return found

    def _record(self, data: DataSet, file: RemoteFile) -> None:
        """Trust on first use: keep the hash of a file whose publisher gives none."""
        folder = self.folder(data)
        known = self._recorded(data) | {file.name: f"sha256:{pooch.file_hash(folder / file.name)}"}
        temporary = folder / f".{_FETCHED}"
        temporary.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        temporary.replace(folder / _FETCHED)


def _by_hand(file: RemoteFile, place: Path) -> str:
    return f"get {file.urls[0]} on another machine and put it at {place}"


def check(path: Path, known: str) -> None:
    """Raise InputError unless a file has the hash `algorithm:hash`."""
    algorithm, _, wanted = known.partition(":")
    found = pooch.file_hash(path, alg=algorithm)
    if found != wanted:
        raise InputError(
            f"{path}: its {algorithm} is {found} and should be {wanted}; delete it and fetch it again"
        )
