"""Trains the network of the method `imagery`, and scores it beside the bundled one: a table of the model card.

Run `GEONP_DATA=... OMP_NUM_THREADS=1 python docs/scripts/imagery.py MODEL.safetensors --minutes 14`. The bundled
network goes on learning on the training images of EuroSAT (Sentinel-2, 64 x 64 pixels of 10 m), each band a field of
its own; its weights are rounded to float16. Both are then scored on images of that class that were set aside, and of
the nine others: errors as shares of the method kriging's, geometric means over images with 95 % bootstrap intervals. A
model that is there is not trained again.
"""

from __future__ import annotations

import argparse
import sys
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from geonp.datasets.images import Bytes, load_images, read_jpegs
from geonp.datasets.registry import data_set
from geonp.datasets.store import Store
from numpy.typing import NDArray

from geonp.errors import GeonpWarning
from geonp.fitting import Fitting, Recipe
from geonp.io.checkpoint import write_checkpoint
from geonp.masks import HoldOut, hold_out
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.metrics import coverage, crps, rmse
from geonp.predict import complete
from geonp.training import Options

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
PIXEL = 10.0
CASES = {
    "12.5 % random": (HoldOut.RANDOM, 0.875),
    "30 % random": (HoldOut.RANDOM, 0.7),
    "swaths of 12 pixels": (HoldOut.SWATHS, 0.3),
}
_RESAMPLED = 4000


def field(band: NDArray[np.floating]) -> xr.DataArray:
    """Return one band (rows, columns) as a field."""
    rows, cols = band.shape
    coords = {"y": PIXEL * np.arange(rows)[::-1], "x": PIXEL * np.arange(cols)}
    return xr.DataArray(band.astype("f4")[None], coords, dims=("band", "y", "x"))


def learn(images: Bytes, path: Path, minutes: float) -> None:
    """Go on from the bundled network, and write the model."""
    bands = [field(band) for image in images for band in image]
    recipe = Recipe(context="0.05:0.5", masks="random:3,swaths,blocks", tile=64, batch=16)
    options = Options(max_time=60 * minutes, learning_rate=5e-4, patience=None)
    fitting = Fitting(bands, recipe, options, start="bundled")
    for record in fitting.run():
        if record.validation is not None:
            told = f"{record.step} {record.elapsed:.0f} s, RMSE of kriging's {record.rmse:.3f}"
            print(told, file=sys.stderr, flush=True)
    learnt = fitting.checkpoint()
    halves = {name: t.astype(np.float16).astype(np.float32) for name, t in learnt.tensors.items()}
    write_checkpoint(path, replace(learnt, tensors=halves), overwrite=True)


def score(truth: xr.DataArray, hidden: Mask, method: Method) -> tuple[float, float, float]:
    """Return RMSE, CRPS and 90 % coverage on hidden pixels."""
    done = complete(truth.where(~hidden), method)
    mean, variance = (done[name].values[0][hidden].astype(float) for name in ("mean", "variance"))
    there = truth.values[0][hidden].astype(float)
    return rmse(there, mean), crps(there, mean, variance), coverage(there, mean, variance, 0.9)


def told(logs: NDArray[np.float64]) -> str:
    """Return a geometric mean with its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = [rng.choice(logs, len(logs)).mean() for _ in range(_RESAMPLED)]
    low, high = np.exp(np.quantile(means, [0.025, 0.975]))
    return f"{np.exp(logs.mean()):.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Train unless the model is there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--tested", type=int, default=60)
    chosen = parser.parse_args()
    for kind in (GeonpWarning, PendingDeprecationWarning):
        warnings.simplefilter("ignore", kind)
    images = load_images("eurosat")
    if not chosen.model.exists():
        learn(images.train, chosen.model, chosen.minutes)
    methods = {
        "kriging": choose("kriging"),
        "bundled": choose("neural"),
        "imagery": choose(model=chosen.model),
    }
    picked = np.linspace(0, len(images.test) - 1, chosen.tested).astype(int)
    print("| seen | network | RMSE | CRPS | 90 % |\n|---|---|---|---|---|")
    for case, (kind, share) in CASES.items():
        compare(case, kind, share, [images.test[index] for index in picked], methods)
    compare("12.5 % random, nine other classes", HoldOut.RANDOM, 0.875, others(), methods)


def others() -> list[Image]:
    """Return four images of each class of the archive but the one that was learnt."""
    path = Store.default().need(data_set("eurosat"), data_set("eurosat").files[0])
    classes: dict[str, list[str]] = {}
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            place = Path(member)
            if place.suffix == ".jpg" and place.parent.name != "Industrial":
                classes.setdefault(place.parent.name, []).append(member)
        return [image for names in classes.values() for image in read_jpegs(archive, names[5::12][:4])]


def compare(
    case: str, kind: HoldOut, share: float, images: Sequence[Image], methods: Mapping[str, Method]
) -> None:
    """Print what the networks make of one band of each image, beside kriging."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    for number, image in enumerate(images):
        truth = field(image[number % len(image)])
        everywhere = np.ones(truth.shape[1:], bool)
        hidden = hold_out(kind, everywhere, share, np.random.default_rng(number), side=12)
        for name, method in methods.items():
            found[name].append(score(truth, hidden, method))
    scores = {name: np.array(rows) for name, rows in found.items()}
    for name in list(methods)[1:]:
        ratios = np.log(scores[name][:, :2] / scores["kriging"][:, :2])
        rmse_told, crps_told, covered = told(ratios[:, 0]), told(ratios[:, 1]), scores[name][:, 2].mean()
        print(f"| {case} | {name} | {rmse_told} | {crps_told} | {covered:.3f} |", flush=True)


if __name__ == "__main__":
    main()
