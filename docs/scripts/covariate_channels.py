"""What covariates are worth as channels of the network, beside regression: the table of docs/covariates.md.

Run `GEONP_DATA=... OMP_NUM_THREADS=1 python docs/scripts/covariate_channels.py [NAME...] [--steps 110] [--masks 1]`;
names are landsat7, greenland and haiti. A step takes about 0.3 s of one core, and a scene's scores about two minutes.

Of each scene, one band is completed from the others. The bundled network learns on the lower part of the scene, once
with the other bands and once without, equally long; swaths of 12 pixels are taken from the upper part, and completed.
It is the same sensor and day: that is what one has who mends a scene. Regression uses all other bands (`always`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.covariates import lay
from geonp.errors import GeonpWarning
from geonp.evaluation import evaluate
from geonp.field import as_field
from geonp.fitting import Recipe, fit
from geonp.io import open_field
from geonp.masks import HoldOut, hold_out
from geonp.methods.base import Method
from geonp.methods.choose import choose
from geonp.methods.covaried import with_covariates
from geonp.training import Options

RECIPE = Recipe(context="0.3:0.8", masks="swaths:3,random", tile=64, batch=8)


@dataclass(frozen=True)
class Scene:
    """A scene, the band that is completed, the row from which on it is learnt from, and that where it is cut off."""

    file: str
    title: str
    band: int
    split: int
    stop: int


SCENES = {
    "landsat7": Scene("landsat7_olinda_6b.tif", "Landsat 7, Olinda, near infrared (B4)", 3, 96, 352),
    "greenland": Scene("landsat8_greenland_b2345.tif", "Landsat 8, Greenland, near infrared", 3, 96, 400),
    "haiti": Scene("planet_like_rgbn_5m.tif", "a scene of 5 m pixels, Haiti, near infrared", 3, 96, 400),
}


def compare(scene: Scene, data: Path, steps: int, tried: int, folder: Path) -> None:
    """Train twice, and print the table of one scene."""
    whole = as_field(open_field(data / "satellite" / scene.file)).load().astype("f4")
    others = [band for band in range(whole.sizes["band"]) if band != scene.band]
    upper, lower = whole.isel(y=slice(0, scene.split)), whole.isel(y=slice(scene.split, scene.stop))
    how = Options(epochs=2, steps_per_epoch=steps // 2, learning_rate=1.5e-3, device="cpu")
    band, beside = lower.isel(band=[scene.band]), lower.isel(band=others)
    plain, reading = folder / "plain.safetensors", folder / "reading.safetensors"
    for path, covariates in ((plain, ()), (reading, [[beside]])):
        fit([band], path, recipe=RECIPE, options=how, start="bundled", covariates=covariates, overwrite=True)
    truth, known = upper.isel(band=[scene.band]), upper.isel(band=others)
    laid = lay([known], truth).field.rename("other bands")
    seen = np.ones(truth.shape[1:], bool)
    masks = [
        hold_out(HoldOut.SWATHS, seen, 0.3, np.random.default_rng(seed), side=12) for seed in range(tried)
    ]

    def informed(method: Method, policy: str = "always") -> Method:
        return with_covariates(method, laid, policy)

    methods: dict[str, Method] = {
        "kriging, regression": informed(choose("kriging")),
        "bundled, regression": informed(choose("neural")),
        "learnt without the others, regression": informed(choose(model=plain)),
        "learnt with the others as channels, no regression": informed(choose(model=reading), "never"),
        "learnt with the others as channels, regression": informed(choose(model=reading)),
    }
    hidden = sum(int(mask.sum()) for mask in masks)
    print(f"\n{scene.title}, swaths of 12 pixels missing, from its other bands; {hidden} hidden values\n")
    print("| method | RMSE | CRPS | 90 % coverage |\n|---|---:|---:|---:|")
    for name, method in methods.items():
        told = np.array([score(truth, mask, method) for mask in masks], float)
        rmse, crps, cover = told.mean(0)
        print(f"| {name} | {rmse:.4g} | {crps:.4g} | {cover:.3f} |", flush=True)


def score(truth: xr.DataArray, hidden: NDArray[np.bool_], method: Method) -> list[float | None]:
    """Return RMSE, CRPS and coverage of a method on hidden pixels."""
    given = truth.copy(data=np.where(hidden, np.float32(np.nan), truth.values))
    known = truth.copy(data=np.where(hidden, truth.values, np.float32(np.nan)))
    given.name = None
    row = evaluate(given, [method], truth=known).rows[0]
    if row.failure:
        raise SystemExit(row.failure)
    return [row.score(name) for name in ("rmse", "crps", "coverage90")]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SCENES, []], help="which scenes; all by default")
    parser.add_argument("--data", type=Path, default=os.environ.get("GEONP_DATA"))
    parser.add_argument("--steps", type=int, default=110, help="that each network learns")
    parser.add_argument("--masks", type=int, default=1, help="sets of swaths")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the data are: --data FOLDER, or GEONP_DATA")
    for kind in (GeonpWarning, PendingDeprecationWarning):
        warnings.simplefilter("ignore", kind)
    warnings.filterwarnings("ignore", message="grid_mapping")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.names or SCENES:
            compare(SCENES[name], Path(given.data), given.steps, given.masks, Path(folder))


if __name__ == "__main__":
    main()
