"""What an evaluation found: a row for every method on every raster, and the table they make."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

import numpy as np

from geonp.errors import InputError, UsageError
from geonp.field import Window
from geonp.metrics import Ratio, Scores, geometric_ratio
from geonp.resampling import Blocks, ratio_of_blocks

TITLES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "bias": "bias",
    "standardised_rmse": "std. RMSE",
    "crps": "CRPS",
    "nll": "NLL",
    "coverage50": "cov. 50 %",
    "coverage90": "cov. 90 %",
    "coverage95": "cov. 95 %",
    "interval_score90": "interval 90 %",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
}
"""Scores by name, and how a table heads them."""
SHOWN = tuple(name for name in TITLES if name not in ("psnr", "ssim"))
"""Scores that a table shows unless it is told which."""

_ROOTS = ("rmse", "standardised_rmse")
_NONE = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one raster, or on one window of it.

    Parameters
    ----------
    scores : None where the method failed; `failure` then says why.
    filled : pixels that were not observed and now are.
    seconds : wall time, preparation included.
    note : what the method warned of.
    blocks : the same errors by blocks of pixels, for an interval on one raster.
    """

    raster: str
    window: Window | None
    method: str
    scores: Scores | None = None
    filled: int = 0
    seconds: float = math.nan
    failure: str = ""
    note: str = ""
    blocks: Blocks | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> str:
        """The raster's name, with rows and columns where a window of it was scored."""
        if self.window is None:
            return self.raster
        stop = self.window.stop
        return f"{self.raster} [{self.window.row}:{stop[0]}, {self.window.col}:{stop[1]}]"

    def score(self, name: str) -> float | None:
        """Return a score by its name in `Scores`; None where there is none."""
        value: float | None = None if self.scores is None else getattr(self.scores, name)
        return value


