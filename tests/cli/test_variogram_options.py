"""What is asked of kriging on the command line: families, an anisotropy, a drift, memory, several bands."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import Result

from geonp.kriging.covariance import Covariance

from .conftest import write

Geonp = Callable[..., Result]


def tags(path: Path) -> dict[str, str]:
    with rasterio.open(path) as file:
        return dict(file.tags())


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def done(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def bands(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """Three bands: terrain, a constant, and terrain with noise at another scale."""
    terrain = jacksboro[100:148, 120:160].astype("f4")
    rng = np.random.default_rng(0)
    values = np.stack([terrain, np.full_like(terrain, 7), 0.01 * terrain + rng.normal(0, 0.2, terrain.shape)])
    values[:, rng.random(terrain.shape) < 0.7] = np.nan
    return write(tmp_path / "bands.tif", values.astype("f4"), nodata=np.nan)


def test_each_band_gets_its_own_covariance_back(geonp: Geonp, bands: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.tif", tmp_path / "two.tif"
    done(geonp("predict", bands, "--method", "kriging", "--mean", one, "--json"))
    found = [Covariance.from_json(tags(one)[f"covariance_{n}"]) for n in (1, 2)]
    assert found[0].sill > 100 * found[1].sill
    told = done(geonp("predict", bands, "--method", "kriging", "--mean", two, "--variogram", one, "--json"))
    assert np.array_equal(read(one), read(two))
    assert [Covariance.from_json(str(told[f"covariance_{n}"])) for n in (1, 2)] == found


def test_covariances_of_another_number_of_bands_are_refused(
    geonp: Geonp, bands: Path, holey: Path, tmp_path: Path
) -> None:
    made = tmp_path / "one.tif"
    done(geonp("predict", bands, "--method", "kriging", "--mean", made, "--json"))
    result = geonp("predict", holey, "--variogram", made, "--mean", tmp_path / "two.tif")
    assert result.exit_code == 2
    assert "2 covariances are given for 1 band(s)" in result.stderr


@pytest.mark.parametrize("command", ["predict", "variogram"])
def test_an_anisotropy_is_held_while_the_rest_is_fitted(
    geonp: Geonp, holey: Path, tmp_path: Path, command: str
) -> None:
    where = ["--mean", tmp_path / "mean.tif"] if command == "predict" else []
    told = done(geonp(command, holey, *where, "--anisotropy", "30,0.25", "--json"))
    found = told["covariance"] if command == "variogram" else json.loads(str(told["covariance_1"]))
    free = done(geonp("variogram", holey, "--json"))
    for s in found["structures"]:
        assert (s["angle"], s["ratio"]) == pytest.approx((30, 0.25))
    if command == "variogram":
        assert float(told["log_likelihood"]) < float(free["log_likelihood"])
        assert {round(c["covariance"]["structures"][0]["ratio"], 6) for c in told["candidates"]} == {0.25}


@pytest.mark.parametrize(
    ("family", "number"), [("matern", "nu"), ("power", "exponent"), ("spherical", None), ("gaussian", None)]
)
def test_a_family_is_fitted_when_it_is_asked_for(
    geonp: Geonp, holey: Path, family: str, number: str | None
) -> None:
    told = done(geonp("variogram", holey, "--family", family, "--json"))
    structures = told["covariance"]["structures"]
    assert [s["family"] for s in structures] == [family]
    if number is not None:
        assert 0.2 < structures[0][number] < 4


def test_a_family_is_fitted_by_predict_too(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    made = done(geonp("predict", holey, "--family", "spherical", "--mean", tmp_path / "mean.tif", "--json"))
    assert json.loads(str(made["covariance_1"]))["structures"][0]["family"] == "spherical"


def test_a_drift_is_followed(geonp: Geonp, tmp_path: Path, jacksboro: np.ndarray) -> None:
    terrain = jacksboro[100:164, 120:176].astype("f4")
    truth = 15 - 0.0065 * terrain
    seen = np.random.default_rng(0).random(terrain.shape) < 0.03
    survey = write(tmp_path / "survey.tif", np.where(seen, truth, np.nan).astype("f4"), nodata=np.nan)
    dem, fine = write(tmp_path / "dem.tif", terrain), tmp_path / "fine.tif"
    half = rasterio.transform.from_origin(500_000 - 300, 4_000_000 + 300, 15, 15)
    write(fine, np.kron(np.pad(terrain, 10, "edge"), np.ones((2, 2), "f4")), transform=half)
    error = {}
    for name, args in {"none": [], "dem": ["--drift", dem], "fine": ["--drift", fine]}.items():
        out = tmp_path / f"by_{name}.tif"
        result = geonp("predict", survey, "--method", "kriging", "--mean", out, "--json", *args)
        told = done(result)
        assert ("note: the drift" in result.stderr) == (name == "fine")
        assert told.get("drift", "").endswith(name + ".tif") == (name != "none")
        error[name] = float(np.abs(read(out)[0] - truth).mean())
    assert error["dem"] < 0.02 * error["none"]
    assert error["fine"] < 0.02 * error["none"]
    result = geonp("predict", survey, "--drift", "nowhere.tif", "--mean", tmp_path / "out.tif")
    assert result.exit_code == 1
    assert "nowhere.tif: there is no such file" in result.stderr
    short = write(tmp_path / "short.tif", terrain[:40])
    result = geonp("predict", survey, "--drift", short, "--mean", tmp_path / "out.tif")
    assert result.exit_code == 1
    assert "short.tif" in result.stderr
    assert "cover the whole survey" in result.stderr
    assert not (tmp_path / "out.tif").exists()


def test_memory_is_estimated_before_the_run_and_held(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    out = tmp_path / "mean.tif"
    words = ("--method", "kriging", "--variogram", "exponential:range=500,sill=900", "--mean", out)
    result = geonp("predict", holey, *words, "--memory", "2M")
    assert result.exit_code == 2
    assert "--memory allows 2 MB" in result.stderr
    assert not out.exists()
    result = geonp("predict", holey, *words, "--json")
    assert "kriging takes about" in result.stderr
    assert 1e6 < done(result)["estimated_memory"] < 1e9
