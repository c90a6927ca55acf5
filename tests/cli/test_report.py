"""`geonp report` as typed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.cli.conftest import Geonp, write


@pytest.fixture
def small(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """A survey of 24 x 30 pixels, one in four observed."""
    values = jacksboro[100:124, 120:150].astype("f4")
    values[np.random.default_rng(0).random(values.shape) > 0.25] = np.nan
    return write(tmp_path / "survey.tif", values, nodata=np.nan)


def test_one_command_makes_one_page(geonp: Geonp, small: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = geonp("report", small, "--methods", "kriging,nearest", "-o", page)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert "open it in a browser" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert "survey.tif" in text
    assert "Q-Q plot" in text
    again = geonp("report", small, "--methods", "nearest", "-o", page)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert page.read_text(encoding="utf-8") == text
    assert geonp("report", small, "--methods", "nearest", "-o", page, "--overwrite", "-q").stderr == ""


def test_provenance_has_the_hashes_of_the_files(geonp: Geonp, small: Path, dem: Path, tmp_path: Path) -> None:
    import hashlib

    truth = tmp_path / "truth.tif"
    with rasterio.open(dem) as file:
        write(truth, file.read(1)[:24, :30].astype("f4"))
    page = tmp_path / "report.html"
    done = geonp("report", small, "--truth", truth, "--methods", "nearest", "--seed", 7, "-o", page, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["evaluation"]["holdout"] == "truth"
    assert told["bytes"] == page.stat().st_size
    text = page.read_text(encoding="utf-8")
    for path in (small, truth):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--methods", "krigging"], 2, "kriging"),
        (["--methods", ","], 2, "a method at least"),
        (["--truth", "nowhere.tif"], 1, "nowhere.tif"),
        (["-o", "report.pdf"], 2, ".html"),
        (["-o", "survey.tif"], 2, ".html"),
        (["-o", "no/such/folder/report.html"], 1, "mkdir"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    geonp: Geonp, small: Path, arguments: list[str], code: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.parent)
    before = sorted(small.parent.iterdir())
    done = geonp("report", small, "-o", "report.html", *arguments)
    assert done.exit_code == code, done.stderr
    assert says in done.stderr
    assert sorted(small.parent.iterdir()) == before


def test_a_truth_on_another_grid_says_how_to_bring_it_there(
    geonp: Geonp, small: Path, tmp_path: Path
) -> None:
    shifted = write(tmp_path / "truth.tif", np.ones((24, 30), "f4"), crs="EPSG:32617")
    done = geonp("report", small, "--truth", shifted, "--methods", "nearest", "-o", tmp_path / "r.html")
    assert done.exit_code == 1
    assert "rio warp" in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_several_bands_and_nothing_observed(geonp: Geonp, tmp_path: Path) -> None:
    two = write(tmp_path / "two.tif", np.ones((2, 8, 8), "f4"))
    page = tmp_path / "report.html"
    done = geonp("report", two, "--methods", "nearest", "-o", page)
    assert done.exit_code == 2
    assert "--band 1" in done.stderr
    assert geonp("report", two, "--methods", "nearest", "-o", page, "--band", 1, "-q").exit_code == 0
    empty = write(tmp_path / "empty.tif", np.full((8, 8), -1, "i2"), nodata=-1)
    done = geonp("report", empty, "-o", tmp_path / "other.html")
    assert done.exit_code == 1
    assert "nothing to report on" in done.stderr


def test_strange_file_names_are_escaped(geonp: Geonp, small: Path, tmp_path: Path) -> None:
    strange = tmp_path / "a<img src=x>&'b.tif"
    shutil.copy(small, strange)
    page = tmp_path / "report.html"
    assert geonp("report", strange, "--methods", "nearest", "-o", page, "-q").exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert "<img src=x>" not in text
    assert "a&lt;img src=x&gt;&amp;&#39;b.tif" in text


def test_covariates_and_errors(geonp: Geonp, small: Path, dem: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    known = ("--covariate", dem, "--covariate-policy", "always", "--error", "2")
    done = geonp("report", small, *known, "--methods", "kriging,nearest", "-o", page, "--json")
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)["evaluation"]["rows"]
    assert [row["method"] for row in rows] == [
        "kriging + covariates + errors",
        "kriging + covariates",
        "kriging",
        "nearest + covariates",
        "nearest",
    ]
    assert str(dem) in page.read_text(encoding="utf-8")
    refused = geonp("report", small, "--error", "2", "--methods", "nearest", "-o", page, "--overwrite")
    assert refused.exit_code == 2
    assert "add kriging or bundled" in refused.stderr
