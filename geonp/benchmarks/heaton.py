"""The case-study competition of Heaton et al. (2019): our methods beside its published table.

Source: Heaton, Datta, Finley and others (2019), "A case study competition among methods for analyzing large
spatial data", Journal of Agricultural, Biological and Environmental Statistics 24, 398-425: the simulated set.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr

from geonp.benchmarks.plan import Budget
from geonp.benchmarks.result import Cell, Column, Picture, Result, Table
from geonp.errors import GeonpWarning
from geonp.field import as_field
from geonp.methods.choose import choose
from geonp.metrics import coverage, crps, interval_score, mae, rmse
from geonp.predict import complete
from geonp.report.figures import completion

METHODS = ("bundled", "kriging", "rbf", "cubic", "linear", "nearest")
LEVEL = 0.95
SHOWN = "bundled"

_COLUMNS = (
    Column("method", "method"),
    Column("mae", "MAE", 3),
    Column("rmse", "RMSE", 3),
    Column("crps", "CRPS", 3),
    Column("interval_score", "INT", 2),
    Column("coverage", "CVG", 3),
)

# MAE, RMSE, CRPS, INT, CVG of the simulated set.
PUBLISHED: tuple[tuple[str, float, float, float, float, float], ...] = (
    ("FRK", 1.03, 1.31, 0.74, 8.35, 0.84),
    ("Gapfill", 0.73, 1.00, 0.64, 18.01, 0.44),
    ("LatticeKrig", 0.63, 0.87, 0.45, 4.04, 0.97),
    ("LAGP", 0.79, 1.11, 0.57, 5.71, 0.90),
    ("MetaKriging", 0.74, 0.97, 0.53, 4.69, 0.99),
    ("MRA", 0.61, 0.83, 0.43, 3.64, 0.93),
    ("NNGP Conjugate", 0.65, 0.88, 0.46, 3.79, 0.96),
    ("NNGP Response", 0.65, 0.88, 0.46, 3.81, 0.96),
    ("Partition", 0.64, 0.86, 0.47, 5.05, 0.86),
    ("Pred. Proc.", 1.06, 1.43, 0.76, 7.33, 0.89),
    ("SPDE", 0.62, 0.86, 0.59, 7.81, 1.00),
    ("Tapering", 0.69, 0.97, 0.55, 6.39, 1.00),
    ("Periodic Embedding", 0.65, 0.91, 0.47, 4.16, 0.97),
)

DIFFERENCES = (
    "The competition's teams fitted by hand and on their own machines; here every method runs with its defaults.",
    "The published figures are quoted to one unit of the last digit, coverages least certainly. Those of Pred. Proc. "
    "agree with the predictions that the authors published; the SPDE's CRPS, INT and CVG were computed by the authors "
    "with another set's deviations, which is why its coverage is 1.",
    "Interpolators give no deviation, so they have no CRPS, INT and CVG.",
)


def run(
    seen: xr.DataArray,
    truth: xr.DataArray,
    budget: Budget,
    tell: Callable[[str], None],
    methods: tuple[str, ...] = METHODS,
) -> Result:
    """Complete the simulated field with every method and score the pixels that were kept from them.

    Parameters
    ----------
    seen, truth : (y, x); NaN where not seen. Both budgets run the same.
    """
    seen, truth = as_field(seen), as_field(truth)
    hidden = np.isnan(seen.to_numpy()) & np.isfinite(truth.to_numpy())
    rows: list[tuple[Cell, ...]] = []
    pictures = []
    for name in methods:
        method = choose(name)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeonpWarning)
            done = complete(seen, method, variance=method.has_variance)
        seconds = time.perf_counter() - start
        rows.append((name, *_scores(truth, done, hidden), seconds, hidden.sum() / seconds))
        tell(f"{name}: RMSE {rows[-1][2]:.3f} in {seconds:.0f} s")
        if name == SHOWN and "variance" in done:
            pictures.append(Picture(name, completion(truth[0], seen[0], done.isel(band=0))))
    ours = Table(
        f"Heaton simulated set, {int(hidden.sum()):,} hidden of {hidden.size:,} pixels, 95 % intervals",
        (*_COLUMNS, Column("seconds", "seconds", 1), Column("pixels_per_second", "pixels/s", 0)),
        tuple(rows),
    )
    return Result(
        benchmark="heaton",
        budget=budget,
        data=("heaton: the simulated set (exponential covariance, nugget), 105,569 seen of 150,000 pixels",),
        seeds=(0,),
        settings=(("methods", f"with their defaults: {', '.join(methods)}"),),
        differences=DIFFERENCES,
        findings=_findings(rows),
        tables=(ours, Table("Published (simulated set)", _COLUMNS, PUBLISHED)),
        pictures=tuple(pictures),
    )


def _scores(truth: xr.DataArray, done: xr.Dataset, hidden: np.ndarray) -> tuple[float | None, ...]:
    t, m = truth.to_numpy()[hidden], done["mean"].to_numpy()[hidden]
    errors = (mae(t, m), rmse(t, m))
    if "variance" not in done:
        return (*errors, None, None, None)
    v = done["variance"].to_numpy()[hidden]
    return (*errors, crps(t, m, v), interval_score(t, m, v, LEVEL), coverage(t, m, v, LEVEL))


def _findings(rows: list[tuple[Cell, ...]]) -> tuple[str, ...]:
    lines = []
    for name, _, error, probabilistic, *_ in rows:
        if not isinstance(error, float):
            continue
        better = sum(1 for row in PUBLISHED if round(error, 2) < row[2])
        line = f"{name}: RMSE below that of {better} of {len(PUBLISHED)} published methods"
        if isinstance(probabilistic, float):
            ahead = sum(1 for row in PUBLISHED if round(probabilistic, 2) < row[3])
            line += f", CRPS below that of {ahead}"
        lines.append(f"{line} (two decimals).")
    return tuple(lines)
