"""Every method on held-out terrain: scattered pixels, and gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import xarray as xr

from geonp.benchmarks.crops import crops
from geonp.benchmarks.images import random_contexts
from geonp.benchmarks.plan import Budget
from geonp.benchmarks.result import Cell, Column, Picture, Result, Table
from geonp.evaluation import evaluate
from geonp.methods.choose import choose
from geonp.metrics import Ratio
from geonp.predict import complete
from geonp.report.figures import methods as side_by_side
from geonp.scoreboard import Evaluation

METHODS = ("bundled", "kriging", "rbf", "cubic", "linear", "idw", "fillnodata", "nearest")
DRAWN = ("kriging", "bundled", "cubic", "nearest")
SIDE, GAP = 64, 16
CROPS = MappingProxyType({Budget.CPU: 22, Budget.FULL: 220})
# (title, context, hold-out): scattered pixels, sparse to dense, and square gaps.
TASKS = (
    ("12.5 % of the pixels seen, at random", 0.125, "random"),
    (f"squares of {GAP} pixels hidden, 75 % seen", 0.75, "blocks"),
)

_COLUMNS = (
    Column("method", "method"),
    Column("rmse_ratio", "RMSE ratio"),
    Column("crps_ratio", "CRPS ratio"),
    Column("coverage90", "cov. 90 %", 3),
    Column("standardised_rmse", "std. RMSE", 3),
    Column("failed", "failed"),
    Column("seconds", "seconds", 1),
    Column("pixels_per_second", "pixels/s", 0),
)

DIFFERENCES = (
    "There is no such table in the papers: it is what they leave out, strong interpolators and kriging.",
)


def run(
    fields: Mapping[str, xr.DataArray],
    source: str,
    budget: Budget,
    seeds: int,
    tell: Callable[[str], None],
    methods: tuple[str, ...] = METHODS,
) -> Result:
    """Hide pixels of crops of every raster, complete them with every method, and score what was hidden.

    Parameters
    ----------
    fields : rasters by name that no bundled weights were trained on.
    seeds : how often crops and hidden pixels are drawn anew.
    """
    tables = []
    for title, context, holdout in TASKS:
        for seed in range(seeds):
            drawn = crops(fields, SIDE, CROPS[budget], seed)
            named = {f"{name} {i + 1}": field for i, (name, field) in enumerate(drawn)}
            found = evaluate(named, methods, context=context, holdout=holdout, seed=seed, side=GAP)
            tables.append(_table(f"{title}, seed {seed}", found))
            tell(f"{title}, seed {seed}: {len(named)} crops scored")
    return Result(
        benchmark="terrain",
        budget=budget,
        data=(f"{source}; validation rasters: {', '.join(fields)}",),
        seeds=tuple(range(seeds)),
        settings=(
            ("crops", f"{CROPS[budget]} of {SIDE} x {SIDE} pixels, the same number of every raster"),
            ("ratios", "geometric mean over crops of the ratio to kriging, 95 % bootstrap interval"),
        ),
        differences=DIFFERENCES,
        findings=_findings(tables),
        tables=tuple(tables),
        pictures=(_picture(crops(fields, SIDE, 1, 0)[0][1], methods),),
    )


def _table(title: str, found: Evaluation) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for entry in found.overall():
        scores = entry.scores
        rows.append(
            (
                entry.method,
                _ratio(entry.rmse_ratio),
                _ratio(entry.crps_ratio),
                None if scores is None else scores.coverage90,
                None if scores is None else scores.standardised_rmse,
                entry.failed,
                entry.seconds,
                entry.pixels_per_second,
            )
        )
    return Table(title, _COLUMNS, tuple(rows))


def _ratio(ratio: Ratio | None) -> str | None:
    return None if ratio is None else f"{ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"


def _findings(tables: list[Table]) -> tuple[str, ...]:
    lines = []
    for table in tables:
        best = min((row for row in table.rows if isinstance(row[1], str)), key=lambda row: str(row[1]))
        lines.append(f"{table.title}: the lowest RMSE is that of {best[0]}, {best[1]} of kriging's.")
    return tuple(lines)


def _picture(truth: xr.DataArray, methods: tuple[str, ...]) -> Picture:
    """Draw hillshades of one crop of which 12.5 % is seen."""
    rows, cols = truth.shape[-2:]
    seen = random_contexts(np.random.default_rng(0), 1, (rows, cols), round(TASKS[0][1] * rows * cols))[0]
    given = truth.where(xr.DataArray(seen, dims=("y", "x")))
    drawn = {
        name: complete(given, choose(name), variance=False)["mean"][0] for name in DRAWN if name in methods
    }
    return Picture("hillshades", side_by_side(truth[0], given[0], drawn))
