"""`geonp variogram`, and the covariance that `geonp predict` is given, as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from geonp.cli import main
from matplotlib.image import imread

from geonp.kriging.covariance import Covariance, Structure
from tests.cli.conftest import Geonp, write

NUGGET = 0.05
TRUE = Covariance((Structure("exponential", 1.0, 150.0, angle=30.0, ratio=0.4),), NUGGET)


def simulated(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw observations of a Gaussian field of known covariance at random places, by its Cholesky factor."""
    rng = np.random.default_rng(seed)
    coords = rng.uniform(0, 1000, (count, 2))
    at = torch.from_numpy(coords)
    matrix = TRUE(at, at).numpy() + NUGGET * np.eye(count)
    return coords, 10 + np.linalg.cholesky(matrix) @ rng.standard_normal(count)


@pytest.fixture
def points(tmp_path: Path) -> Path:
    coords, values = simulated(400)
    rows = [
        f"{600_000 + x:.4f},{5_000_000 + y:.4f},{v:.6f}" for (y, x), v in zip(coords, values, strict=True)
    ]
    path = tmp_path / "points.csv"
    path.write_text("x,y,value\n" + "\n".join(rows) + "\n")
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(masked=True).filled(np.nan)


def tags(path: Path) -> dict[str, str]:
    with rasterio.open(path) as file:
        return dict(file.tags())


def test_points_give_back_the_covariance_they_were_drawn_from(geonp: Geonp, points: Path) -> None:
    result = geonp("variogram", points, "--crs", "EPSG:25832", "--json", "--leave-one-out")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["unit"] == "m"
    assert told["observations"] == 400
    structure = told["covariance"]["structures"][0]
    assert abs((structure["angle"] - 30 + 90) % 180 - 90) < 15
    assert structure["ratio"] == pytest.approx(0.4, abs=0.15)
    # 95 % of the sill of an exponential is at three ranges.
    assert told["effective_range"][0] == pytest.approx(450, rel=0.5)
    assert told["effective_range"][1] == pytest.approx(told["effective_range"][0] * structure["ratio"])
    fitted = Covariance.from_json(json.dumps(told["covariance"]))
    for axis in ("along", "across"):
        row = told[axis]["variogram"][3]
        expected = fitted.variogram(torch.tensor([row["lag"]]).double(), told[axis]["direction"])
        assert row["fitted"] == pytest.approx(float(expected))
    assert told["leave_one_out"]["coverage_90"] == pytest.approx(0.9, abs=0.05)
    assert told["leave_one_out"]["standardised_rmse"] == pytest.approx(1, abs=0.1)


def test_the_empirical_variogram_is_half_the_mean_squared_difference(geonp: Geonp, points: Path) -> None:
    result = geonp("variogram", points, "--crs", "EPSG:25832", "--json", "--lags", 5, "--reach", 500)
    rows = json.loads(result.stdout)["variogram"]
    table = np.loadtxt(points, delimiter=",", skiprows=1)
    i, j = np.triu_indices(len(table), 1)
    away = np.hypot(*(table[i, :2] - table[j, :2]).T)
    half = (table[i, 2] - table[j, 2]) ** 2 / 2
    for number, row in enumerate(rows):
        # The EPSG's metres are the coordinates' own.
        inside = (away > number * 100) & (away <= number * 100 + 100)
        assert row["pairs"] == pytest.approx(inside.sum(), abs=2)
        assert row["semivariance"] == pytest.approx(half[inside].mean(), rel=1e-2)


