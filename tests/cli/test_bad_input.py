"""Every row of the bad-input table, through the command line: clear words, an exit code, nothing written."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from .conftest import Geonp, write


def outputs(folder: Path) -> tuple[Path, Path]:
    return folder / "mean.tif", folder / "var.tif"


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(masked=True).astype("f8").filled(np.nan)


def leftovers(folder: Path) -> list[str]:
    return sorted(
        p.name for p in folder.iterdir() if p.name.startswith(".") or p.name in ("mean.tif", "var.tif")
    )


def sparse(known: list[float]) -> np.ndarray:
    values = np.full((20, 20), -9999, "f4")
    values.flat[: 20 * len(known) : 20] = known
    return values


def test_no_observed_pixel_is_an_error(geonp: Geonp, tmp_path: Path) -> None:
    survey = write(tmp_path / "empty.tif", sparse([]), nodata=-9999)
    result = geonp("predict", survey, "-o", *outputs(tmp_path))
    assert result.exit_code == 1
    assert "no pixel of 400 is observed" in result.stderr
    assert "--nodata" in result.stderr
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(("known", "mean", "variance"), [([7.0], 7, 49), ([7.0, 9.0], 8, 2)])
def test_one_or_two_observations_give_a_constant(
    geonp: Geonp, tmp_path: Path, known: list[float], mean: float, variance: float
) -> None:
    survey = write(tmp_path / "few.tif", sparse(known), nodata=-9999)
    result = geonp("predict", survey, "-o", *outputs(tmp_path))
    assert result.exit_code == 0
    assert "too few to learn from" in result.stderr
    assert read(tmp_path / "mean.tif")[0, 10, 10] == mean
    assert read(tmp_path / "var.tif")[0, 10, 10] == variance


def test_every_pixel_observed_gives_the_raster_back(geonp: Geonp, tmp_path: Path, dem: Path) -> None:
    result = geonp("predict", dem, "-o", *outputs(tmp_path))
    assert result.exit_code == 0
    assert "every pixel is observed" in result.stderr
    np.testing.assert_array_equal(read(tmp_path / "mean.tif"), read(dem))
    assert (read(tmp_path / "var.tif") == 0).all()


@pytest.mark.parametrize("method", ["auto", "pykrige"])
def test_equal_values_give_that_value(geonp: Geonp, tmp_path: Path, method: str) -> None:
    survey = write(tmp_path / "flat.tif", sparse([5.0] * 20), nodata=-9999)
    result = geonp("predict", survey, "-o", *outputs(tmp_path), "--method", method)
    assert result.exit_code == 0
    assert (read(tmp_path / "mean.tif") == 5).all()
    assert (read(tmp_path / "var.tif") == 0).all()


def test_infinities_are_counted_and_reported(geonp: Geonp, tmp_path: Path) -> None:
    values = sparse(list(range(20)))
    values[0, 1:4] = np.inf
    survey = write(tmp_path / "inf.tif", values, nodata=-9999)
    result = geonp("predict", survey, "--mean", tmp_path / "mean.tif", "--method", "nearest")
    assert result.exit_code == 0
    assert "3 infinite values" in result.stderr
    assert np.isfinite(read(tmp_path / "mean.tif")).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0),
        ("uint16", 65535),
        ("int16", -32768),
        ("int32", -1),
        ("float32", -9999),
        ("float64", np.nan),
    ],
)
def test_nodata_of_every_dtype_is_not_observed(
    geonp: Geonp, tmp_path: Path, dtype: str, nodata: float
) -> None:
    values = np.full((12, 12), 50, dtype)
    values[::3] = 80
    values[1::3] = nodata
    survey = write(tmp_path / "survey.tif", values, nodata=nodata)
    shown = json.loads(geonp("info", survey, "--json").stdout)
    assert shown["observed_fraction"] == [pytest.approx(2 / 3, abs=1e-6)]
    assert (shown["minimum"], shown["maximum"]) == ([50], [80])


def test_a_mask_band_is_not_observed(geonp: Geonp, tmp_path: Path) -> None:
    survey = write(tmp_path / "masked.tif", np.arange(100, dtype="u1").reshape(10, 10))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(survey, "r+") as file:
        file.write_mask(np.arange(100).reshape(10, 10) % 2 == 0)
    assert json.loads(geonp("info", survey, "--json").stdout)["observed_fraction"] == [0.5]


def test_alpha_zero_is_not_observed(geonp: Geonp, tmp_path: Path) -> None:
    values = np.stack([np.full((10, 10), 9, "u1"), np.repeat([0, 255], 50).reshape(10, 10).astype("u1")])
    survey = write(tmp_path / "alpha.tif", values, photometric="MINISBLACK", alpha="YES")
    shown = json.loads(geonp("info", survey, "--json").stdout)
    assert shown["observed_fraction"] == [0.5]


def test_duplicate_points_are_averaged_and_counted(geonp: Geonp, tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x,y,value,error\n15,15,10,1\n15,15,20,3\n105,15,3,1\n15,105,4,1\n")
    result = geonp(
        "predict",
        points,
        "--res",
        30,
        "--crs",
        "EPSG:32616",
        "--mean",
        tmp_path / "mean.tif",
        "--method",
        "nearest",
    )
    assert result.exit_code == 0
    assert (
        "duplicate" in result.stderr or "more than one" in result.stderr or "share a pixel" in result.stderr
    )
    assert np.isclose(read(tmp_path / "mean.tif"), 11).any()  # (10 / 1 + 20 / 9) / (1 / 1 + 1 / 9)


def test_a_missing_file_is_named(geonp: Geonp, tmp_path: Path) -> None:
    result = geonp("predict", tmp_path / "nope.tif", "-o", *outputs(tmp_path))
    assert result.exit_code == 1
    assert "nope.tif" in result.stderr


@pytest.mark.parametrize("content", [b"", b"no raster at all", b"II*\x00\x08\x00\x00\x00garbage"])
def test_a_file_of_another_kind_is_named(geonp: Geonp, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.tif").write_bytes(content)
    result = geonp("predict", tmp_path / "odd.tif", "-o", *outputs(tmp_path))
    assert result.exit_code == 1
    assert "odd.tif" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert leftovers(tmp_path) == []


def test_a_truncated_file_is_named_and_nothing_is_written(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    content = holey.read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: len(content) // 2])
    result = geonp("predict", tmp_path / "cut.tif", "-o", *outputs(tmp_path), "--method", "pykrige")
    assert result.exit_code == 1
    assert "cut.tif" in result.stderr
    assert leftovers(tmp_path) == []


def test_a_folder_is_no_survey(geonp: Geonp, tmp_path: Path) -> None:
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    result = geonp("predict", folder, "-o", *outputs(tmp_path))
    assert result.exit_code == 1
    assert "folder" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    holey.chmod(0)
    result = geonp("predict", holey, "-o", *outputs(tmp_path))
    assert result.exit_code == 1
    assert str(holey) in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named_before_any_work(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    result = geonp("predict", holey, "-o", *outputs(closed))
    assert result.exit_code == 1
    assert "closed" in result.stderr


def test_a_missing_output_folder_is_named_before_any_work(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    result = geonp("predict", holey, "-o", *outputs(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert "there is no folder" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing(
    geonp: Geonp, tmp_path: Path, holey: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    make = tempfile.mkdtemp

    def full(*args: object, **kwargs: object) -> str:
        folder = make(*args, **kwargs)  # type: ignore[arg-type]
        for name in ("mean.tif", "var.tif"):
            os.symlink("/dev/full", Path(folder) / name)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    result = geonp("predict", holey, "-o", *outputs(tmp_path), "--method", "pykrige")
    assert result.exit_code == 1
    assert "geonp: " in result.stderr
    assert leftovers(tmp_path) == []


def test_outputs_that_exist_are_refused(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    mean, var = outputs(tmp_path)
    mean.write_text("precious")
    result = geonp("predict", holey, "-o", mean, var)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert mean.read_text() == "precious"
    assert not var.exists()
    assert geonp("predict", holey, "-o", mean, var, "--overwrite", "--method", "pykrige").exit_code == 0
    assert read(mean).shape == (1, 64, 56)


def test_an_output_is_never_the_input(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    before = holey.read_bytes()
    result = geonp("predict", holey, "-o", holey, tmp_path / "var.tif", "--overwrite")
    assert result.exit_code == 2
    assert holey.read_bytes() == before


@pytest.mark.parametrize("text", ["0", "-0.5", "1.5", "a", "0.3:0.02", "", "0.1:2"])
def test_context_in_another_form_is_refused_with_the_three(geonp: Geonp, dem: Path, text: str) -> None:
    result = geonp("evaluate", dem, "--context", text, "--methods", "nearest")
    assert result.exit_code == 2
    for form in ("0.125", "integer >= 1", "0.02:0.3"):
        assert form in result.stderr


def test_the_variance_of_a_method_without_one_is_refused(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    result = geonp("predict", holey, "-o", *outputs(tmp_path), "--method", "cubic")
    assert result.exit_code == 1
    assert "pykrige" in result.stderr
    assert leftovers(tmp_path) == []


def test_an_unknown_method_names_close_ones(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    result = geonp("predict", holey, "-o", *outputs(tmp_path), "--method", "krigging")
    assert result.exit_code == 2
    assert "did you mean kriging" in result.stderr


def test_an_unknown_command_names_all(geonp: Geonp) -> None:
    result = geonp("prdict")
    assert result.exit_code == 2
    assert "predict" in result.stderr


def test_without_an_output_nothing_is_done(geonp: Geonp, holey: Path) -> None:
    result = geonp("predict", holey)
    assert result.exit_code == 2
    assert "-o MEAN VAR" in result.stderr


@pytest.mark.parametrize(
    "content", [b"", b"no tensors", b"\x80\x04\x95 a pickle", (1 << 60).to_bytes(8, "little")]
)
def test_a_model_that_is_not_ours_is_refused(
    geonp: Geonp, tmp_path: Path, holey: Path, content: bytes
) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(content)
    result = geonp("predict", holey, "-o", *outputs(tmp_path), "--model", model)
    assert result.exit_code == 1
    assert "model.safetensors" in result.stderr
    assert leftovers(tmp_path) == []


def test_points_without_a_grid_say_how_to_give_one(geonp: Geonp, tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x,y,value\n0,0,1\n30,0,2\n0,30,3\n")
    result = geonp("predict", points, "--mean", tmp_path / "mean.tif", "--method", "nearest")
    assert result.exit_code == 2
    assert "--like" in result.stderr
    assert "--res" in result.stderr


def test_a_grid_without_crs_is_a_note_not_an_error(geonp: Geonp, tmp_path: Path, holey: Path) -> None:
    with rasterio.open(holey) as file:
        bare = write(tmp_path / "bare.tif", file.read(), nodata=file.nodata, crs=None)
    result = geonp("predict", bare, "--mean", tmp_path / "mean.tif", "--method", "linear")
    assert result.exit_code == 0
    assert "no coordinate reference system" in result.stderr
    quiet = geonp("predict", bare, "--mean", tmp_path / "mean.tif", "--method", "linear", "--overwrite", "-q")
    assert "coordinate reference system" not in quiet.stderr
