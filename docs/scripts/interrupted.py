"""Interrupt `geonp predict` at random moments, and count what it leaves: python docs/scripts/interrupted.py

Every run is a child that has the program loaded already, gets SIGINT or SIGTERM at a random moment of its work, and
writes two GeoTIFFs, a NetCDF file or a Zarr store, on nothing or over an older output (`--overwrite`). Afterwards
the folder must hold what it held before, byte for byte, or, where the run was done in time, the whole new output.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import rasterio

TARGETS = {"tif": ("-o", "mean.tif", "var.tif"), "nc": ("--to", "out.nc"), "zarr": ("--to", "out.zarr")}
# A stated variogram, so that the time goes into windows and writing, not into a fit.
HOW = ("--method", "kriging", "--variogram", "exponential:range=500,sill=200,nugget=1", "--tile", "16")
LONGEST = 120  # seconds that a run may take to end after its signal
LOADED = (
    "cli.app",
    "cli.predict",
    "io.raster",
    "io.geotiff",
    "io.container",
    "methods.kriging",
    "methods.choose",
)
ENDED = {
    0: "done in time",
    130: "130",
    143: "143",
    -signal.SIGINT: "before it began",
    -signal.SIGTERM: "before it began",
}


def main() -> int:
    """Run what the command line says; return 1 if anything was lost, left or said wrongly."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=64, help="rows and columns of the survey")
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    for name in LOADED:
        importlib.import_module(f"geonp.{name}")
    chance, counts, faults = random.Random(given.seed), Counter[str](), []
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        survey = _survey(folder, given.side)
        lasts = {kind: _first(folder, survey, kind) for kind in TARGETS}
        print(
            {kind: round(seconds, 2) for kind, seconds in lasts.items()},
            "s each, uninterrupted",
            file=sys.stderr,
        )
        for number in range(given.count):
            if time.monotonic() > end:
                break
            kind = tuple(TARGETS)[number % 3]
            sent = signal.SIGINT if number % 2 else signal.SIGTERM
            older = chance.random() < 0.5
            _clear(folder, kind, older)
            before = _contents(folder)
            code, said, taken = _run(folder, survey, kind, sent, chance.uniform(0, 1.1 * lasts[kind]))
            if code == 0:
                lasts[kind] = 0.7 * lasts[kind] + 0.3 * taken
            fault = _fault(code, said, sent, before, _contents(folder), kind)
            counts[f"{kind} {sent.name}: {ENDED.get(code, code)}"] += 1
            if fault:
                faults.append(
                    f"{number} {kind} {sent.name} {'over an older' if older else 'new'}: {fault}\n{said[-1500:]}"
                )
    for what, count in sorted(counts.items()):
        print(f"{what:32} {count:5}")
    print(f"{'runs':32} {sum(counts.values()):5}\n{'faults':32} {len(faults):5}", *faults, sep="\n")
    return 1 if faults else 0


def _survey(folder: Path, side: int) -> Path:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    values = 20 * np.sin(y / 9) + x / 5 + rng.normal(size=(side, side))
    values[rng.random(values.shape) > 0.1] = -9999
    path = folder / "survey.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="float32", nodata=-9999,
        crs="EPSG:32616", transform=rasterio.transform.from_origin(5e5, 4e6, 30, 30),
    ) as file:  # fmt: skip
        file.write(values.astype("f4"), 1)
    return path


def _first(folder: Path, survey: Path, kind: str) -> float:
    """Write each output once and keep it as the older one; return how long that took."""
    code, said, seconds = _run(folder, survey, kind, None, 0)
    if code != 0:
        raise RuntimeError(said)
    (folder / "older").mkdir(exist_ok=True)
    for name in TARGETS[kind][1:]:
        (folder / name).rename(folder / "older" / name)
    return seconds


def _clear(folder: Path, kind: str, older: bool) -> None:
    """Leave nothing but the survey and, if `older`, an output of another run, told by its last byte."""
    for path in sorted(folder.iterdir()):
        if path.name not in ("survey.tif", "older"):
            os.system(f"rm -rf '{path}'")
    if older:
        for name in TARGETS[kind][1:]:
            os.system(f"cp -r '{folder / 'older' / name}' '{folder / name}'")
            one = folder / name if (folder / name).is_file() else folder / name / "older.txt"
            with one.open("ab") as file:
                file.write(b"older")


def _run(
    folder: Path, survey: Path, kind: str, sent: signal.Signals | None, after: float
) -> tuple[int, str, float]:
    """Return the exit code (negative: the signal that killed it), what was said, and the seconds it took."""
    option, *names = TARGETS[kind]
    arguments = ["predict", str(survey), *HOW, "--overwrite", option]
    read, write = os.pipe()
    sys.stdout.flush()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(read)
        _become([*arguments, *(str(folder / name) for name in names)], write)
    os.close(write)
    if sent is not None:
        time.sleep(after)
        with suppress(ProcessLookupError):
            os.kill(child, sent)
    watch = threading.Timer(LONGEST, os.kill, (child, signal.SIGKILL))
    watch.start()
    with os.fdopen(read, "rb") as stream:
        said = stream.read().decode(errors="replace")
    watch.cancel()
    watch.join()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said, time.monotonic() - start


def _become(arguments: list[str], stream: int) -> None:
    code = 70
    try:
        for descriptor in (1, 2):
            os.dup2(stream, descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        from geonp.cli import main as geonp

        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's "&" takes away
        geonp(arguments, prog_name="geonp")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except KeyboardInterrupt:  # between the fork and the command, where nothing was begun
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in sorted(folder.rglob("*"))
    }


def _fault(
    code: int, said: str, sent: signal.Signals, before: dict[str, str], after: dict[str, str], kind: str
) -> str:
    """Return what is wrong with how a run ended; nothing if all is well."""
    if "Traceback" in said:
        return f"a traceback, exit {code}"
    hidden = [name for name in after if any(part.startswith(".") for part in Path(name).parts)]
    if hidden:
        return f"left behind: {hidden}, exit {code}"
    if code == 0:
        whole = all(
            after.get(name) == after[f"older/{name}"]
            if kind == "tif"
            else name in after and f"{name}/older.txt" not in after
            for name in TARGETS[kind][1:]
        )
        return "" if whole else "done, and its output is not whole"
    expected = (130, -signal.SIGINT) if sent == signal.SIGINT else (143, -signal.SIGTERM)
    if code not in expected:
        return f"exit {code}"
    return "" if before == after else f"changed: {sorted(set(before.items()) ^ set(after.items()))}"


if __name__ == "__main__":
    sys.exit(main())
