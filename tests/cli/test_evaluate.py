"""`geonp evaluate` as it is typed: truths, hold-outs, what is printed, and what is refused."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp

from .conftest import Geonp, write

FAST = ("--methods", "linear,nearest", "-q")


def scores(stdout: str) -> dict[str, dict[str, float]]:
    return {row["method"]: row["scores"] for row in json.loads(stdout)["overall"]}


def test_a_truth_is_compared_in_the_gaps(geonp: Geonp, holey: Path, dem: Path, tmp_path: Path) -> None:
    """Against the files themselves: predicted by `predict`, subtracted by hand."""
    result = geonp("evaluate", holey, "--truth", dem, *FAST, "--json")
    assert result.exit_code == 0, result.stderr
    filled = tmp_path / "filled.tif"
    assert geonp("predict", holey, "--mean", filled, "--method", "linear").exit_code == 0
    with rasterio.open(holey) as a, rasterio.open(dem) as b, rasterio.open(filled) as c:
        hidden = a.read(1) == -32768
        error = c.read(1)[hidden].astype("f8") - b.read(1)[hidden]
    found = scores(result.stdout)["linear"]
    assert found["count"] == hidden.sum()
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert json.loads(result.stdout)["holdout"] == "truth"


def test_truths_of_a_folder_are_found_by_name(geonp: Geonp, holey: Path, dem: Path, tmp_path: Path) -> None:
    surveys, truths = tmp_path / "surveys", tmp_path / "truths"
    surveys.mkdir()
    truths.mkdir()
    for name in ("a", "b"):
        rasterio.shutil.copy(holey, surveys / f"{name}.tif", driver="GTiff")
        rasterio.shutil.copy(dem, truths / f"{name}.tif", driver="GTiff")
    result = geonp("evaluate", surveys, "--truth", truths, *FAST, "--csv")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(r["raster"], r["method"]) for r in rows] == [
        ("a", "linear"), ("a", "nearest"), ("b", "linear"), ("b", "nearest"),
    ]  # fmt: skip
    (truths / "b.tif").unlink()
    lacking = geonp("evaluate", surveys, "--truth", truths, *FAST)
    assert (lacking.exit_code, lacking.stdout) == (2, "")
    assert "holds no truth called b" in lacking.stderr
    assert "1 truth(s) for 2 raster(s)" in geonp("evaluate", surveys, "--truth", dem, *FAST).stderr


def test_a_truth_in_another_crs_is_refused_and_the_command_named_helps(
    geonp: Geonp, holey: Path, dem: Path, tmp_path: Path
) -> None:
    with rasterio.open(dem) as file:
        transform, width, height = rasterio.warp.calculate_default_transform(
            file.crs, "EPSG:4326", file.width, file.height, *file.bounds
        )
        out = np.full((height, width), -32768, "i2")
        rasterio.warp.reproject(
            file.read(1), out, src_transform=file.transform, src_crs=file.crs, dst_transform=transform,
            dst_crs="EPSG:4326", dst_nodata=-32768, init_dest_nodata=True,
        )  # fmt: skip
    truth = write(tmp_path / "truth.tif", out, nodata=-32768, crs="EPSG:4326", transform=transform)
    refused = geonp("evaluate", holey, "--truth", truth, *FAST)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "EPSG:4326" in refused.stderr
    assert "EPSG:32616" in refused.stderr
    assert "rio warp truth.tif aligned.tif --like survey.tif" in refused.stderr
    from click.testing import CliRunner
    from rasterio.rio.main import main_group

    aligned = tmp_path / "aligned.tif"
    warp = ["warp", str(truth), str(aligned), "--like", str(holey), "--resampling", "bilinear"]
    assert CliRunner().invoke(main_group, warp).exit_code == 0
    assert geonp("evaluate", holey, "--truth", aligned, *FAST).exit_code == 0


def test_a_truth_of_a_larger_area_is_moved_with_a_note(
    geonp: Geonp, dem: Path, jacksboro: np.ndarray, tmp_path: Path
) -> None:
    around = jacksboro[90:174, 110:186].astype("i2")
    transform = rasterio.transform.from_origin(500_000 - 300, 4_000_000 + 300, 30, 30)
    truth = write(tmp_path / "around.tif", around, nodata=-32768, transform=transform)
    values = around[10:74, 10:66].copy()
    values[::2] = -32768
    survey = write(tmp_path / "part.tif", values, nodata=-32768)
    result = geonp("evaluate", survey, "--truth", truth, "--methods", "nearest", "--json")
    assert result.exit_code == 0, result.stderr
    assert "note: the truth (84 x 76) covers another area than the survey (64 x 56)" in result.stderr
    same = geonp("evaluate", survey, "--truth", dem, "--methods", "nearest", "--json", "-q")
    assert scores(result.stdout) == scores(same.stdout)


def test_leave_one_out_and_ratios_to_a_method_of_ones_choice(geonp: Geonp, holey: Path) -> None:
    result = geonp(
        "evaluate",
        holey,
        "--holdout",
        "leave-one-out",
        "--methods",
        "idw,nearest",
        "--relative-to",
        "nearest",
        "-q",
    )
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    idw = [cell.strip() for cell in lines[2].strip("|").split("|")]
    ratio = idw[[cell.strip() for cell in lines[0].strip("|").split("|")].index("RMSE ratio")]
    value, low, high = (
        float(part) for part in ratio.replace("(", "").replace(")", "").replace("-", " ").split()
    )
    assert low <= value <= high < 1
    assert "ratios to nearest with 95 % intervals" in result.stdout


def test_columns_are_chosen_by_name(geonp: Geonp, dem: Path) -> None:
    result = geonp("evaluate", dem, *FAST, "--scores", "psnr,ssim", "--data-range", "1000")
    assert result.stdout.startswith("| method | PSNR (dB) | SSIM | RMSE ratio |")
    wrong = geonp("evaluate", dem, *FAST, "--scores", "pnsr")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "no score 'pnsr'" in wrong.stderr


def test_a_method_without_a_variance_has_dashes_and_nulls(geonp: Geonp, dem: Path) -> None:
    table = geonp("evaluate", dem, *FAST).stdout
    assert "| linear |" in table
    assert table.splitlines()[2].count("–") == 8
    found = scores(geonp("evaluate", dem, *FAST, "--json").stdout)["linear"]
    assert found["crps"] is None
    assert found["psnr"] > 0
    assert json.loads(geonp("evaluate", dem, *FAST, "--json").stdout)["overall"][0]["crps_ratio"] is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.full((1, 1), 7, "i2"), "a single pixel is observed"),
        (np.full((1, 1), -1, "i2"), "none of 1 pixels is observed"),
        (np.full((9, 9), -1, "i2"), "none of 81 pixels is observed"),
    ],
    ids=["one pixel", "one empty pixel", "nothing observed"],
)
def test_nothing_to_score_is_an_error_after_the_table(
    geonp: Geonp, tmp_path: Path, values: np.ndarray, told: str
) -> None:
    survey = write(tmp_path / "survey.tif", values, nodata=-1)
    result = geonp("evaluate", survey, *FAST, "--json")
    assert result.exit_code == 1
    assert f"nothing could be scored: {told}" in result.stderr
    assert json.loads(result.stdout)["rows"][0]["failure"].startswith(told)


def test_a_truth_that_hides_nothing_says_what_to_do(geonp: Geonp, dem: Path) -> None:
    result = geonp("evaluate", dem, "--truth", dem, *FAST)
    assert result.exit_code == 1
    assert "no pixel is hidden" in result.stderr
    assert "leave out the truth (--truth)" in result.stderr


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--csv", "--json"), "choose one"),
        (("--context", "0.5", "--holdout", "leave-one-out"), "leave out the context"),
        (("--relative-to", "kriging"), "not among the methods: linear, nearest"),
        (("--side", "0"), "--side"),
        (("--holdout", "squares"), "leave-one-out"),
        (("--data-range", "-1"), "data range of -1"),
    ],
)
def test_calls_that_contradict_themselves(geonp: Geonp, dem: Path, more: tuple[str, ...], told: str) -> None:
    result = geonp("evaluate", dem, *FAST, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_rasters_of_one_name_in_two_folders_stay_apart(geonp: Geonp, dem: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    rasterio.shutil.copy(dem, other / dem.name, driver="GTiff")
    result = geonp("evaluate", dem, other / dem.name, *FAST, "--csv")
    rasters = {row["raster"] for row in csv.DictReader(io.StringIO(result.stdout))}
    assert rasters == {str(dem), str(other / dem.name)}


def test_the_same_seed_gives_the_same_table(geonp: Geonp, dem: Path) -> None:
    def table(seed: int) -> object:
        content = json.loads(geonp("evaluate", dem, *FAST, "--json", "--seed", seed).stdout)
        return [(row["method"], row["rmse"], row["rmse_ratio"]) for row in content["rows"]]

    assert table(1) == table(1) != table(2)
