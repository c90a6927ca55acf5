"""Unpacking archives that somebody else packed."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from geonp.errors import InputError, OutputError
from geonp.io.paths import reason

MOST_BYTES = 64 << 30
_CHUNK = 1 << 20


def unpack(path: Path, most: int = MOST_BYTES) -> Path:
    """Unpack a `.gz` file or a `.zip` archive beside itself, once, and return the file or the folder.

    Only plain files are taken out of an archive, and only where they lie inside its own folder: a member with
    an absolute path, a drive, `..` or a link is refused, and so is what would be larger than `most` bytes.

    Raises
    ------
    InputError
        If the archive is damaged, of another kind, or holds what it must not.
    OutputError
        If it cannot be unpacked here.
    """
    target = path.with_suffix("")
    if target.exists():
        return target
    try:
        if path.suffix == ".gz":
            _gunzip(path, target, most)
        elif path.suffix == ".zip":
            _unzip(path, target, most)
        else:
            raise InputError(f"{path}: is neither a .gz nor a .zip file")
    except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile):
        raise InputError(f"{path}: is damaged or cut short; delete it and fetch it again") from None
    except (RuntimeError, lzma.LZMAError) as error:  # encrypted, or packed in a way that nobody else uses
        raise InputError(f"{path}: cannot be unpacked ({reason(error)}); unpack it by hand") from None
    except OSError as error:
        if isinstance(error, InputError | OutputError):
            raise
        raise OutputError(f"{target}: cannot be written ({reason(error)}); free some space") from None
    return target


def _gunzip(path: Path, target: Path, most: int) -> None:
    handle, name = tempfile.mkstemp(prefix=".unpack-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out, gzip.open(path, "rb") as packed:
            _copy(packed, out, most, path)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _unzip(path: Path, target: Path, most: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix=".unpack-", dir=path.parent))
    try:
        with zipfile.ZipFile(path) as archive:
            left = most
            for member in archive.infolist():
                if member.is_dir():
                    continue
                place = folder / _safe(member, path)
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, place.open("wb") as out:
                    left -= _copy(packed, out, left, path)
        folder.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _safe(member: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    """Return a member's path, which stays inside the folder that it is taken out to."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    linked = stat.S_ISLNK(member.external_attr >> 16)
    if name.is_absolute() or PureWindowsPath(member.filename).drive or ".." in name.parts or linked:
        raise InputError(
            f"{archive}: its member {member.filename!r} would lie outside its folder, or is a link; the archive "
            "is not to be trusted, nothing of it was kept"
        )
    return name


def _copy(packed: IO[bytes] | gzip.GzipFile, out: IO[bytes], most: int, archive: Path) -> int:
    done = 0
    while chunk := packed.read(_CHUNK):
        done += len(chunk)
        if done > most:
            raise InputError(
                f"{archive}: unpacks to more than it may ({most:,} bytes); nothing of it was kept"
            )
        out.write(chunk)
    return done
