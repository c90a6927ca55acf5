"""Where data lie: local files and folders, or addresses that GDAL and xarray resolve themselves."""

from __future__ import annotations

import os
import re
from pathlib import Path

from geonp.errors import InputError

# A driver prefix or URL scheme (NETCDF:..., s3://...); a single letter is a Windows drive.
_ADDRESS = re.compile(r"^(/vsi|[A-Za-z][A-Za-z0-9_+.-]+:)")
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")

StrPath = str | os.PathLike[str]


def is_address(path: StrPath) -> bool:
    """Return whether `path` is a remote or virtual address rather than a local file or folder."""
    text = os.fspath(path)
    return _ADDRESS.match(text) is not None and not os.path.exists(text)


def is_zarr(path: StrPath) -> bool:
    """Return whether `path` is a folder that holds a Zarr store."""
    return any(Path(path, mark).exists() for mark in _ZARR_MARKS)


def check_readable(path: StrPath, *, folder: bool = False) -> None:
    """Raise InputError, naming the fix, if a local path is missing, a folder, empty or unreadable."""
    text = os.fspath(path)
    if is_address(text):
        return
    if not os.path.exists(text):
        raise InputError(f"{text}: there is no such file; check the path")
    if os.path.isdir(text):
        if not folder:
            raise InputError(f"{text}: is a folder; give one file in it")
    elif os.path.getsize(text) == 0:
        raise InputError(f"{text}: the file is empty (0 bytes); fetch or export it again")
    if not os.access(text, os.R_OK):
        raise InputError(f"{text}: permission to read is denied; change its permissions (chmod u+r)")


def reason(error: BaseException) -> str:
    """Return the first line of what a library said, or of the cause it names."""
    said = error.__cause__ if error.__cause__ is not None else error
    text = str(getattr(said, "errmsg", "")) or str(said) or type(said).__name__
    return text.splitlines()[0].strip().rstrip(".")
