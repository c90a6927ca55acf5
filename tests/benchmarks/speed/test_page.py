"""The page about performance says what its record says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from geonp.benchmarks.speed.record import Record
from tests.benchmarks.speed.made import point, record, reference

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def page() -> ModuleType:
    path = ROOT / "docs" / "scripts" / "performance_page.py"
    found = importlib.util.spec_from_file_location("performance_page", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_is_the_one_that_its_record_makes(page: ModuleType) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, Record.read(page.RECORD)) == text, "run python docs/scripts/performance_page.py"


def test_its_figures_are_there_and_small(page: ModuleType) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for name in ("pixels", "error", "growth"):
        assert f"images/performance_{name}.svg" in text
        assert 2000 < (page.IMAGES / f"performance_{name}.svg").stat().st_size < 200_000
    assert page.RECORD.stat().st_size < 150_000


def test_a_bar_holds_or_not_or_is_not_told(page: ModuleType) -> None:
    made = record(
        [
            *(point("bundled", n, n / 120_000, crps=1.0, peak=10**9) for n in (10**6, 10**7, 10**8)),
            *(point("kriging", n, n**1.2 / 1e6, crps=2.0, peak=10**9) for n in (10**5, 10**6)),
            reference(10**6, 1.0),
        ]
    )
    rows = [row[2:] for row in page.bars(made).rows]
    assert [row[1] for row in rows] == ["yes", "yes", "yes", "yes", "no", "no", page.UNKNOWN, "yes"]
    assert rows[0][0] == "1.00 (10,000,000 to 100,000,000); 1.00 from 1,000,000"
    assert rows[1][0] == "120,000 at 100,000,000"
    nothing = page.bars(record([point("kriging", 10**5, None)]))
    assert {row[3] for row in nothing.rows} == {page.UNKNOWN}


def test_a_page_without_its_marks_is_refused(page: ModuleType) -> None:
    with pytest.raises(SystemExit, match="begin run"):
        page.filled("no marks", record([point("kriging", 10**5, 1.0)]))
