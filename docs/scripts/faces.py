"""Trains a joint network of three bands on pictures, and scores it beside a thin-plate spline.

Run `python docs/scripts/faces.py MODEL.safetensors --minutes 70`; the pictures are those of `geonp datasets path faces`
(GEONP_DATA). PSNR is the mean over test pictures, all pixels, at 20, 40 and 60 % seen; differences have a 95 %
bootstrap interval over pictures.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from geonp.datasets.images import load_images
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from geonp.errors import GeonpWarning
from geonp.fitting import Fitting, Recipe
from geonp.io.checkpoint import write_checkpoint
from geonp.machine import bfloat16_pays
from geonp.methods.choose import load
from geonp.predict import complete
from geonp.training import Options

SETTINGS = {"width": 64, "attention_window": 5, "upright": True}
FRACTIONS = (0.2, 0.4, 0.6)
RESAMPLED = 4000

Image = NDArray[np.float32]


def field(image: Image) -> xr.DataArray:
    """Return a picture (band, y, x) as a field."""
    return xr.DataArray(image, dims=("band", "y", "x"))


def train(images: NDArray[np.float32], path: Path, minutes: float) -> None:
    """Train from nothing and write the model."""
    recipe = Recipe("kriged-ifanp", SETTINGS, context="0.15:0.65", tile=images.shape[2], batch=48)
    precision = "bf16-mixed" if bfloat16_pays() else "auto"
    options = Options(max_time=60 * minutes, patience=None, precision=precision)
    fitting = Fitting([field(image) for image in images], recipe, options)
    for record in fitting.run():
        if record.validation is not None:
            print(
                f"{record.step} {record.elapsed:.0f} s, RMSE of kriging's {record.rmse:.3f}", file=sys.stderr
            )
    write_checkpoint(path, fitting.checkpoint(), overwrite=True)


def psnr(truth: Image, told: NDArray[np.floating]) -> float:
    """Return the peak signal-to-noise ratio of a picture in 0..1."""
    return float(-10 * np.log10(np.mean((truth - told) ** 2)))


def spline(image: Image, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the thin-plate spline through the seen pixels."""
    every = np.argwhere(np.ones_like(seen)).astype(float)
    told = RBFInterpolator(np.argwhere(seen), image[:, seen].T, kernel="thin_plate_spline")(every)
    return np.asarray(told.T.reshape(image.shape))


def main() -> None:
    """Train unless the model is there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--tested", type=int, default=200)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", GeonpWarning)
    pictures = load_images("faces")
    if not chosen.model.exists():
        train(pictures.train.astype(np.float32) / 255, chosen.model, chosen.minutes)
    method, rng = load(chosen.model), np.random.default_rng(5)
    print("| seen | network | thin-plate spline | difference |\n|---|---|---|---|")
    for fraction in FRACTIONS:
        found = []
        for image in pictures.test[: chosen.tested].astype(np.float32) / 255:
            seen = rng.permutation(image[0].size).reshape(image[0].shape) < round(fraction * image[0].size)
            done = complete(field(np.where(seen, image, np.float32(np.nan))), method, variance=False)
            found.append([psnr(image, done["mean"].values), psnr(image, spline(image, seen))])
        ours, theirs = np.array(found).T
        drawn = np.random.default_rng(0).integers(len(ours), size=(RESAMPLED, len(ours)))
        low, high = np.quantile((ours - theirs)[drawn].mean(1), [0.025, 0.975])
        print(
            f"| {fraction:.0%} | {ours.mean():.2f} | {theirs.mean():.2f} | "
            f"{(ours - theirs).mean():+.2f} ({low:+.2f} to {high:+.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
