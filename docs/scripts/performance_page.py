"""Fill the tables of docs/performance.md, and draw its figures, from the record that stands beside it.

    geonp benchmark speed --budget 11.5m --output speed
    cp speed/speed.json docs/benchmarks/
    python docs/scripts/performance_page.py

The page's own words stay as they are; what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` is made anew.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from matplotlib import rc_context

from geonp.benchmarks.result import Cell, Column, Table
from geonp.benchmarks.speed.growth import slope
from geonp.benchmarks.speed.pictures import pictures
from geonp.benchmarks.speed.record import Axis, Outcome, Point, Record
from geonp.benchmarks.speed.tell import PROBABILISTIC, ahead, grouped, tables

DOCS = Path(__file__).resolve().parents[1]
PAGE, RECORD, IMAGES = DOCS / "performance.md", DOCS / "benchmarks" / "speed.json", DOCS / "images"

SLOPES = (0.95, 1.05)
RATES = {"bundled": 100_000, "kriging": 300_000}
MEMORY = 2e9
YES, NO, UNKNOWN = "yes", "no", "not told by this run"


def main() -> None:
    """Renew the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, default=RECORD)
    record = Record.read(parser.parse_args().record)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "geonp"}):
        for picture in pictures(record):
            path = IMAGES / f"performance_{picture.name}.svg"
            picture.figure.savefig(path, metadata={"Date": None})


def filled(page: str, record: Record) -> str:
    """Return the page with every marked part made anew."""
    for name, text in parts(record).items():
        marked = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not marked.search(page):
            raise SystemExit(f"{PAGE}: has no part that begins with <!-- begin {name} -->")
        page = marked.sub(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)
    return page


def parts(record: Record) -> dict[str, str]:
    """Return the Markdown of every part of the page that the record tells."""
    known = dict(record.machine)
    versions = ", ".join(f"{name} {version}" for name, version in record.machine if name not in _ABOUT)
    about = [
        f"Made {record.made} in {record.took / 60:.1f} minutes on {known.get('processor', 'an unknown processor')}, "
        f"{known.get('cores', '?')} cores, {known.get('memory', '?')}, {known.get('device', '?')}; "
        f"a load of {known.get('load', 'unknown')}.",
        f"{versions}.",
    ]
    return {
        "run": "\n".join(about),
        "tables": "\n\n".join(table.to_markdown() for table in tables(record)),
        "others": "\n".join(f"- {name}: {grouped(ahead(record, name))}." for name in _deterministic(record)),
        "bars": bars(record).to_markdown().partition("\n\n")[2],
    }


_ABOUT = ("machine", "device", "processor", "cores", "memory", "load")


def _deterministic(record: Record) -> list[str]:
    """Return the methods of geonp that give no variance."""
    ours = dict.fromkeys(p.method for p in record.of(Axis.PIXELS) if not p.peer)
    return [name for name in ours if name not in PROBABILISTIC]


def bars(record: Record) -> Table:
    """Return what was wanted, what was measured, and whether it holds."""
    rows: list[tuple[Cell, ...]] = []
    for name in PROBABILISTIC:
        done = [p for p in record.of(Axis.PIXELS, name) if p.outcome is Outcome.DONE and p.seconds]
        rows += [_slope(name, done), _rate(name, done), _memory(name, done), _peers(record, name, done)]
    columns = (
        Column("what", "what"),
        Column("bar", "wanted"),
        Column("found", "found"),
        Column("holds", "holds"),
    )
    return Table("Wanted and found", columns, tuple(rows))


def _slope(name: str, done: list[Point]) -> tuple[Cell, ...]:
    every, end = (slope(done, last_decade=d) for d in (False, True))
    what, wanted = f"{name}: slope of time against pixels, last decade", f"{SLOPES[0]}-{SLOPES[1]}"
    if every is None or end is None:
        return what, wanted, "one size alone", UNKNOWN
    told = f"{end.value:.2f} ({end.first:,} to {end.last:,}); {every.value:.2f} from {every.first:,}"
    return what, wanted, told, YES if SLOPES[0] <= end.value <= SLOPES[1] else NO


def _rate(name: str, done: list[Point]) -> tuple[Cell, ...]:
    what, wanted = f"{name}: pixels/s, from file to file", f">= {RATES[name]:,}"
    if not done:
        return what, wanted, "no time", UNKNOWN
    found = done[-1].pixels / (done[-1].seconds or 1)
    return what, wanted, f"{found:,.0f} at {done[-1].pixels:,}", YES if found >= RATES[name] else NO


def _memory(name: str, done: list[Point]) -> tuple[Cell, ...]:
    what, wanted = f"{name}: peak memory at 10,000 x 10,000", f"< {MEMORY / 1e9:g} GB"
    known = [p for p in done if p.peak]
    if not known:
        return what, wanted, "not told", UNKNOWN
    last, most = known[-1], known[-1].peak or 0
    holds = YES if most < MEMORY else NO
    return what, wanted, f"{most / 1e9:.2f} GB at {last.pixels:,}", holds if last.pixels == 10**8 else UNKNOWN


def _peers(record: Record, name: str, done: list[Point]) -> tuple[Cell, ...]:
    found = grouped(ahead(record, name))
    what = f"{name}: peers faster at an equal or better CRPS"
    return what, "none", found, UNKNOWN if not done else YES if found == "none" else NO


if __name__ == "__main__":
    main()
