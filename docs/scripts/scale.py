"""Speed and memory of `geonp predict` on rasters of growing size: the table of docs/performance.md.

Run `python docs/scripts/scale.py --rows 10000 --method kriging`; it makes a square raster (synthetic terrain, one
pixel in eight observed), completes it from the command line, and prints seconds, pixels a second and the peak of
the resident memory. With several `--rows`, also the slope of time against pixels in log-log, start of the program
and preparation included. On two cores that do nothing else, a million pixels take some 1.1 s with kriging and 7.5 s
with bundled, and 0.15 s to make:

    --rows 5000 10000 --method kriging                   25 and 100 million pixels, three minutes
    --rows 5000 10000 --method bundled                   the same, sixteen minutes
    --rows 20000 --method kriging                        400 million, nine minutes, 3 GB of the temporary folder
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import zoom

STRIP = 512
"""Rows of terrain made at a time."""


def terrain(rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    """Return a strip of terrain, metres: linear interpolations of random numbers on ever finer grids."""
    out, height = np.zeros((rows, cols), np.float32), 300.0
    for step in (256, 128, 64, 32, 16, 8, 4, 2):
        knots = rng.normal(size=(rows // step + 3, cols // step + 3)).astype(np.float32)
        out += height * zoom(knots, step, order=1)[:rows, :cols]
        height *= 0.55
    return out


def survey(path: Path, rows: int, cols: int, share: float) -> None:
    """Write a raster of which a share of the pixels is observed."""
    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "nodata": np.nan,
        "crs": "EPSG:32632",
        "transform": from_origin(500_000, 5_000_000, 10, 10),
        "tiled": True,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", height=rows, width=cols, **profile) as file:
        for row in range(0, rows, STRIP):
            height = min(STRIP, rows - row)
            values = terrain(height, cols, rng)
            values[rng.random(values.shape) > share] = np.nan
            file.write(values, 1, window=Window(0, row, cols, height))


def run(words: list[str]) -> tuple[float, float, int]:
    """Run a command; return its seconds, its processor seconds and the peak of its resident memory in bytes."""
    start = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, *words], os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"the command failed: {' '.join(words)}")
    return (
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000])
    parser.add_argument("--cols", type=int, help="as many as rows unless told")
    parser.add_argument("--share", type=float, default=0.125, help="share of the pixels that is observed")
    parser.add_argument("--method", default="bundled")
    parser.add_argument("--memory", help="handed on to geonp predict")
    parser.add_argument("--tile", help="handed on to geonp predict")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    more = [
        word
        for name in ("memory", "tile")
        if (value := getattr(given, name))
        for word in (f"--{name}", value)
    ]
    found = []
    print(f"{'rows x columns':>16} {'seconds':>8} {'cpu s':>8} {'pixels/s':>9} {'peak MB':>8}")
    for rows in given.rows:
        cols = given.cols or rows
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "survey.tif")
            survey(source, rows, cols, given.share)
            outputs = [str(Path(folder, name)) for name in ("mean.tif", "var.tif")]
            variance = given.method in ("bundled", "kriging", "neural", "pykrige", "inr")
            where = ["-o", *outputs] if variance else ["--mean", outputs[0]]
            program = "import sys; from geonp.cli import main; sys.argv[0] = 'geonp'; main()"
            words = ["-c", program, "predict", str(source), *where, "--method", given.method, *more]
            seconds, cpu, peak = run(words)
        pixels = rows * cols
        found.append({"rows": rows, "cols": cols, "seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak})
        size = f"{rows} x {cols}"
        print(f"{size:>16} {seconds:8.1f} {cpu:8.1f} {pixels / seconds:9.0f} {peak / 1e6:8.0f}", flush=True)
    if len(found) > 1:
        first, last = found[0], found[-1]
        sizes = [one["rows"] * one["cols"] for one in found]
        slope = np.polyfit(np.log(sizes), np.log([one["seconds"] for one in found]), 1)[0]
        memory = last["peak_bytes"] / first["peak_bytes"]
        print(
            f"slope of time {slope:.3f}, peak memory {memory:.2f} times, over {sizes[-1] / sizes[0]:.1f} times"
        )
    if given.json is not None:
        given.json.write_text(json.dumps({"method": given.method, "runs": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
