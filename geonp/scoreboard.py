"""What an evaluation found: a row for every method on every raster, and the table they make."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

import numpy as np

from geonp.errors import InputError
from geonp.field import Window
from geonp.metrics import Ratio, Scores, geometric_ratio

_ROOTS = ("rmse", "standardised_rmse")
_COLUMNS = {
    "RMSE": "rmse",
    "MAE": "mae",
    "bias": "bias",
    "std. RMSE": "standardised_rmse",
    "CRPS": "crps",
    "NLL": "nll",
    "cov. 50 %": "coverage50",
    "cov. 90 %": "coverage90",
    "cov. 95 %": "coverage95",
    "interval 90 %": "interval_score90",
}
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
    """

    raster: str
    window: Window | None
    method: str
    scores: Scores | None = None
    filled: int = 0
    seconds: float = math.nan
    failure: str = ""
    note: str = ""

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
    rmse_ratio, crps_ratio : geometric mean of the ratios to the reference method, row by row, with a 95 %
        bootstrap interval that draws whole rasters. None where there is nothing to compare.
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
    """The scores of several methods on the same hidden pixels, and how these were hidden."""

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

    def overall(self) -> tuple[Overall, ...]:
        """Return every method over all rasters."""
        return tuple(self._overall(name) for name in self.methods)

    def to_markdown(self, each: bool = True) -> str:
        """Return the table over all rasters; with `each`, RMSE and CRPS on every one, failures and warnings too.

        A dash stands where a method has no variance, or failed; failures and warnings are listed below.
        """
        head = ["method", *_COLUMNS, "RMSE ratio", "CRPS ratio", "seconds", "pixels/s"]
        parts = [_table(head, [_line(entry) for entry in self.overall()])]
        for title in ("RMSE", "CRPS"):
            name = _COLUMNS[title]
            if each and len(self.places) > 1 and any(row.score(name) is not None for row in self.rows):
                parts.append(f"{title} on each:\n\n{self._by_place(name)}")
        if each:
            told = [(row, f"failed: {row.failure}" if row.failure else row.note) for row in self.rows]
            parts.append("\n".join(f"- {row.method} on {row.place}: {text}" for row, text in told if text))
        parts += [
            f"Context {self.context}, {self.holdout} hold-out, seed {self.seed}; ratios to {self.reference}."
        ]
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

    def _ratio(self, rows: Sequence[Row], name: str) -> Ratio | None:
        pairs = [(row.score(name), self._beside(row).score(name), row.raster) for row in rows]
        usable = [(a, b, raster) for a, b, raster in pairs if a is not None and b is not None]
        if usable:
            ours, reference, rasters = zip(*usable, strict=True)
            with suppress(InputError):  # no pair of positive scores
                return geometric_ratio(ours, reference, np.random.default_rng(self.seed), rasters)
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


def _line(entry: Overall) -> list[str]:
    scores = [_short(None if entry.scores is None else getattr(entry.scores, n)) for n in _COLUMNS.values()]
    ratios = [_interval(entry.rmse_ratio), _interval(entry.crps_ratio)]
    failed = f" (failed on {entry.failed} of {entry.rows})" if entry.failed else ""
    speed = _NONE if entry.scores is None else f"{entry.pixels_per_second:,.0f}"
    return [entry.method + failed, *scores, *ratios, _short(entry.seconds), speed]


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _short(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4g}"


def _interval(ratio: Ratio | None) -> str:
    if ratio is None:
        return _NONE
    known = math.isfinite(ratio.low)
    return f"{ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f})" if known else f"{ratio.value:.3f}"


def _quotient(ours: float | None, reference: float | None) -> float | None:
    return None if ours is None or not reference else ours / reference


def _finite(content: object) -> object:
    """Replace numbers that JSON does not know (NaN, infinities) by None, at any depth."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
