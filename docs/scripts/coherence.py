"""Do realisations vary together as errors do? Block means, correlations and energy scores of 100 of them.

    python docs/scripts/coherence.py CASES.npz...        # files as `docs/recipes/flagship/score.py` reads them
    python docs/scripts/coherence.py --held DATA         # crops of the training rasters that are set aside

For every case the bundled method's realisations and those of the kriging that it corrects are compared with the truth,
in blocks of pixels that were not observed. Kriging has the same covariance. As a third, the bundled method's
realisations are shuffled pixel by pixel, which leaves means and variances and takes all correlation away.
`--plot FILE` draws how errors correlate with distance.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpWarning
from geonp.field import as_field
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.simulation import begin

sys.path.append(str(Path(__file__).parents[1] / "recipes" / "flagship"))
from rasters import read

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIDE, SPACING = 64, 30.0
BLOCKS = (1, 4, 8, 16)
ENERGY_BLOCK = 8
LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
_NAMES = {"dem_random_05": "5 %", "dem_random_12": "12.5 %", "dem_random_30": "30 %", "dem_gaps": "gaps"}
KRIGING, NETWORK, SHUFFLED = "kriging", "bundled", "bundled, shuffled"
DRAWN = 100
_CENTRAL = {50: 25, 90: 5}
"""Between the k-th lowest and the k-th highest of 100 realisations the truth lies so often (per cent)."""


@dataclass(frozen=True)
class Case:
    """A truth (rows, columns), where it is observed and where it is scored, and which set it belongs to."""

    values: Array
    observed: Mask
    scored: Mask
    group: str


def kept(path: Path, every: int) -> Iterator[Case]:
    """Yield every so many-th case of a file."""
    told = np.load(path)
    for i in range(0, len(told["y"]), every):
        values = told["y"][i].astype(np.float64)
        yield Case(values, told["m"][i], told["where"][i], _NAMES.get(path.stem, path.stem))


def crops(data: Path, count: int) -> Iterator[Case]:
    """Yield crops of the rasters set aside, with 5, 12.5 and 30 % of the pixels seen, or 25 % around a gap."""
    sources, rng = read(data, held=True), np.random.default_rng(0)
    made = 0
    while made < count:
        values = sources[made // 4 % len(sources)].values
        row, col = (int(rng.integers(n - SIDE + 1)) for n in values.shape)
        crop = values[row : row + SIDE, col : col + SIDE].astype(np.float64)
        if not np.isfinite(crop).all() or np.unique(crop, return_counts=True)[1].max() > 0.1 * crop.size:
            continue
        share, group = ((0.125, "12.5 %"), (0.05, "5 %"), (0.3, "30 %"), (0.25, "gaps"))[made % 4]
        observed = rng.permutation(SIDE * SIDE).reshape(SIDE, SIDE) < round(share * SIDE * SIDE)
        gap = np.ones_like(observed)
        if group == "gaps":
            gap[:] = False
            if made // 4 % 2:
                gap[22:42, 22:42] = True
            else:
                first = int(rng.integers(24, 30))
                gap[:, first : first + 12] = True
            observed &= ~gap
        yield Case(crop, observed, gap & ~observed, group)
        made += 1


def drawn(case: Case) -> dict[str, Array]:
    """Return realisations (DRAWN, rows, columns) of a case by each method."""
    n = DRAWN
    rows, cols = case.values.shape
    coords = {"y": SPACING * np.arange(rows)[::-1], "x": SPACING * np.arange(cols)}
    survey = np.where(case.observed, case.values, np.nan).astype(np.float32)
    field = as_field(xr.DataArray(survey, coords, dims=("y", "x")))
    ready = begin(field, Flagship(insist=True), n)
    prepared = ready.completion.method
    assert isinstance(prepared, Flagship)
    covariance = prepared.groups[0].krigings[0].solver.covariance
    found = {}
    for name, each in (
        (KRIGING, begin(field, Kriging(covariance=covariance), n)),
        (NETWORK, ready),
    ):
        found[name] = np.empty((n, rows, cols))
        for piece in each:
            inside = (
                slice(piece.window.row, piece.window.stop[0]),
                slice(piece.window.col, piece.window.stop[1]),
            )
            found[name][piece.first : piece.first + len(piece.values), *inside] = piece.values[:, 0]
    found[SHUFFLED] = np.random.default_rng(0).permuted(found[NETWORK], axis=0)
    return found


def block_means(layers: Array, scored: Mask, side: int) -> Array:
    """Return means (..., blocks) of layers (..., rows, columns) over the scored pixels of blocks.

    Blocks with less than a quarter of their pixels scored are left out.
    """
    rows, cols = (n // side for n in scored.shape)
    cut = (..., slice(rows * side), slice(cols * side))
    shape = (rows, side, cols, side)
    count = scored[cut].reshape(shape).sum((1, 3))
    total = np.where(scored, layers, 0)[cut].reshape(*layers.shape[:-2], *shape).sum((-3, -1))
    return np.asarray((total / np.maximum(count, 1))[..., count >= side * side / 4])


def block_scores(truth: Array, draws: Array) -> list[float]:
    """Return 50 and 90 % coverage, the mean squared standardised error and the CRPS of some statistics.

    `truth` is (k,), `draws` (n, k). The CRPS is the unbiased estimate for an ensemble (Ferro 2014, Quarterly Journal
    of the Royal Meteorological Society 140).
    """
    n = len(draws)
    ranked = np.sort(draws, 0)
    covered = [((truth >= ranked[k - 1]) & (truth <= ranked[n - k])).mean() for k in _CENTRAL.values()]
    squared = ((truth - draws.mean(0)) ** 2 / draws.var(0, ddof=1)).mean()
    weights = 2 * np.arange(1, n + 1) - n - 1
    apart = 2 * (weights[:, None] * ranked).sum(0) / (n * (n - 1))
    return [*covered, squared, (np.abs(draws - truth).mean(0) - apart / 2).mean()]


def energy_score(truth: Array, draws: Array, scored: Mask) -> float:
    """Return the mean energy score of the scored pixels of blocks taken together.

    E|X - y| - E|X - X'| / 2 in the Euclidean norm (Gneiting and Raftery 2007, eq. 22), unbiased.
    """
    found, n = [], len(draws)
    for row in range(0, scored.shape[0], ENERGY_BLOCK):
        for col in range(0, scored.shape[1], ENERGY_BLOCK):
            block = (slice(row, row + ENERGY_BLOCK), slice(col, col + ENERGY_BLOCK))
            here = scored[block]
            if here.sum() < here.size / 4:
                continue
            off = draws[:, *block][:, here] - truth[block][here]
            squares = (off**2).sum(1)
            pairs = np.maximum(squares[:, None] + squares - 2 * off @ off.T, 0)
            found.append(np.sqrt(squares).mean() - np.sqrt(pairs).sum() / (2 * n * (n - 1)))
    return float(np.mean(found))


def correlogram(layers: Array, scored: Mask) -> Array:
    """Return the correlation of standardised layers (n, rows, columns) at `LAGS` along rows and columns."""
    found = []
    for lag in LAGS:
        both, mine, other = 0.0, 0.0, 0.0
        for turned, here in ((layers, scored), (layers.swapaxes(1, 2), scored.T)):
            pair = here[:, lag:] & here[:, :-lag]
            a, b = turned[:, :, lag:][:, pair], turned[:, :, :-lag][:, pair]
            both, mine, other = both + (a * b).sum(), mine + (a * a).sum(), other + (b * b).sum()
        found.append(both / np.sqrt(mine * other) if mine * other > 0 else np.nan)
    return np.array(found)


@dataclass(frozen=True)
class Found:
    """What was found of a case: scores (blocks, 4), energy and correlations of errors and of realisations."""

    group: str
    scores: dict[str, Array]
    energy: dict[str, float]
    errors: dict[str, Array]
    realisations: dict[str, Array]


def examined(case: Case) -> Found:
    """Return what is found of a case."""
    scores, energy, errors, realisations = {}, {}, {}, {}
    for name, layers in drawn(case).items():
        rows = []
        for side in BLOCKS:
            truth, means = (block_means(x, case.scored, side) for x in (case.values, layers))
            rows.append(block_scores(truth, means) if truth.size else [np.nan] * 4)
        scores[name] = np.array(rows)
        energy[name] = energy_score(case.values, layers, case.scored)
        mean, std = layers.mean(0), np.where(case.scored, layers.std(0, ddof=1), 1)
        errors[name] = correlogram(((case.values - mean) / std)[None], case.scored)
        realisations[name] = correlogram((layers - mean) / std, case.scored)
    return Found(case.group, scores, energy, errors, realisations)


def report(sets: dict[str, list[Found]]) -> None:
    """Print the tables."""
    print(
        "| cases | blocks | kriging: 90 % | std. RMSE | bundled: 50 % | 90 % | std. RMSE | CRPS / kriging's "
        "| shuffled: 90 % | std. RMSE |\n|---" + "|---:" * 9 + "|"
    )
    for group, found in sets.items():
        for i, side in enumerate(BLOCKS):
            each = {name: np.array([f.scores[name][i] for f in found]) for name in found[0].scores}
            told = {name: np.nanmean(every, 0) for name, every in each.items()}
            rms = {name: f"{np.sqrt(every[2]):.2f}" for name, every in told.items()}
            low, high = interval(np.sqrt, each[NETWORK][:, 2])
            share = np.exp(np.nanmean(np.log(each[NETWORK][:, 3] / each[KRIGING][:, 3])))
            print(
                f"| {group} | {side} x {side} | {told[KRIGING][1]:.3f} | {rms[KRIGING]} "
                f"| {told[NETWORK][0]:.3f} | {told[NETWORK][1]:.3f} | {rms[NETWORK]} ({low:.2f} to {high:.2f}) "
                f"| {share:.3f} | {told[SHUFFLED][1]:.3f} | {rms[SHUFFLED]} |"
            )
    for group, found in sets.items():
        print(
            f"\n{group}, {len(found)} cases; energy score of {ENERGY_BLOCK} x {ENERGY_BLOCK} blocks / kriging's:"
        )
        for name in (NETWORK, SHUFFLED):
            share = np.log([f.energy[name] / f.energy[KRIGING] for f in found])
            low, high = interval(np.exp, share)
            print(f"  {name}: {np.exp(np.nanmean(share)):.3f} ({low:.3f} to {high:.3f})")
        print("| pixels apart | " + " | ".join(map(str, LAGS)) + " |\n|---" + "|---:" * len(LAGS) + "|")
        for name in (KRIGING, NETWORK):
            for what in ("errors", "realisations"):
                told = np.nanmean([getattr(f, what)[name] for f in found], 0)
                print(f"| {name}: {what} | " + " | ".join(f"{c:.2f}" for c in told) + " |")


def interval(turn: np.ufunc, values: Array) -> tuple[float, float]:
    """Return a 95 % bootstrap interval over cases of `turn` of the mean."""
    rng = np.random.default_rng(0)
    means = [np.nanmean(values[rng.integers(len(values), size=len(values))]) for _ in range(2000)]
    low, high = turn(np.quantile(means, [0.025, 0.975]))
    return float(low), float(high)


def plot(sets: dict[str, list[Found]], path: Path) -> None:
    """Draw how errors and realisations correlate with distance."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(
        1, len(sets), figsize=(4.6 * len(sets), 3.6), sharey=True, layout="constrained", squeeze=False
    )
    for axis, (group, found) in zip(axes[0], sets.items(), strict=True):
        # Both methods' realisations have one correlation.
        told = np.nanmean([f.realisations[NETWORK] for f in found], 0)
        axis.plot(LAGS, told, color="tab:blue", label="realisations")
        for name, colour in ((KRIGING, "tab:gray"), (NETWORK, "tab:blue")):
            told = np.nanmean([f.errors[name] for f in found], 0)
            axis.plot(LAGS, told, "o", color=colour, label=f"errors, {name}")
        axis.axhline(0, color="black", lw=0.5)
        axis.set(title=group, xlabel="pixels apart", xscale="log")
        axis.set_xticks(LAGS, map(str, LAGS))
        axis.minorticks_off()
    axes[0, 0].set_ylabel("correlation")
    axes[0, 0].legend(frameon=False)
    fig.savefig(path, dpi=110)


def main() -> None:
    """Examine the cases and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="*")
    parser.add_argument("--held", type=Path, help="folder of the training data")
    parser.add_argument("--count", type=int, default=112, help="crops of the rasters set aside")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th case of a file")
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", GeonpWarning)
    given = [case for path in chosen.cases for case in kept(path, chosen.every)]
    given += [] if chosen.held is None else list(crops(chosen.held, chosen.count))
    sets: dict[str, list[Found]] = {}
    for case in given:
        sets.setdefault(case.group, []).append(examined(case))
    report(sets)
    if chosen.plot is not None:
        plot(sets, chosen.plot)


if __name__ == "__main__":
    main()
