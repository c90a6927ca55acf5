"""Mean and standard deviation of a completed survey side by side, and the points: the map in docs/kriging.md.

Run `python docs/scripts/kriging_maps.py zinc.csv mean.tif variance.tif maps.png`.
"""

from __future__ import annotations

import argparse

import matplotlib as mpl
import numpy as np

mpl.use("agg")
import matplotlib.pyplot as plt

from geonp.io import open_field
from geonp.io.points import read_points


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("points", "mean", "variance", "picture"):
        parser.add_argument(name)
    given = parser.parse_args()
    points = read_points(given.points)
    mean, variance = open_field(given.mean)[0].load(), open_field(given.variance)[0].load()
    fig, axes = plt.subplots(1, 2, figsize=(8, 4.6), layout="constrained", sharey=True)
    for axis, raster, name, colours in (
        (axes[0], mean, f"mean of {points.name}", "viridis"),
        (axes[1], np.sqrt(variance), "standard deviation", "magma"),
    ):
        drawn = axis.pcolormesh(raster["x"], raster["y"], raster, cmap=colours, rasterized=True)
        axis.scatter(points.x, points.y, 5, color="white", edgecolor="black", linewidth=0.4)
        axis.set(aspect="equal", title=name, xticks=[], yticks=[])
        fig.colorbar(drawn, ax=axis, shrink=0.8, location="bottom")
    fig.savefig(given.picture, dpi=90)


if __name__ == "__main__":
    main()
