"""Files and stores behind an address: how long they are waited for, and what to say when they do not answer.

GDAL reads `https://`, `s3://`, `gs://`, `az://` and `/vsi...` itself; Zarr stores are read through fsspec. Both would
wait for minutes, or for ever. What the user has set for GDAL, in the environment or by `rasterio.Env`, is left as it
is (https://gdal.org/en/stable/user/configoptions.html).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rasterio

from geonp.io.paths import StrPath, is_address

CONNECT, SILENT, RETRIES = 10, 20, 2
"""Seconds to connect, seconds without a byte, and how often GDAL tries again where a server is busy."""


@contextmanager
def patiently(path: StrPath) -> Iterator[None]:
    """Within it, GDAL gives up on an address that does not answer; nothing changes for local files."""
    if not is_address(path):
        yield
        return
    wanted = {
        "GDAL_HTTP_CONNECTTIMEOUT": CONNECT,
        "GDAL_HTTP_LOW_SPEED_TIME": SILENT,
        "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
        "GDAL_HTTP_MAX_RETRY": RETRIES,
        "GDAL_HTTP_RETRY_DELAY": 1,
    }
    stated = set(os.environ)
    if rasterio.env.hasenv():
        stated |= set(rasterio.env.getenv())
    with rasterio.Env(**{name: value for name, value in wanted.items() if name not in stated}):
        yield


def storage_options(path: str) -> dict[str, Any] | None:
    """Return how fsspec should open a store: with an end to its patience, where it speaks HTTP."""
    if not path.startswith(("http://", "https://")):
        return None
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(sock_connect=CONNECT, sock_read=SILENT)}}


def advice(path: StrPath, otherwise: str) -> str:
    """Return what to do about a file that cannot be opened: `otherwise`, where it is a local one."""
    if not is_address(path):
        return otherwise
    return "check the address, the permission to read it, and that this machine can reach it"