def test_the_table_tells_what_was_chosen_and_why(geonp: Geonp, points: Path) -> None:
    result = geonp("variogram", points, "--crs", "EPSG:25832", "--estimator", "cressie")
    assert result.exit_code == 0, result.stderr
    for word in ("lag (m)", "pairs", "semivariance", "fitted", "cressie", "nugget", "anisotropy", "ratio"):
        assert word in result.stdout
    assert "chosen because" in result.stdout
    assert "matern32 + exponential" in result.stdout  # a candidate that was compared


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_one(geonp: Geonp, points: Path, tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"variogram.{suffix}"
    result = geonp("variogram", points, "--crs", "EPSG:25832", "--plot", picture, "--leave-one-out")
    assert result.exit_code == 0, result.stderr
    if suffix == "png":
        pixels = imread(picture)
        assert pixels.shape[1] > 1000
        assert pixels[..., :3].std() > 0.05
    else:
        assert "<svg" in picture.read_text()
    assert geonp("variogram", points, "--crs", "EPSG:25832", "--plot", picture).exit_code == 1  # exists


def test_degrees_become_metres(geonp: Geonp, points: Path, tmp_path: Path) -> None:
    from pyproj import Transformer

    table = np.loadtxt(points, delimiter=",", skiprows=1)
    lon, lat = Transformer.from_crs("EPSG:25832", "EPSG:4326", always_xy=True).transform(
        table[:, 0], table[:, 1]
    )
    geographic = tmp_path / "degrees.csv"
    np.savetxt(
        geographic,
        np.c_[lon, lat, table[:, 2]],
        delimiter=",",
        header="lon,lat,value",
        comments="",
        fmt="%.10f",
    )
    metres = json.loads(geonp("variogram", points, "--crs", "EPSG:25832", "--json").stdout)
    degrees = json.loads(geonp("variogram", geographic, "--json").stdout)
    assert degrees["unit"] == "m"
    # The grid's north is not quite true north here, so that directions differ by a degree.
    assert degrees["effective_range"] == pytest.approx(metres["effective_range"], rel=0.05)


def test_a_wide_survey_in_degrees_is_measured_on_the_globe(geonp: Geonp, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-120, 20, 150), rng.uniform(-10, 70, 150)
    path = tmp_path / "globe.csv"
    rows = np.c_[lon, lat, np.sin(np.radians(3 * lat)) + rng.normal(0, 0.1, 150)]
    np.savetxt(path, rows, delimiter=",", header="lon,lat,value", comments="")
    told = json.loads(geonp("variogram", path, "--json").stdout)
    assert told["covariance"]["metric"] == "great-circle"
    assert max(row["lag"] for row in told["variogram"]) < 12_800_000


def test_a_raster_is_fitted_for_its_gaps(geonp: Geonp, tmp_path: Path, jacksboro: np.ndarray) -> None:
    values = jacksboro[100:148, 120:168].astype("f4")
    values[12:26, 18:36] = np.nan
    survey = write(tmp_path / "gap.tif", values, nodata=np.nan)
    told = json.loads(geonp("variogram", survey, "--json").stdout)
    assert told["rehearsal"]["gap_share"] > 0.5
    assert all(np.isfinite(c["crps"]) for c in told["candidates"])
    text = geonp("variogram", survey).stdout
    assert "CRPS" in text
    assert "hidden" in text


def test_the_picture_and_the_model_are_written_together_or_not_at_all(
    geonp: Geonp, points: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.json").write_text("precious")
    picture = tmp_path / "out.png"
    result = geonp("variogram", points, "--plot", picture, "--model-out", tmp_path / "out.json")
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert not picture.exists()
    assert (tmp_path / "out.json").read_text() == "precious"


# What goes wrong.


def test_a_missing_survey_is_named(geonp: Geonp, tmp_path: Path) -> None:
    result = geonp("variogram", tmp_path / "nope.tif")
    assert result.exit_code == 1
    assert "nope.tif" in result.stderr


@pytest.mark.parametrize("rows", ["0,0,1", "0,0,1\n5,5,nan"])
def test_too_few_points(geonp: Geonp, tmp_path: Path, rows: str) -> None:
    path = tmp_path / "few.csv"
    path.write_text(f"x,y,value\n{rows}\n")
    result = geonp("variogram", path, "--crs", "EPSG:25832")
    assert result.exit_code == 1
    assert "needs two" in result.stderr


def test_points_in_one_place(geonp: Geonp, tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("x,y,value\n" + "3,4,1\n" * 20)
    result = geonp("variogram", path, "--crs", "EPSG:25832")
    assert result.exit_code == 1
    assert "one place" in result.stderr


def test_nine_points_are_told_to_be_too_few_to_fit(geonp: Geonp, tmp_path: Path) -> None:
    path = tmp_path / "nine.csv"
    path.write_text("x,y,value\n" + "".join(f"{i * 7 % 10},{i * 3 % 10},{i}\n" for i in range(9)))
    result = geonp("variogram", path, "--crs", "EPSG:25832", "--json")
    assert result.exit_code == 0, result.stderr
    assert "too few" in result.stderr
    assert json.loads(result.stdout)["log_likelihood"] is None


def test_one_of_several_bands_must_be_named(geonp: Geonp, tmp_path: Path, jacksboro: np.ndarray) -> None:
    values = np.stack([jacksboro[:40, :40], jacksboro[40:80, :40]])
    values[:, ::2] = np.nan
    survey = write(tmp_path / "two.tif", values, nodata=np.nan)
    result = geonp("variogram", survey)
    assert result.exit_code == 2
    assert "--band" in result.stderr
    assert geonp("variogram", survey, "--band", 2).exit_code == 0


def test_two_points_are_shown_as_their_one_pair(geonp: Geonp, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("x,y,value\n0,0,1\n30,40,3\n")
    picture = tmp_path / "two.png"
    told = json.loads(geonp("variogram", path, "--crs", "EPSG:25832", "--plot", picture, "--json").stdout)
    assert [(r["lag"], r["pairs"], r["semivariance"]) for r in told["variogram"]] == [(50, 1, 2)]
    assert picture.exists()


def test_help_keeps_the_examples_apart(geonp: Geonp) -> None:
    lines = [line.strip() for line in geonp("variogram", "--help").stdout.splitlines()]
    assert "geonp variogram survey.tif --plot variogram.png" in lines


@pytest.mark.parametrize("picture", ["v.tif", "v"])
def test_a_picture_of_another_kind_is_refused(
    geonp: Geonp, points: Path, tmp_path: Path, picture: str
) -> None:
    result = geonp("variogram", points, "--plot", tmp_path / picture)
    assert result.exit_code == 2
    assert ".png" in result.stderr


# Given back to `geonp predict`.


def predict(geonp: Geonp, survey: Path, folder: Path, *args: object) -> tuple[Path, Path]:
    folder.mkdir()
    mean, variance = folder / "mean.tif", folder / "variance.tif"
    result = geonp("predict", survey, "--method", "kriging", "-o", mean, variance, *args)
    assert result.exit_code == 0, result.stderr
    return mean, variance


@pytest.mark.parametrize("given", ["model", "output", "tag"])
def test_a_covariance_given_back_makes_the_same_raster(
    geonp: Geonp, holey: Path, tmp_path: Path, given: str
) -> None:
    fitted = predict(geonp, holey, tmp_path / "fitted")
    model = tmp_path / "covariance.json"
    assert geonp("variogram", holey, "--model-out", model).exit_code == 0
    tag = tags(fitted[0])["covariance_1"]
    assert Covariance.from_json(tag) == Covariance.from_json(model.read_text())
    back = {"model": model, "output": fitted[1], "tag": tag}[given]
    again = predict(geonp, holey, tmp_path / "again", "--variogram", back)
    for one, other in zip(fitted, again, strict=True):
        assert np.array_equal(read(one), read(other))
        assert tags(one)["covariance_1"] == tags(other)["covariance_1"]


def test_a_netcdf_output_gives_its_covariance_back(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nc"
    words = "matern32:range=300,sill=900,nugget=4"
    assert geonp("predict", holey, "--to", out, "--variogram", words).exit_code == 0
    from_words = predict(geonp, holey, tmp_path / "words", "--variogram", words)
    from_file = predict(geonp, holey, tmp_path / "file", "--variogram", out)
    assert np.array_equal(read(from_words[0]), read(from_file[0]))


def test_words_are_a_nested_anisotropic_covariance(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    words = "matern:nu=1,range=90,sill=1e+2,nugget=2 + exponential:range=900,sill=400,nugget=1"
    made = predict(geonp, holey, tmp_path / "out", "--variogram", words, "--anisotropy", "30:0.5")
    terms = (
        Structure("matern", 100.0, 90.0, nu=1.0, angle=30.0, ratio=0.5),
        Structure("exponential", 400.0, 900.0, angle=30.0, ratio=0.5),
    )
    assert Covariance.from_json(tags(made[0])["covariance_1"]) == Covariance(terms, 3.0)
    isotropic = predict(geonp, holey, tmp_path / "isotropic", "--variogram", words)
    assert not np.array_equal(read(made[0]), read(isotropic[0]))


def test_latent_leaves_the_nugget_out(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    words = "exponential:range=500,sill=900,nugget=25"
    seen = predict(geonp, holey, tmp_path / "seen", "--variogram", words)
    latent = predict(geonp, holey, tmp_path / "latent", "--variogram", words, "--latent")
    hidden = read(seen[1]) > 0
    assert read(seen[1])[hidden] - read(latent[1])[hidden] == pytest.approx(25, abs=1e-3)
    assert tags(latent[0])["nugget"] == "out"


def test_a_known_mean_is_what_distant_pixels_get(geonp: Geonp, tmp_path: Path) -> None:
    values = np.full((40, 40), np.nan, "f4")
    values[:4, :4] = 100 + np.arange(16).reshape(4, 4)
    survey = write(tmp_path / "corner.tif", values, nodata=np.nan)
    words = "spherical:range=150,sill=20,nugget=0"
    made = predict(geonp, survey, tmp_path / "out", "--variogram", words, "--kind", "simple")
    far = read(made[0])[0, 20:, 20:]
    assert np.ptp(far) < 1e-3
    assert 100 < far.mean() < 115
    assert read(made[1])[0, 20:, 20:] == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--variogram", "nowhere.json"], "nowhere.json"),
        (["--variogram", "exponential:range=5"], "needs sill"),
        (["--variogram", "exponential:range=5,sill=-3"], "cannot be negative"),
        (["--variogram", "expo:range=5,sill=3"], "unknown covariance family"),
        (["--variogram", "exponential:range=5,sill=much"], "is a number"),
        (["--variogram", "exponential:reach=5,sill=1"], "reach=5"),
        (["--variogram", '{"structures": []'], "is not"),
        (["--anisotropy", "30"], "ANGLE,RATIO"),
        (["--anisotropy", "30,2"], "(0, 1]"),
        (["--family", "cubic"], "'matern'"),
        (["--family", "power", "--variogram", "exponential:range=5,sill=1"], "not fitted"),
        (["--family", "power", "--kind", "simple"], "no sill"),
        (["--variogram", "exponential:range=5,sill=1", "--anisotropy", "30:2"], "(0, 1]"),
        (["--memory", "lots"], "500M"),
        (["--memory", "12"], "too few"),
        (["--neighbours", "0"], "0"),
        (["--kind", "simple", "--variogram", "power:sill=2,exponent=1.5"], "no sill"),
    ],
)
def test_what_cannot_be_kriged_is_a_wrong_usage(
    geonp: Geonp, holey: Path, args: list[str], told: str
) -> None:
    out = holey.parent / "mean.tif"
    result = geonp("predict", holey, "--method", "kriging", "--mean", out, *args)
    assert result.exit_code == 2, result.stderr
    assert told in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--variogram", "exponential:range=5,sill=1"),
        ("--anisotropy", "30,0.5"),
        ("--family", "matern"),
        ("--drift", "dem.tif"),
        ("--kind", "simple"),
    ],
)
def test_a_method_that_does_not_krige_is_named(geonp: Geonp, holey: Path, option: str, value: str) -> None:
    result = geonp("predict", holey, "--method", "cubic", "--mean", holey.parent / "m.tif", option, value)
    assert result.exit_code == 2
    assert f"method 'cubic' takes no {option}" in result.stderr


def test_a_raster_without_a_covariance_says_so(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    result = geonp("predict", holey, "--mean", tmp_path / "mean.tif", "--variogram", holey)
    assert result.exit_code == 1
    assert "hold no covariance" in result.stderr


def test_the_command_is_listed() -> None:
    assert "variogram" in main.list_commands(None)  # type: ignore[arg-type]


def test_universal_kriging_sees_what_a_plane_leaves(geonp: Geonp, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    row, col = np.mgrid[:40, :40]
    values = (5.0 * row - 3.0 * col + rng.normal(0, 1, (40, 40))).astype("f4")
    values[rng.random(values.shape) < 0.5] = np.nan
    survey = write(tmp_path / "plane.tif", values, nodata=np.nan)
    told = json.loads(geonp("variogram", survey, "--kind", "universal", "--json", "--leave-one-out").stdout)
    # 30 m pixels, north up: per metre, y falls with the rows and x grows with the columns.
    assert told["trend"][1:] == pytest.approx([-5 / 30, -3 / 30], rel=0.02)
    assert all(
        r["semivariance"] == pytest.approx(1, abs=0.25) for r in told["variogram"] if r["pairs"] > 2000
    )
    assert told["leave_one_out"]["rmse"] == pytest.approx(1, abs=0.1)
