"""Tables as Markdown and JSON."""

import json
import math
from dataclasses import replace
from statistics import mean, stdev

import pytest

from geonp.benchmarks.result import Column, Result, Spread, Table

TABLE = Table(
    "a title",
    (Column("model", "model"), Column("psnr", "PSNR", 2), Column("count", "count")),
    (
        ("one | two", Spread.of([1.0, 2.0, 4.0]), 12345),
        ("alone", Spread.of([3.14159]), None),
        ("infinite", math.inf, 0.00012345),
    ),
)
RESULT = Result(
    "table1", "cpu", ("set: made",), (0, 1), (("steps", "5"),), ("a difference",), ("it holds",), (TABLE,)
)


def test_spread() -> None:
    found = Spread.of([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(mean([1, 2, 4]))
    assert found.deviation == pytest.approx(stdev([1, 2, 4]))
    assert Spread.of([5.0]).deviation is None


def test_markdown() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "### a title"
    assert lines[2:] == [
        "| model | PSNR | count |",
        "| --- | ---: | ---: |",
        "| one / two | 2.33 ± 1.53 | 12,345 |",
        "| alone | 3.14 | – |",
        "| infinite | – | 0.0001234 |",
    ]


def test_json_has_the_same_rows_and_no_infinities() -> None:
    content = json.loads(RESULT.to_json())
    rows = content["tables"][0]["rows"]
    assert rows[0]["psnr"] == {
        "mean": pytest.approx(7 / 3),
        "deviation": pytest.approx(stdev([1, 2, 4])),
        "count": 3,
    }
    assert rows[2] == {"model": "infinite", "psnr": None, "count": 0.00012345}
    assert content["seeds"] == [0, 1]
    assert content["machine"]["torch"]


def test_a_page_says_how_it_was_come_by() -> None:
    page = RESULT.to_markdown()
    for text in (
        "budget cpu",
        "set: made",
        "it holds",
        "steps: 5",
        "seeds: 0, 1",
        "a difference",
    ):
        assert text in page
    assert "Short version" not in page
    assert "Short version" in replace(RESULT, short=True).to_markdown()
