"""Whether a network of its own would do better on imagery than the bundled one: a table of the model card.

Run `GEONP_DATA=... OMP_NUM_THREADS=1 python docs/scripts/imagery.py MODEL.safetensors --minutes 20`. The bundled
network goes on learning on the training images of EuroSAT (Sentinel-2, 64 x 64 pixels of 10 m), each band a field of
its own, and is then scored beside the bundled one on images set aside: errors as shares of the method kriging's,
geometric means over images with 95 % bootstrap intervals. A model that is there already is not trained again.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from geonp.datasets.images import Bytes, load_images
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
    write_checkpoint(path, fitting.checkpoint(), overwrite=True)


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
    parser.add_argument("--minutes", type=float, default=20)
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
        "gone on with": choose(model=chosen.model),
    }
    picked = np.linspace(0, len(images.test) - 1, chosen.tested).astype(int)
    print("| seen | network | RMSE | CRPS | 90 % |\n|---|---|---|---|---|")
    for case, (kind, share) in CASES.items():
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
        for number, index in enumerate(picked):
            truth = field(images.test[index][number % images.test.shape[1]])
            everywhere = np.ones(truth.shape[1:], bool)
            hidden = hold_out(kind, everywhere, share, np.random.default_rng(number), side=12)
            for name, method in methods.items():
                found[name].append(score(truth, hidden, method))
        scores = {name: np.array(rows) for name, rows in found.items()}
        for name in list(methods)[1:]:
            ratios = np.log(scores[name][:, :2] / scores["kriging"][:, :2])
            covered = scores[name][:, 2].mean()
            print(
                f"| {case} | {name} | {told(ratios[:, 0])} | {told(ratios[:, 1])} | {covered:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
