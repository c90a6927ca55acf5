"""Damaged and lying GeoTIFF, NetCDF and Zarr, given to the command line in a process of its own."""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr

from .mutate import lie_in_tiff, mutate
from .tally import SECONDS, Outcome

MEMORY = 4 << 30
WARM = (
    *("cli.app", "cli.info", "cli.predict", "io.raster", "io.arrays", "io.geotiff"),
    *("methods.choose", "methods.classical", "predict"),
)
_POLL = 0.01


def warm() -> None:
    """Import what the command needs, once, so that every child has it."""
    for name in WARM:
        importlib.import_module(f"geonp.{name}")


def rasters(folder: Path) -> list[bytes]:
    """Return GeoTIFFs of several layouts to be damaged; little-endian, most of them classic."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random((2, 48, 40)) < 0.4, rng.normal(size=(2, 48, 40)) * 9 + 50, -9999)
    layouts = [
        {"count": 1, "dtype": "float32"},
        {
            "count": 2,
            "dtype": "int16",
            "tiled": True,
            "blockxsize": 16,
            "blockysize": 16,
            "compress": "deflate",
        },
        {"count": 1, "dtype": "float32", "compress": "lzw", "predictor": 3},
        {"count": 2, "dtype": "float64", "interleave": "pixel", "compress": "zstd"},
        {"count": 1, "dtype": "int32", "BIGTIFF": "YES"},
    ]
    out = []
    for i, layout in enumerate(layouts):
        path = folder / f"{i}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=48, width=40, nodata=-9999, crs="EPSG:32616",
            transform=rasterio.transform.from_origin(5e5, 4e6, 30, 30), **layout,
        ) as file:  # fmt: skip
            file.write(values[: layout["count"]].astype(layout["dtype"]))
        out.append(path.read_bytes())
    return out


def arrays(folder: Path) -> tuple[bytes, Path]:
    """Return a NetCDF file, and a Zarr store, to be damaged."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random((48, 40)) < 0.4, rng.normal(size=(48, 40)), np.nan).astype("f4")
    data = xr.Dataset(
        {"v": (("lat", "lon"), values, {"units": "m"})},
        coords={"lat": np.linspace(50, 49, 48), "lon": np.linspace(8, 9, 40)},
    )
    netcdf, zarr = folder / "original.nc", folder / "original.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.to_netcdf(netcdf)
        data.chunk(lat=16).to_zarr(zarr, mode="w")
    return netcdf.read_bytes(), zarr


def damaged_raster(originals: list[bytes], rng: np.random.Generator) -> bytes:
    """Return a GeoTIFF that is cut short, has wrong bits, or lies about itself."""
    which = int(rng.integers(len(originals)))
    content = originals[which]
    if which < 4 and rng.random() < 0.6:
        return lie_in_tiff(content, rng)
    return mutate(content, rng, head=600)


def damage_store(original: Path, target: Path, rng: np.random.Generator) -> None:
    """Copy a Zarr store and damage, or take away, some of its files."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(original, target)
    files = sorted(p for p in target.rglob("*") if p.is_file())
    for _ in range(int(rng.integers(1, 4))):
        one = files[rng.integers(len(files))]
        if not one.exists():
            continue
        if rng.random() < 0.15:
            one.unlink()
        else:
            one.write_bytes(mutate(one.read_bytes(), rng))


def command(path: Path, rng: np.random.Generator) -> list[str]:
    """Return what is typed: half of the time `info`, else `predict` with one of the quick methods."""
    if rng.random() < 0.5:
        return ["info", str(path), *(["--json"] if rng.random() < 0.5 else [])]
    method = ["nearest", "linear", "cubic", "idw"][rng.integers(4)]
    return ["predict", str(path), "--method", method, "--mean", str(path.parent / "mean.tif")]


def run(arguments: list[str], folder: Path, seconds: float = SECONDS) -> tuple[Outcome, str]:
    """Run `geonp` in a child with limits of memory and time, and tell how it ended."""
    said = folder / "said.txt"
    child = os.fork()
    if child == 0:
        _become_geonp(arguments, said, seconds)
    status, usage = _wait(child, 4 * seconds)
    text = said.read_text(errors="replace") if said.exists() else ""
    left = sorted(p.name for p in folder.iterdir() if p.name.startswith(".geonp-"))
    output = folder / "mean.tif"
    wrote = output.exists()
    if wrote:
        output.unlink()
    for name in left:
        shutil.rmtree(folder / name, ignore_errors=True)
    what = f"geonp {' '.join(arguments)}\n{text[-3000:]}"
    if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return Outcome.HANG, what
    if os.WIFSIGNALED(status):
        return Outcome.CRASH, f"signal {os.WTERMSIG(status)}: {what}"
    code = os.WEXITSTATUS(status)
    if "Traceback" in text or code not in (0, 1, 2):
        return Outcome.CRASH, f"exit {code}: {what}"
    if left or (code != 0 and wrote):
        return Outcome.WRONG, f"left behind: {left or output.name}: {what}"
    if code == 0:
        if arguments[0] == "predict" and not wrote:
            return Outcome.WRONG, f"nothing was written: {what}"
        return Outcome.ANSWERED, ""
    lines = [line for line in text.splitlines() if line.startswith(("geonp: ", "Error: "))]
    if len(lines) != 1 or len(lines[0]) < 12 or usage > MEMORY:
        return Outcome.WRONG, f"no clear message: {what}"
    return Outcome.REFUSED, lines[0]


def _become_geonp(arguments: list[str], said: Path, seconds: float) -> None:
    code = 70
    try:
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for descriptor in (1, 2):
            os.dup2(stream, descriptor)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        from geonp.cli import main

        try:
            main(arguments, prog_name="geonp")
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(child: int, seconds: float) -> tuple[int | None, int]:
    """Return how a child ended (None: it had to be killed) and its largest memory in bytes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage.ru_maxrss * 1024
        time.sleep(_POLL)
    os.kill(child, signal.SIGKILL)
    _, _, usage = os.wait4(child, 0)
    return None, usage.ru_maxrss * 1024
