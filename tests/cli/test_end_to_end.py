"""The three commands of the first page, on a small real raster: fit, predict, evaluate; and info."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from .conftest import Geonp, write


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory, jacksboro: np.ndarray) -> Path:
    """Two rasters to learn from, of different size, one with a hole."""
    folder = tmp_path_factory.mktemp("tiles")
    left, right = jacksboro[:, :150].copy(), jacksboro[:200, 250:].copy()
    left[40:60, 40:60] = np.nan
    write(folder / "left.tif", left, nodata=np.nan)
    write(folder / "right.tif", right, nodata=np.nan)
    return folder


def fit(geonp: Geonp, tiles: Path, model: Path, *more: object) -> object:
    small = [
        "--tile-size",
        32,
        "--batch",
        4,
        "--steps-per-epoch",
        3,
        "--set",
        "channels=8",
        "--set",
        "latent=4",
    ]
    return geonp("fit", tiles, "--context", "0.125", "-o", model, *small, *more)


def test_fit_predict_evaluate(geonp: Geonp, tiles: Path, holey: Path, dem: Path, tmp_path: Path) -> None:
    model, log = tmp_path / "model.safetensors", tmp_path / "log.csv"
    result = fit(geonp, tiles, model, "--epochs", 2, "--log", log)
    assert result.exit_code == 0, result.stderr
    for name in ("neural", "kriging", "cubic", "nearest"):
        assert f"| {name} |" in result.stdout
    assert len(log.read_text().splitlines()) == 1 + 6
    assert not model.with_name("model.safetensors.state").exists()

    shown = json.loads(geonp("info", model, "--json").stdout)
    assert shown["architecture"] == "ifanp"
    assert shown["context"] == [0.125, 0.125]
    assert shown["tile"] == [32, 32]
    assert shown["steps"] == 6

    mean, var, status = (tmp_path / f"{name}.tif" for name in ("mean", "var", "status"))
    result = geonp("predict", holey, "-o", mean, var, "--status", status, "--model", model, "--json", "-q")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["method"] == "neural"
    with rasterio.open(holey) as a, rasterio.open(mean) as b, rasterio.open(var) as c:
        assert (b.crs, b.transform, b.shape, b.dtypes) == (a.crs, a.transform, a.shape, ("float32",))
        given, got, spread = a.read(1, masked=True), b.read(1), c.read(1)
        assert b.tags()["method"] == "neural"
        assert b.tags()["model_sha256"] == shown["sha256"]
    seen = ~given.mask
    np.testing.assert_array_equal(got[seen], given.data[seen])
    assert (spread[seen] == 0).all()
    assert (spread[~seen] > 0).all()

    result = geonp("evaluate", dem, "--model", model, "--methods", "cubic,nearest", "--json", "-q")
    assert result.exit_code == 0, result.stderr
    table = {row["method"]: row["scores"] for row in json.loads(result.stdout)["overall"]}
    assert table["cubic"]["rmse"] < table["nearest"]["rmse"]
    assert 0 < table["neural"]["coverage90"] <= 1
    assert table["cubic"]["crps"] is None


def test_fit_is_the_same_bytes_for_the_same_seed_and_resumes(
    geonp: Geonp, tiles: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert fit(geonp, tiles, path, "--epochs", 2, "--seed", seed, "--no-compare").exit_code == 0
    first, again, other = (json.loads(geonp("info", path, "--json").stdout) for path in paths)
    assert first["score"] == again["score"] != other["score"]


def test_resume_without_a_state_is_one_clear_line(geonp: Geonp, tiles: Path, tmp_path: Path) -> None:
    result = fit(geonp, tiles, tmp_path / "m.safetensors", "--epochs", 1, "--resume")
    assert result.exit_code == 1
    assert "m.safetensors.state" in result.stderr


def test_kriging_and_pykrige_side_by_side(geonp: Geonp, dem: Path) -> None:
    result = geonp("evaluate", dem, "--methods", "kriging,pykrige,rbf", "--csv", "-q")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.strip().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("raster,")


def test_points_from_a_csv_become_a_netcdf_on_the_grid_of_a_raster(
    geonp: Geonp, dem: Path, tmp_path: Path
) -> None:
    points = tmp_path / "points.csv"
    with rasterio.open(dem) as file:
        rows, cols = np.divmod(np.random.default_rng(0).choice(64 * 56, 300, replace=False), 56)
        x, y = rasterio.transform.xy(file.transform, rows, cols)
        values = file.read(1)[rows, cols]
    lines = [f"{a},{b},{v}" for a, b, v in zip(x, y, values, strict=True)]
    points.write_text("x,y,height\n" + "\n".join(lines))
    out = tmp_path / "filled.nc"
    result = geonp("predict", points, "--like", dem, "--value", "height", "--to", out, "--method", "pykrige")
    assert result.exit_code == 0, result.stderr
    with xr.open_dataset(out) as data:
        assert data.sizes["y"], data.sizes["x"] == (64, 56)
        mean = data["mean"] if "mean" in data else data["height"]
        assert float(mean.values.squeeze()[rows[0], cols[0]]) == values[0]
        assert "variance" in " ".join(map(str, data.data_vars))


def test_bands_options_and_cog(geonp: Geonp, tmp_path: Path, jacksboro: np.ndarray) -> None:
    values = np.stack([jacksboro[:40, :40], jacksboro[40:80, :40]])
    values[:, np.random.default_rng(0).random((40, 40)) > 0.3] = np.nan
    survey = write(tmp_path / "two.tif", values, nodata=np.nan)
    one, both = tmp_path / "one.tif", tmp_path / "both.tif"
    assert geonp("predict", survey, "--mean", both, "--method", "linear", "--cog").exit_code == 0
    assert (
        geonp(
            "predict", survey, "-b", 2, "--mean", one, "--method", "linear", "--co", "COMPRESS=LZW"
        ).exit_code
        == 0
    )
    with rasterio.open(one) as a, rasterio.open(both) as b:
        assert (a.count, b.count) == (1, 2)
        assert a.compression.name == "lzw"
        assert b.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        np.testing.assert_array_equal(a.read(1), b.read(2))


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="started so that an interrupt is ignored"
)
@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, jacksboro: np.ndarray, kind: int, code: int
) -> None:
    values = np.tile(jacksboro, (4, 4))
    values[np.random.default_rng(0).random(values.shape) > 0.1] = np.nan
    survey = write(tmp_path / "survey.tif", values, nodata=np.nan)
    command = [
        str(Path(sys.executable).parent / "geonp"),
        "predict",
        str(survey),
        "--method",
        "rbf",
        "--tile",
        "256",
    ]
    run = subprocess.Popen(
        [*command, "--mean", str(tmp_path / "mean.tif")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".geonp-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(kind)
    _, told = run.communicate(timeout=60)
    assert run.returncode == code, told
    assert "Traceback" not in told
    assert sorted(p.name for p in tmp_path.iterdir()) == ["survey.tif"]
