"""Every system of docs/systems.md on one held-out tile of terrain, after the same short training.

Run `python docs/scripts/systems_figure.py docs/images/systems.png`: 32 x 32 pixel tiles of the DEM that matplotlib
ships, a few minutes of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray

from geonp.field import as_field
from geonp.masks import parse_context
from geonp.methods.inr import Inr
from geonp.models import config_from, create, resolve
from geonp.tasks import Task
from geonp.tiles import TileSet
from geonp.training import Options, Training

Layer = NDArray[np.float32]
SMALL: Mapping[str, object] = {"channels": 32, "kernel": 5, "depth": 3, "head_layers": 2, "head_width": 32}
SYSTEMS: Mapping[str, Mapping[str, object]] = {
    "cnp": {"channels": 96},
    "np": {"channels": 96, "latent": 48},
    "acnp": {"channels": 64},
    "anp": {"channels": 64, "latent": 32},
    "convcnp": SMALL,
    "convnp": {**SMALL, "latent": 8},
    "ifnp": {},
    "ifnp-lpa": {},
    "ifnp-senet": {},
    "ifnp-gca": {},
    "ifanp": {},
    "vae": {},
}


def trained(name: str, tiles: TileSet, epochs: int) -> torch.nn.Module:
    """Return a network after `epochs` of 50 steps."""
    architecture, settings = resolve(name, SYSTEMS[name])
    net = create(architecture, config_from(architecture, settings))
    training = Training(net, tiles, Options(epochs=epochs, steps_per_epoch=50, device="cpu"))
    for _ in training.run():
        pass
    training.use_best()
    return net.eval()


def shown(net: torch.nn.Module, task: Task) -> tuple[Layer, Layer, Layer]:
    """Return mean, deviation and one realisation of the first field."""
    with torch.inference_mode():
        told = net(task)
        drawn = net.realisations(task, 1, torch.Generator().manual_seed(0))
    return tuple(layer.numpy() for layer in (told.mean[0, 0], told.std[0, 0], drawn[0, 0, 0]))


def represented(task: Task) -> tuple[Layer, Layer, Layer]:
    """Return what a network of coordinates, fitted to the first field alone, tells."""
    seen = task.context[0].numpy() > 0
    values = np.where(seen, task.values[0].numpy(), np.nan)
    field = xr.DataArray(values.astype("f4"), dims=("band", "y", "x"))
    done = Inr().prepare(field).predict(field)
    mean = done["mean"].values[0]
    return mean, np.sqrt(done["variance"].values[0]), mean


def main() -> None:
    """Train, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    dem = get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype("f4")
    field = as_field(xr.DataArray(dem, dims=("y", "x")))
    tiles = TileSet([field], 32, 8, parse_context("0.05:0.3"), score_context=True, validation_tiles=16)
    task = tiles.validation()[0]
    truth, seen = task.values[0, 0].numpy(), task.context[0, 0].numpy() > 0
    rows = {}
    for name in SYSTEMS:
        rows[name] = shown(trained(name, tiles, given.epochs), task)
        error = np.sqrt(np.mean((rows[name][0] - truth)[~seen] ** 2))
        print(f"{name}: RMSE {error:.3f} of the tile's deviation", flush=True)
    rows["inr"] = represented(task)
    low, high = float(truth.min()), float(truth.max())
    figure, axes = plt.subplots(4, len(rows) + 1, figsize=(1.05 * (len(rows) + 1), 4.4))
    context = np.where(seen, truth, np.nan)
    first = {"truth": truth, "context": context}
    for axis, (label, image) in zip(axes[:, 0], [*first.items(), ("", None), ("", None)], strict=True):
        axis.set_axis_off()
        if image is not None:
            axis.imshow(image, vmin=low, vmax=high, cmap="terrain")
            axis.set_title(label, fontsize=8)
    for column, (name, (mean, std, drawn)) in zip(axes.T[1:], rows.items(), strict=True):
        column[0].set_title(name, fontsize=8)
        for axis, image, style in zip(
            column,
            (mean, std, np.abs(mean - truth), drawn),
            (
                {"vmin": low, "vmax": high, "cmap": "terrain"},
                {"vmin": 0, "vmax": 1, "cmap": "magma"},
                {"vmin": 0, "vmax": 1, "cmap": "magma"},
                {"vmin": low, "vmax": high, "cmap": "terrain"},
            ),
            strict=True,
        ):
            axis.imshow(image, **style)
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, label in zip(axes[:, 1], ("mean", "deviation", "|error|", "realisation"), strict=True):
        axis.set_ylabel(label, fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(given.output, dpi=140)


if __name__ == "__main__":
    main()