@dataclass(frozen=True, slots=True)
class Overall:
    """One method over every row on which it did not fail.

    Parameters
    ----------
    rows, failed : how many rows it has, and on how many of them it failed.
    scores : pooled over all scored values (RMSEs as roots of mean squares); they mean something where the
        rasters share a unit. None where the method failed everywhere.
    rmse_ratio, crps_ratio : ratio to the reference method with a 95 % bootstrap interval. Of one raster: of
        the scores over all its pixels, and blocks of pixels are drawn. Of several: the geometric mean of the
        ratios row by row, and whole rasters are drawn. None where there is nothing to compare.
    filled, seconds : totals.
    """

    method: str
    rows: int
    failed: int
    scores: Scores | None
    rmse_ratio: Ratio | None
    crps_ratio: Ratio | None
    filled: int
    seconds: float

    @property
    def pixels_per_second(self) -> float:
        """Filled pixels over wall time."""
        return self.filled / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of several methods on the same hidden pixels, and how these were hidden.

    Parameters
    ----------
    rows : one a raster (or window of it) and method.
    context, holdout, seed : how pixels were hidden.
    reference : the method that ratios are to.
    """

    rows: tuple[Row, ...]
    context: str
    holdout: str
    seed: int
    reference: str

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order given."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the rasters and windows, in the order given."""
        return tuple(dict.fromkeys(row.place for row in self.rows))

    @property
    def how(self) -> str:
        """How pixels were hidden, and what the intervals are, in a sentence or two."""
        hidden = {
            "truth": f"Scored in the survey's own gaps ({self.context} of it is observed)",
            "leave-one-out": f"{self.context} observed pixels left out one at a time",
        }.get(self.holdout, f"Context {self.context}, {self.holdout} hold-out")
        sides = sorted({row.blocks.side for row in self.rows if row.blocks is not None})
        drawn = "whole rasters"
        if len({row.raster for row in self.rows}) == 1 and sides:
            drawn = f"blocks of {' or '.join(map(str, sides))} pixels a side"
        return (
            f"{hidden}, seed {self.seed}; ratios to {self.reference} with 95 % intervals of a bootstrap that "
            f"draws {drawn}."
        )

    def overall(self) -> tuple[Overall, ...]:
        """Return every method over all rasters."""
        return tuple(self._overall(name) for name in self.methods)

    def to_markdown(self, each: bool = True, scores: Sequence[str] = SHOWN) -> str:
        """Return the table over all rasters; with `each`, also two scores on every one, failures and warnings.

        A dash stands where a method has no variance, or failed; failures and warnings are listed below.

        Parameters
        ----------
        each : whether rasters have a table of their own: of RMSE and CRPS, or the first two of `scores`
            where those are not among them.
        scores : columns, by their names in `Scores`.

        Raises
        ------
        UsageError
            If there is no such score.
        """
        check_scores(scores)
        head = [
            "method",
            *(TITLES[name] for name in scores),
            "RMSE ratio",
            "CRPS ratio",
            "seconds",
            "pixels/s",
        ]
        parts = [_table(head, [_line(entry, scores) for entry in self.overall()])]
        if each and len(self.places) > 1:
            apart = [name for name in ("rmse", "crps") if name in scores] or scores[:2]
            known = [name for name in apart if any(row.score(name) is not None for row in self.rows)]
            parts += [f"{TITLES[name]} on each:\n\n{self._by_place(name)}" for name in known]
        if each:
            told = [(row, f"failed: {row.failure}" if row.failure else row.note) for row in self.rows]
            parts.append("\n".join(f"- {row.method} on {row.place}: {text}" for row, text in told if text))
        parts.append(self.how)
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_csv(self) -> str:
        """Return one line for every row; empty where there is no value."""
        records = self._records()
        out = io.StringIO()
        writer = csv.DictWriter(out, list(records[0]) if records else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return out.getvalue()

    def to_json(self) -> str:
        """Return settings, overall figures and rows as one JSON object; null where no value is finite."""
        return json.dumps(self.as_dict(), indent=2)

    def as_dict(self) -> dict[str, object]:
        """Return settings, overall figures and rows as JSON values; None where no value is finite."""
        content = {
            "context": self.context,
            "holdout": self.holdout,
            "seed": self.seed,
            "reference": self.reference,
            "overall": [{**asdict(e), "pixels_per_second": e.pixels_per_second} for e in self.overall()],
            "rows": self._records(),
        }
        out = _finite(content)
        assert isinstance(out, dict)
        return out

    def _overall(self, name: str) -> Overall:
        rows = [row for row in self.rows if row.method == name]
        good = [row for row in rows if row.scores is not None]
        return Overall(
            method=name,
            rows=len(rows),
            failed=len(rows) - len(good),
            scores=_pooled([row.scores for row in good if row.scores is not None]),
            rmse_ratio=self._ratio(rows, "rmse"),
            crps_ratio=self._ratio(rows, "crps"),
            filled=sum(row.filled for row in good),
            seconds=math.fsum(row.seconds for row in good),
        )

    def _ratio(self, rows: Sequence[Row], name: Literal["rmse", "crps"]) -> Ratio | None:
        pairs = [(row, self._beside(row)) for row in rows]
        blocks = [(a.blocks, b.blocks) for a, b in pairs if a.blocks is not None and b.blocks is not None]
        rng = np.random.default_rng(self.seed)
        if blocks and len({row.raster for row in self.rows}) == 1:
            return ratio_of_blocks([a for a, _ in blocks], [b for _, b in blocks], name, rng)
        scored = [(a.score(name), b.score(name), a.raster) for a, b in pairs]
        usable = [(a, b, raster) for a, b, raster in scored if a is not None and b is not None]
        if usable:
            ours, reference, rasters = zip(*usable, strict=True)
            with suppress(InputError):  # no pair of positive scores
                return geometric_ratio(ours, reference, rng, rasters)
        return None

    def _beside(self, row: Row) -> Row:
        """Return the reference method's row of the same place."""
        return next(r for r in self.rows if r.method == self.reference and r.place == row.place)

    def _by_place(self, name: str) -> str:
        at = {(row.place, row.method): _short(row.score(name)) for row in self.rows}
        body = [[place, *(at[place, method] for method in self.methods)] for place in self.places]
        return _table(["raster", *self.methods], body)

    def _records(self) -> list[dict[str, object]]:
        return [
            {
                "raster": row.raster,
                "window": "" if row.window is None else " ".join(map(str, asdict(row.window).values())),
                "method": row.method,
                **{f.name: row.score(f.name) for f in fields(Scores)},
                "rmse_ratio": _quotient(row.score("rmse"), self._beside(row).score("rmse")),
                "crps_ratio": _quotient(row.score("crps"), self._beside(row).score("crps")),
                "filled": row.filled,
                "seconds": row.seconds,
                "failure": row.failure,
                "note": row.note,
            }
            for row in self.rows
        ]


def check_scores(names: Sequence[str]) -> None:
    """Raise UsageError unless `names` are scores, one at least."""
    unknown = [name for name in names if name not in TITLES]
    if unknown or not names:
        wrong = f"there is no score {', '.join(map(repr, unknown))}" if unknown else "no score is named"
        raise UsageError(f"{wrong}; choose from {', '.join(TITLES)}")


def _pooled(scores: Sequence[Scores]) -> Scores | None:
    """Return the scores of all values together; what one of the rows lacks is left out of a mean."""
    if not scores:
        return None
    pooled: dict[str, float | None] = {}
    for name in (f.name for f in fields(Scores) if f.name != "count"):
        known = [(getattr(s, name), s.count) for s in scores if getattr(s, name) is not None]
        power = 2 if name in _ROOTS else 1
        total = sum(count for _, count in known)
        mean = math.fsum(value**power * (count / total) for value, count in known) if known else None
        pooled[name] = None if mean is None else mean ** (1 / power)
    return Scores(count=sum(s.count for s in scores), **pooled)  # type: ignore[arg-type]


def _line(entry: Overall, names: Sequence[str]) -> list[str]:
    scores = [_short(None if entry.scores is None else getattr(entry.scores, name)) for name in names]
    ratios = [_interval(entry.rmse_ratio), _interval(entry.crps_ratio)]
    failed = f" (failed on {entry.failed} of {entry.rows})" if entry.failed else ""
    speed = _NONE if entry.scores is None else f"{entry.pixels_per_second:,.0f}"
    return [entry.method + failed, *scores, *ratios, _short(entry.seconds), speed]


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _short(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4g}"


def _interval(ratio: Ratio | None) -> str:
    if ratio is None:
        return _NONE
    if not ratio.low < ratio.high:  # one block, or the reference itself
        return f"{ratio.value:.3f}"
    return f"{ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"


def _quotient(ours: float | None, reference: float | None) -> float | None:
    return None if ours is None or not reference else ours / reference


def _finite(content: object) -> object:
    """Replace numbers that JSON does not know (NaN, infinities) by None, at any depth."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
