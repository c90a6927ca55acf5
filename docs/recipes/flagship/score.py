"""Scores the bundled method on validation cases, terrain by terrain, as shares of a reference's errors.

    python docs/recipes/flagship/score.py CASES.npz [--model FILE] [--method kriging] [--json OUT]

A file of cases holds `y` (N, rows, cols), `m` (what is observed), `where` (what is scored), `names`
(terrains) and `reference` (N, 3 or more): RMSE, CRPS and coverage of the reference. Pixels are 30 m squares.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpWarning
from geonp.field import as_field
from geonp.methods import method_class
from geonp.methods.base import Method
from geonp.methods.flagship import Flagship
from geonp.metrics import crps
from geonp.predict import complete

Array = NDArray[np.float64]

_RESAMPLED = 4000


def case(method: Method, values: Array, observed: NDArray[np.bool_], where: NDArray[np.bool_]) -> list[float]:
    """Return RMSE, CRPS and 90 % coverage of one completion."""
    rows, cols = values.shape
    coords = {"y": 30.0 * np.arange(rows)[::-1] + 15, "x": 30.0 * np.arange(cols) + 15}
    field = xr.DataArray(np.where(observed, values, np.nan).astype("f4"), coords, dims=("y", "x"))
    done = complete(as_field(field), method)
    mean, variance = (done[name].values[0].astype(np.float64)[where] for name in ("mean", "variance"))
    error = values[where] - mean
    covered = np.abs(error) < 1.645 * np.sqrt(np.maximum(variance, 1e-12))
    return [
        float(np.sqrt(np.mean(error**2))),
        crps(values[where], mean, np.maximum(variance, 1e-12)),
        float(covered.mean()),
    ]


def interval(logs: Array) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of a geometric mean, over cases."""
    rng = np.random.default_rng(0)
    means = [logs[rng.integers(len(logs), size=len(logs))].mean() for _ in range(_RESAMPLED)]
    low, high = np.exp(np.quantile(means, [0.025, 0.975]))
    return float(low), float(high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--model", help="a model file; the bundled one otherwise")
    parser.add_argument("--method", help="another method, by name, with its defaults")
    parser.add_argument("--limit", type=int, help="every so many-th case is taken, to reach this number")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", GeonpWarning)
    method = method_class(chosen.method)() if chosen.method else Flagship(model=chosen.model)
    kept = np.load(chosen.cases)
    count = len(kept["y"])
    index = np.linspace(0, count - 1, min(chosen.limit or count, count)).astype(int)
    found = np.array(
        [case(method, kept["y"][i].astype(np.float64), kept["m"][i], kept["where"][i]) for i in index]
    )
    ratios = np.log(found[:, :2] / kept["reference"][index, :2])
    names = np.array([str(name) for name in kept["names"][index]])
    summary: dict[str, object] = {"cases": len(index), "cov90": float(found[:, 2].mean())}
    for column, name in enumerate(("rmse", "crps")):
        summary[name] = float(np.exp(ratios[:, column].mean()))
        summary[f"{name}_interval"] = interval(ratios[:, column])
    summary["won"] = float((ratios[:, 0] < 0).mean())
    summary["terrain"] = {
        name: [*np.exp(ratios[names == name].mean(0)).tolist(), int((names == name).sum())]
        for name in sorted(set(names))
    }
    text = json.dumps(summary, indent=1)
    print(text)
    if chosen.json is not None:
        chosen.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
