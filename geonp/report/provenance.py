"""How a report came about: command, versions, seeds, and the hashes of what was read."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from geonp import __version__
from geonp.io.paths import StrPath, is_address

_TOLD = ("numpy", "scipy", "torch", "xarray", "rasterio", "odc-geo")
_CHUNK = 1 << 20


def provenance(
    command: str, inputs: Iterable[StrPath], seed: int, started: datetime | None = None
) -> list[tuple[str, str]]:
    """Return terms and what is to be said of each."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _TOLD)
    moment = (started or datetime.now(UTC)).astimezone(UTC)
    return [
        ("Command", command),
        ("Made", moment.strftime("%Y-%m-%d %H:%M UTC")),
        ("geonp", __version__),
        ("Python", f"{platform.python_version()} on {sys.platform} {platform.machine()}"),
        ("Packages", versions),
        ("Seed", str(seed)),
        *((f"SHA-256 of {Path(path).name}", sha256(path)) for path in inputs),
    ]


def sha256(path: StrPath) -> str:
    """Return the SHA-256 of a local file in hexadecimal, read piece by piece; a note where it is none."""
    if is_address(path):
        return "not a local file"
    where = Path(path)
    digest = hashlib.sha256()
    files = [where] if where.is_file() else sorted(p for p in where.rglob("*") if p.is_file())
    for file in files:
        if where.is_dir():
            digest.update(file.relative_to(where).as_posix().encode())
        with file.open("rb") as stream:
            while piece := stream.read(_CHUNK):
                digest.update(piece)
    return digest.hexdigest()
