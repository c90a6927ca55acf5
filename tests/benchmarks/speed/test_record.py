"""Records are kept and read, slopes are those of the points, and tables and findings say what is in them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geonp.benchmarks.speed.growth import slope
from geonp.benchmarks.speed.record import Axis, Outcome, Record
from geonp.benchmarks.speed.tell import ahead, beside, findings, grouped, result, tables
from geonp.errors import InputError
from tests.benchmarks.speed.made import point, record, reference


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    made = record(
        [
            point(
                "kriging",
                10_000,
                1.5,
                rmse=2.25,
                crps=1.125,
                mae=1.5,
                coverage90=0.9,
                scored=8750,
                unfilled=0.0,
            ),
            point("kriging", 10**6, None, limit=12.5),
            point("GSTools", 10_000, None, peer=True, outcome=Outcome.FAILED, note="out of memory", peak=3),
            point("PyKrige", 10_000, None, peer=True, outcome=Outcome.ABSENT, axis=Axis.BANDS),
        ]
    )
    path = tmp_path / "speed.json"
    path.write_text(made.to_json())
    assert Record.read(path) == made
    lines = path.read_text().splitlines()
    assert sum('"method"' in line for line in lines) == len(made.points)  # a changed point is a changed line


def test_numbers_are_kept_to_four_digits_and_never_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text(record([point("kriging", 10_000, 1.23456789, rmse=math.nan)]).to_json())
    (back,) = Record.read(path).points
    assert back.seconds == 1.235
    assert back.rmse is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "cannot be read"),
        ("[]", "no record of speed"),
        ('{"benchmark": "table1"}', "geonp benchmark speed"),
        ('{"benchmark": "speed", "format": 2}', "format 1"),
        ('{"benchmark": "speed", "format": 1}', "damaged"),
        (
            '{"benchmark": "speed", "format": 1, "made": "", "budget": 1, "took": 1, "machine": {}, '
            '"points": [{"axis": "pixels", "outcome": "done", "colour": 1}]}',
            "colour",
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        Record.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        Record.read(tmp_path / "missing.json")


def test_a_slope_is_that_of_the_power() -> None:
    points = [point("kriging", n, 3e-6 * n**1.25) for n in (10**4, 10**5, 10**6)]
    found = slope(points)
    assert found is not None
    assert found.value == pytest.approx(1.25)
    assert (found.points, found.first, found.last) == (3, 10**4, 10**6)


def test_a_slope_is_least_squares_and_leaves_out_what_has_no_time() -> None:
    rng = np.random.default_rng(0)
    sizes = [10**4, 30_000, 10**5, 10**6]
    seconds = [float(v) for v in np.exp(rng.normal(0, 1, 4))]
    points = [point("kriging", n, s) for n, s in zip(sizes, seconds, strict=True)]
    found = slope([*points, point("kriging", 10**7, None)])
    assert found is not None
    assert found.value == pytest.approx(np.polyfit(np.log10(sizes), np.log10(seconds), 1)[0])
    assert slope(points[:1]) is None
    assert slope([]) is None


def test_the_last_decade_knows_nothing_of_what_every_run_pays() -> None:
    points = [point("kriging", n, 2.0 + 1e-5 * n) for n in (99_856, 10**6, 9_998_244)]
    every, end = slope(points), slope(points, last_decade=True)
    assert every is not None
    assert end is not None
    assert every.value < 0.9 < end.value < 1
    assert end.first == 10**6


def made_up() -> Record:
    done = {"mae": 3.0, "rmse": 4.0, "unfilled": 0.0, "scored": 1}
    return record(
        [
            point("kriging", 10_000, 1.0, crps=2.0, coverage90=0.9, **done),
            point("kriging", 100_000, 10.0, crps=2.0, coverage90=0.9, **done),
            point("nearest", 10_000, 0.2, crps=3.0, **done),
            reference(10_000, 0.5),
            replace(reference(10_000, 0.1), method="PyKrige", crps=2.001),
            replace(reference(10_000, 0.15), method="rasterio fillnodata", crps=2.9),
            replace(reference(100_000, 20.0), method="PyKrige", crps=1.0),
            replace(reference(100_000, None), method="rasterio fillnodata"),
            replace(reference(10_000, None), method="GSTools", outcome=Outcome.FAILED, note="out of memory"),
            point("nearest", 500, 0.1, axis=Axis.OBSERVATIONS, observations=100),
        ]
    )


def test_a_peer_is_ahead_where_it_is_faster_at_an_equal_or_better_crps() -> None:
    # PyKrige: 0.05 % worse counts as equal; at 100,000 it is better but slower. fillnodata is not as good.
    assert ahead(made_up(), "kriging") == (("PyKrige", 10_000),)
    assert ahead(made_up(), "nearest") == (("PyKrige", 10_000), ("rasterio fillnodata", 10_000))
    lines = findings(made_up())
    assert "kriging: 10,000 pixels/s at 100,000 pixels" in lines[0]
    assert "slope of time against pixels 1.00" in lines[0]
    assert "Peers faster than kriging at an equal or better CRPS: PyKrige (at 10,000 pixels)." in lines


def test_peers_are_told_once_each() -> None:
    found = [("A", 1000), ("B", 1000), ("A", 10_000), ("A", 100_000), ("B", 10_000)]
    assert grouped(found) == "A (at 1,000 to 100,000 pixels); B (at 1,000 and 10,000 pixels)"
    assert grouped([]) == "none"


def test_tables_say_why_there_is_no_number() -> None:
    seconds, observations, memory, *_ = tables(made_up())
    rows = {row[0]: row[1:] for row in seconds.rows}
    assert rows["geonp kriging"][:2] == (1.0, 10.0)
    assert rows["geonp kriging"][2] == pytest.approx(1.0)
    assert rows["GSTools"][:3] == ("out of memory", None, None)
    assert rows["rasterio fillnodata"][:2] == (0.15, "stopped")
    assert [c.heading for c in observations.columns[:2]] == ["method", "100"]
    assert dict(zip([c.name for c in memory.columns], memory.rows[0], strict=True))["at_10000"] == 1024


def test_time_stands_beside_error_the_best_first() -> None:
    table = beside(made_up(), 10_000)
    assert [row[0] for row in table.rows] == [
        "geonp kriging",
        "PyKrige",
        "rasterio fillnodata",
        "geonp nearest",
        "SciPy griddata, cubic",
    ]
    row = dict(zip([c.name for c in table.columns], table.rows[0], strict=True))
    assert row["rate"] == 10_000
    assert row["crps"] == 2.0


def test_the_page_has_everything() -> None:
    found = result(made_up())
    page = found.to_markdown()
    for text in (
        "made up",
        "| out of memory |",
        "CRPS of a method without a variance is its MAE",
        "speed_pixels.png",
    ):
        assert text in page
    assert [p.name for p in found.pictures] == ["pixels", "error"]
