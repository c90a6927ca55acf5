"""`--covariate` as a user types it."""

import json
import sys
from pathlib import Path

import geonp.cli.fit  # noqa: F401 - its module, not the command of that name
import numpy as np
import pytest
import rasterio
from geonp.cli.covariate import of_tiles
from scipy.ndimage import gaussian_filter

from geonp.errors import InputError

from .conftest import Geonp, write


@pytest.fixture
def stations(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """Write temperatures of 150 stations that fall with height, the DEM, and a raster that does not help."""
    height = jacksboro[100:160, 120:170].astype("f4")
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.standard_normal((2, *height.shape)), (0, 8, 8))
    truth = 15 - 0.0065 * height + noise[0] / noise[0].std() * 0.3
    truth += 0.1 * rng.standard_normal(height.shape)
    seen = np.zeros(height.shape, bool)
    seen.flat[rng.permutation(height.size)[:150]] = True
    write(tmp_path / "dem.tif", height)
    write(tmp_path / "other.tif", noise[1].astype("f4"))
    part = np.where(np.arange(50) < 35, height, np.float32(np.nan))
    write(tmp_path / "part.tif", part, nodata=np.nan)
    return write(tmp_path / "stations.tif", np.where(seen, truth, np.nan).astype("f4"), nodata=np.nan)


def test_predict_uses_what_helps_and_says_so(geonp: Geonp, stations: Path) -> None:
    here = stations.parent
    out = ["-o", here / "mean.tif", here / "var.tif", "--method", "kriging"]
    rasters = ["--covariate", here / "dem.tif", "--covariate", here / "other.tif"]
    done = geonp("predict", stations, *rasters, *out, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["covariates"].endswith("dem.tif")
    assert told["covariates_dropped"].endswith("other.tif")
    assert 0.2 < float(told["covariates_gain"]) < 1
    assert "other.tif is left out: it does not help" in done.stderr
    assert "the CRPS on hidden observations is" in done.stderr
    with rasterio.open(here / "mean.tif") as file:
        tags = file.tags()
        mean = file.read(1)
    assert tags["covariates_gain"] == told["covariates_gain"]
    plain = geonp("predict", stations, *rasters, "--covariate-policy", "never", *out, "--overwrite")
    assert plain.exit_code == 0
    with rasterio.open(here / "mean.tif") as file:
        assert "covariates" not in file.tags()
        assert np.abs(file.read(1) - mean).max() > 0.2


def test_a_covariate_that_is_always_used_is_krigings_drift(geonp: Geonp, stations: Path) -> None:
    here = stations.parent
    geonp("predict", stations, "--drift", here / "dem.tif", "-o", here / "a.tif", here / "av.tif")
    words = ["--method", "kriging", "--covariate", here / "dem.tif", "--covariate-policy", "always"]
    geonp("predict", stations, *words, "-o", here / "b.tif", here / "bv.tif")
    for one, other in (("a.tif", "b.tif"), ("av.tif", "bv.tif")):
        with rasterio.open(here / one) as a, rasterio.open(here / other) as b:
            np.testing.assert_array_equal(a.read(), b.read())


def test_a_hole_in_a_covariate(geonp: Geonp, stations: Path) -> None:
    here = stations.parent
    done = geonp(
        "predict", stations, "--method", "cubic", "--covariate", here / "part.tif", "--mean", here / "m.tif"
    )
    assert done.exit_code == 0, done.stderr
    assert "part.tif is not known at 30.00% of the survey's pixels" in done.stderr
    with rasterio.open(here / "m.tif") as file:
        assert file.tags()["covariates_unknown"] == "0.3000"
        assert np.isfinite(file.read()).all()
        assert "part.tif" in file.tags()["band_1_slopes"]


def test_evaluate_puts_a_method_beside_itself(geonp: Geonp, stations: Path) -> None:
    here = stations.parent
    done = geonp("evaluate", stations, "--covariate", here / "dem.tif", "--methods", "cubic", "--json")
    assert done.exit_code == 0, done.stderr
    names = [row["method"] for row in json.loads(done.stdout)["rows"]]
    assert names == ["cubic", "cubic + covariates"]


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["--covariate", "missing.tif"], "missing.tif: there is no such file", 1),
        (["--covariate-policy", "often"], "'often' is not one of 'auto', 'always', 'never'", 2),
        (["--covariate", "m.tif"], "m.tif", 2),
    ],
)
def test_what_cannot_be(
    geonp: Geonp,
    stations: Path,
    args: list[str],
    message: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(stations.parent)
    Path("m.tif").write_bytes(Path("dem.tif").read_bytes())
    before = Path("m.tif").read_bytes()
    done = geonp("predict", stations, *args, "--mean", "m.tif", "--method", "cubic", "--overwrite")
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("m.tif").read_bytes() == before


def tiles_of(folder: Path) -> list[Path]:
    """Write two tiles, and beside each its covariate `dem`, once by word and once in a folder."""
    (folder / "heights").mkdir()
    found = []
    for number in range(2):
        rough = gaussian_filter(np.random.default_rng(number).standard_normal((40, 40)), 2).astype("f4")
        found.append(write(folder / f"rain{number}.tif", rough))
        for name in (f"rain{number}_dem.tif", f"heights/rain{number}.tif"):
            write(folder / name, 9 * rough)
    return found


def test_a_network_is_trained_with_covariates(
    geonp: Geonp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["geonp.cli.fit"], "COMPARED_WITH_COVARIATES", 1)
    monkeypatch.setattr(sys.modules["geonp.cli.fit"], "BESIDE", ("cubic",))
    sizes = ["channels=8", "depth=1", "kernel=3", "head_layers=1", "head_width=8"]
    words = [*(word for size in sizes for word in ("--set", size)), "--tile-size", "16", "--epochs", "1"]
    done = geonp("fit", ".", "--covariate", "dem", "--model", "convcnp", *words, "--steps-per-epoch", "2")
    assert done.exit_code == 0, done.stderr
    assert "neural" in done.stdout
    survey = np.full((40, 40), np.nan, "f4")
    survey[::3, ::3] = 1 + np.arange(14 * 14).reshape(14, 14) % 5
    write(tmp_path / "survey.tif", survey, nodata=np.nan)
    words = ["--model", "model.safetensors", "--to", "out.nc"]
    refused = geonp("predict", "survey.tif", *words)
    assert refused.exit_code == 1
    assert "trained with 1 covariate(s), and 0 are given" in refused.stderr
    done = geonp("predict", "survey.tif", *words, "--covariate", "rain0_dem.tif")
    assert done.exit_code == 0, done.stderr


def test_covariates_of_tiles_are_found(tmp_path: Path) -> None:
    tiles = tiles_of(tmp_path)
    folder, one = str(tmp_path / "heights"), str(tmp_path / "rain0_dem.tif")
    beside = [tile.with_name(f"{tile.stem}_dem.tif") for tile in tiles]
    left, found = of_tiles(["dem", folder, one], [*tiles, *beside])
    assert left == tiles
    assert found == [
        [b, tmp_path / "heights" / tile.name, Path(one)] for b, tile in zip(beside, tiles, strict=True)
    ]
    with pytest.raises(InputError, match=r"rain0\.tif: has no covariate snow: there is no .*rain0_snow\.tif"):
        of_tiles(["snow"], tiles)
