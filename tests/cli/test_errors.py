"""`geonp predict --error` and `--error-column` as they are typed."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from .conftest import Geonp, write

KRIGED = ("--method", "kriging", "--variogram", "exponential:range=900,sill=4000,nugget=4")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1, masked=True).astype(float).filled(np.nan))


@pytest.fixture
def survey(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """A noisy survey `survey.tif`, its errors `error.tif`, and both as a table `survey.csv`."""
    truth = jacksboro[100:148, 120:168].astype(float)
    rng = np.random.default_rng(0)
    std = np.where(rng.random(truth.shape) < 0.3, 40.0, 2.0)
    seen = rng.random(truth.shape) < 0.15
    values = np.where(seen, truth + std * rng.normal(size=truth.shape), -9999).astype("f4")
    write(tmp_path / "error.tif", np.where(seen, std, -9999).astype("f4"), nodata=-9999)
    lines = ["x,y,depth,off"]
    for row, col in np.argwhere(seen):
        x, y = 500_000 + 30 * col + 15, 4_000_000 - 30 * row - 15
        lines.append(f"{x},{y},{float(values[row, col])!r},{std[row, col]}")
    (tmp_path / "survey.csv").write_text("\n".join(lines) + "\n")
    return write(tmp_path / "survey.tif", values, nodata=-9999)


def test_a_raster_of_errors(geonp: Geonp, survey: Path, jacksboro: np.ndarray) -> None:
    folder, truth = survey.parent, jacksboro[100:148, 120:168]
    assert geonp("predict", survey, "-o", folder / "m.tif", folder / "v.tif", *KRIGED).exit_code == 0
    told = geonp(
        "predict",
        survey,
        "--error",
        folder / "error.tif",
        "-o",
        folder / "me.tif",
        folder / "ve.tif",
        *KRIGED,
    )
    assert told.exit_code == 0, told.stderr
    seen = np.isfinite(read(survey))
    before, after = (np.square(read(folder / name) - truth) for name in ("m.tif", "me.tif"))
    assert after[seen].mean() < 0.5 * before[seen].mean()
    assert after[~seen].mean() < before[~seen].mean()
    with rasterio.open(folder / "me.tif") as file:
        assert file.tags()["errors"].endswith("error.tif")
        assert "estimated" in file.tags()["observed_pixels"]
    assert (read(folder / "ve.tif") > 0).all()


def test_a_column_of_errors_is_a_raster_of_them(geonp: Geonp, survey: Path) -> None:
    folder = survey.parent
    one = geonp(
        "predict", survey, "--error", folder / "error.tif", "-o", folder / "m.tif", folder / "v.tif", *KRIGED
    )
    table = ("predict", folder / "survey.csv", "--like", survey, "--value", "depth")
    two = geonp(*table, "--error-column", "off", "-o", folder / "m2.tif", folder / "v2.tif", *KRIGED)
    assert (one.exit_code, two.exit_code) == (0, 0), two.stderr
    np.testing.assert_array_equal(read(folder / "m.tif"), read(folder / "m2.tif"))
    np.testing.assert_array_equal(read(folder / "v.tif"), read(folder / "v2.tif"))
    wrong = geonp(*table, "--error-column", "sigma", "--mean", folder / "x.tif", *KRIGED)
    assert wrong.exit_code == 2
    assert "there is no column 'sigma'; there are: x, y, depth, off" in wrong.stderr


def test_one_number_for_all(geonp: Geonp, survey: Path) -> None:
    folder = survey.parent
    for number, name in ((0, "exact"), (25, "off")):
        done = geonp("predict", survey, "--error", number, "--mean", folder / f"{name}.tif", *KRIGED)
        assert done.exit_code == 0, done.stderr
    values, seen = read(survey), np.isfinite(read(survey))
    np.testing.assert_array_equal(read(folder / "exact.tif")[seen], values[seen])
    assert np.abs(read(folder / "off.tif") - values)[seen].mean() > 3


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (("--error", "-0.5", *KRIGED), 2, "an error of -0.5 is impossible"),
        (("--error", "1", "--method", "cubic"), 2, "method 'cubic' takes no errors"),
        (("--error-column", "off", *KRIGED), 2, "has no columns"),
        (("--error", "1", "--error-column", "off", *KRIGED), 2, "give one of them"),
        (("--error", "nowhere.tif", *KRIGED), 1, "nowhere.tif: there is no such file"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    geonp: Geonp, survey: Path, given: tuple[str, ...], code: int, told: str
) -> None:
    result = geonp("predict", survey, "--mean", survey.parent / "x.tif", *given)
    assert result.exit_code == code
    assert told in result.stderr
    assert result.stdout == ""
    assert not (survey.parent / "x.tif").exists()


def test_what_is_asked_of_the_map_knows_them_too(geonp: Geonp, survey: Path) -> None:
    folder, off = survey.parent, ("--error", survey.parent / "error.tif")
    drawn = geonp("simulate", survey, *off, "-n", 4, "-o", folder / "draws.tif", *KRIGED)
    assert drawn.exit_code == 0, drawn.stderr
    with rasterio.open(folder / "draws.tif") as file:
        values = file.read().astype(float)
        assert file.tags()["observed_pixels"] == "drawn where their error is not 0, else kept"
    assert (values.std(0) > 0).all()
    level = float(np.nanmedian(read(survey)))
    for name, given in (("p.tif", ()), ("pe.tif", off)):
        done = geonp("exceed", survey, *given, "--above", level, "-o", folder / name, *KRIGED)
        assert done.exit_code == 0, done.stderr
    sure, less = read(folder / "p.tif"), read(folder / "pe.tif")
    seen = np.isfinite(read(survey))
    assert np.isin(sure[seen], [0, 1]).all()
    assert ((less[seen] > 0) & (less[seen] < 1)).mean() > 0.1
    blocks = geonp("exceed", survey, *off, "--blocks", 24, "-n", 4, "-o", folder / "b.csv", *KRIGED)
    assert blocks.exit_code == 0, blocks.stderr


def test_an_error_that_is_missing_is_placed(geonp: Geonp, survey: Path) -> None:
    folder = survey.parent
    errors = read(folder / "error.tif")
    row, col = np.argwhere(np.isfinite(errors))[3]
    errors[row, col] = np.nan
    write(folder / "holey.tif", np.nan_to_num(errors, nan=-9999).astype("f4"), nodata=-9999)
    result = geonp("predict", survey, "--error", folder / "holey.tif", "--mean", folder / "x.tif", *KRIGED)
    assert result.exit_code == 1
    assert f"in row {row}, column {col}, is missing" in result.stderr
    same = geonp("predict", survey, "--error", folder / "error.tif", "--mean", folder / "error.tif", *KRIGED)
    assert same.exit_code != 0
