"""What a training step costs, what bfloat16 changes, and what a second process brings: docs/training.md.

    python docs/scripts/training_speed.py RASTERS [--tables steps curves] [--epochs 6]
    python docs/scripts/training_speed.py RASTERS --tables processes --page

RASTERS is a folder of GeoTIFFs. Seconds are those of one processor core, so that other work does not count; the
processes of the last table are timed by the clock, and need two free cores for some two minutes. `--page` puts that
table into docs/training.md, between the lines that mark its place.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from geonp.fitting import Fitting, Recipe
from geonp.io import open_field
from geonp.tasks import Task
from geonp.training import Options

PAGE = Path(__file__).resolve().parents[1] / "training.md"
TABLES = ("steps", "curves", "processes")
PRECISIONS = ("32-true", "bf16-mixed")
KRIGED: Mapping[str, object] = {"width": 48, "attention_window": 5}
STEPS: Mapping[str, Mapping[str, object]] = {"convcnp": {}, "ifanp": {}, "kriged-ifanp": KRIGED}
CURVES: Mapping[str, Mapping[str, object]] = {
    "ifanp": {},
    "convcnp": {"channels": 32},
    "kriged-ifanp": {"width": 16, "levels": 3},
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rasters", type=Path)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--epochs", type=int, default=6, help="of 50 steps, for the curves")
    parser.add_argument("--steps", type=int, default=100, help="of either training, for the processes")
    parser.add_argument(
        "--page", action="store_true", help="put the table of processes into docs/training.md"
    )
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rasters = [open_field(str(path)) for path in sorted(chosen.rasters.glob("*.tif"))]
    if "steps" in chosen.tables:
        step_table(rasters)
    if "curves" in chosen.tables:
        curves(rasters, chosen.epochs)
    if "processes" in chosen.tables:
        table = processes(chosen.rasters, chosen.steps)
        print(f"\n{table}")
        if chosen.page:
            put(table)


def step_table(rasters: list[xr.DataArray]) -> None:
    """Print seconds a step: tiles drawn, loss, gradient."""
    print("| 8 tiles of 64 x 64 | drawing | forward | backward | forward, bf16 | backward, bf16 |")
    print("|---|---|---|---|---|---|")
    for name, settings in STEPS.items():
        recipe = Recipe(name, settings, "0.125", tile=64, batch=8)
        fitting = Fitting(rasters, recipe, Options(epochs=1, device="cpu"))
        batches = fitting.batches
        for step in range(8):  # what kriged tiles draw from, and what is read for the first time
            batches.batch(step)
        start = time.process_time()
        tasks = [batches.batch(step) for step in range(8, 16)]
        drawing = (time.process_time() - start) / len(tasks)
        spent = [took for precision in PRECISIONS for took in passes(fitting, tasks[:3], precision)]
        print(f"| {name} | " + " | ".join(f"{1000 * took:.0f} ms" for took in (drawing, *spent)) + " |")


def passes(fitting: Fitting, tasks: list[Task], precision: str) -> tuple[float, float]:
    """Return the least seconds of a forward and of a backward pass."""
    found = []
    for task in tasks:
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = fitting.model.loss(task, torch.Generator())
        middle = time.process_time()
        loss.backward()
        found.append((middle - start, time.process_time() - middle))
    forward, backward = np.min(found, 0)
    return float(forward), float(backward)


def curves(rasters: list[xr.DataArray], epochs: int) -> None:
    """Print validation losses, epoch by epoch, in both precisions."""
    heads = " | ".join(str(50 * (epoch + 1)) for epoch in range(epochs))
    print(f"\n| validation after steps | precision | {heads} | seconds |")
    print("|---" * (epochs + 3) + "|")
    for name, settings in CURVES.items():
        for precision in PRECISIONS:
            recipe = Recipe(name, settings, "0.125", tile=32, batch=8)
            options = Options(epochs=epochs, steps_per_epoch=50, precision=precision, device="cpu")
            start = time.process_time()
            scores = [
                r.validation for r in Fitting(rasters, recipe, options).run() if r.validation is not None
            ]
            spent = time.process_time() - start
            told = " | ".join(f"{score:.3f}" for score in scores)
            print(f"| {name} | {precision} | {told} | {spent:.0f} |", flush=True)


def processes(rasters: Path, steps: int) -> str:
    """Return a table of what one process and two do in a second, a thread each."""
    rows = []
    for devices in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "geonp.cli", "fit", str(rasters), "--devices", str(devices)]
            what = [
                "--tile-size",
                "64",
                "--batch",
                "8",
                "--epochs",
                "2",
                "--steps-per-epoch",
                str(steps // 2),
            ]
            where = ["-o", f"{folder}/m.safetensors", "--json", "-q", "--no-compare", "--device", "cpu"]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            start = time.perf_counter()
            done = subprocess.run([*command, *what, *where], env=environment, capture_output=True, check=True)
            seconds = time.perf_counter() - start
        rows.append((devices, json.loads(done.stdout), seconds))
    alone = rows[0][1]["tasks_per_second"]
    lines = [
        "| processes | tasks/s | pixels/s | times one | waiting for tiles | validation | whole command |",
        "|---|---|---|---|---|---|---|",
    ]
    for devices, told, seconds in rows:
        rate = told["tasks_per_second"]
        figures = (
            f"{rate:.1f}",
            f"{told['pixels_per_second']:,}",
            f"{rate / alone:.2f}",
            f"{told['waiting']:.1%}",
            f"{told['validation']:.6f}",
            f"{seconds:.0f} s",
        )
        lines.append(f"| {devices} | " + " | ".join(figures) + " |")
    about = f"`geonp fit --devices`, {steps} steps of the default network, 8 tiles of 64 x 64 pixels, a thread each:"
    return "\n".join([about, "", *lines])


def put(table: str) -> None:
    """Put the table of processes into the page, between the lines that mark its place."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition("<!-- begin processes -->\n")
    _, end, after = rest.partition("<!-- end processes -->")
    if not end:
        raise SystemExit(f"{PAGE}: has no part between <!-- begin processes --> and <!-- end processes -->")
    PAGE.write_text(f"{before}{begin}\n{table}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
