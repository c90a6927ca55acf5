"""Errors of observations, as users state them: rasters, numbers, and what cannot be."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

import geonp
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import Window, as_field
from geonp.kriging.covariance import Covariance, Structure
from geonp.leaveoneout import leave_one_out
from geonp.methods.classical import Nearest
from geonp.methods.errors import Errors, with_errors
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.predict import begin, complete

MODEL = Covariance((Structure("matern32", 2000.0, 600.0),), 4.0)
GIVEN = Kriging(covariance=MODEL)
SIDE = 64


def on_grid(
    values: np.ndarray, left: float = 0.0, top: float = 0.0, crs: str | None = "EPSG:32616"
) -> xr.DataArray:
    rows, cols = values.shape[-2:]
    box = GeoBox((rows, cols), Affine(90, 0, left, 0, -90, top), crs)
    return wrap_xr(values.astype("f4"), box, axis=values.ndim - 2)


@pytest.fixture(scope="module")
def sounded(jacksboro: np.ndarray) -> tuple[np.ndarray, xr.DataArray, xr.DataArray]:
    """Truth, a survey of it of which a quarter is ten times worse than the rest, and its errors."""
    truth = jacksboro[100 : 100 + SIDE, 120 : 120 + SIDE]
    rng = np.random.default_rng(4)
    std = np.where(rng.random(truth.shape) < 0.25, 30.0, 3.0)
    seen = rng.random(truth.shape) < 0.2
    values = np.where(seen, truth + std * rng.normal(size=truth.shape), np.nan)
    return truth, on_grid(values), on_grid(np.where(seen, std, np.nan))


def rmse(done: xr.Dataset, truth: np.ndarray, where: np.ndarray) -> float:
    return float(np.sqrt(np.mean((done["mean"].values[0] - truth)[where] ** 2)))


@pytest.mark.parametrize("method", [Kriging(), Flagship(orientations=1)], ids=["kriging", "bundled"])
def test_stated_errors_make_a_better_map(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray], method: Kriging | Flagship
) -> None:
    truth, survey, errors = sounded
    seen = np.isfinite(survey.values)
    unaware, aware = complete(survey, method), complete(survey, with_errors(method, errors))
    assert rmse(aware, truth, ~seen) < 0.9 * rmse(unaware, truth, ~seen)
    assert rmse(aware, truth, seen) < 0.6 * rmse(unaware, truth, seen)
    off = np.abs(aware["mean"].values[0] - truth) / np.sqrt(aware["variance"].values[0])
    assert 0.85 < np.mean(off[~seen] < 1.645) < 0.95
    assert 0.85 < np.mean(off[seen] < 1.645) < 0.95


@pytest.mark.parametrize("method", [GIVEN, Flagship(orientations=1)], ids=["kriging", "bundled"])
def test_the_tags_tell_of_them(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray], method: Kriging | Flagship
) -> None:
    _, survey, errors = sounded
    told = begin(as_field(survey), with_errors(method, errors.rename("sigma"))).describe()
    assert told["errors"] == "sigma"
    assert told["observed_pixels"] == "estimated where their error is not 0, else kept, with variance 0"
    assert "errors" not in begin(as_field(survey), method).describe()


def test_observations_without_error_are_returned_as_they_were(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray],
) -> None:
    _, survey, errors = sounded
    good = errors.copy(data=np.where(errors.values < 5, 0, errors.values))
    for method in (GIVEN, Flagship(orientations=1, insist=True, calibrate=False)):
        done = complete(survey, with_errors(method, good))
        exact = good.values == 0
        np.testing.assert_array_equal(done["mean"].values[0][exact], survey.values[exact])
        assert (done["variance"].values[0][exact] == 0).all()
        assert (done["variance"].values[0][~exact] > 0).all()
        bad = good.values > 0
        assert (done["mean"].values[0][bad] != survey.values[bad]).all()


def test_an_error_of_zero_changes_nothing(sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray]) -> None:
    _, survey, _ = sounded
    xr.testing.assert_identical(complete(survey, GIVEN), complete(survey, with_errors(GIVEN, 0)))


def test_a_number_is_a_raster_of_it(sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray]) -> None:
    _, survey, errors = sounded
    one = complete(survey, with_errors(GIVEN, 3.0))
    xr.testing.assert_identical(one, complete(survey, with_errors(GIVEN, xr.full_like(errors, 3.0))))
    assert not one.equals(complete(survey, with_errors(GIVEN, 6.0)))


def test_a_raster_that_reaches_beyond_is_read_where_the_survey_is(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray],
) -> None:
    _, survey, errors = sounded
    larger = np.full((SIDE + 5, SIDE + 9), np.nan)
    larger[2 : 2 + SIDE, 7 : 7 + SIDE] = errors.values
    around = on_grid(larger, left=-7 * 90, top=2 * 90)
    told = Errors.of(around, as_field(survey))
    assert (told.row, told.col) == (2, 7)
    xr.testing.assert_identical(
        complete(survey, with_errors(GIVEN, errors)), complete(survey, with_errors(GIVEN, around))
    )


def test_windows_leave_no_trace(sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray]) -> None:
    _, survey, errors = sounded
    method = with_errors(GIVEN, errors)
    xr.testing.assert_identical(complete(survey, method), complete(survey, method, tile=23))


def test_every_pixel_may_be_observed(jacksboro: np.ndarray) -> None:
    truth = jacksboro[:40, :40]
    values = truth + np.random.default_rng(0).normal(0, 20, truth.shape)
    done = complete(on_grid(values), with_errors(GIVEN, 20.0), status=True)
    everywhere = np.ones(truth.shape, bool)
    assert rmse(done, truth, everywhere) < 0.6 * np.sqrt(np.mean((values - truth) ** 2))
    assert (done["status"].values == 1).all()


def test_bands_have_errors_of_their_own(sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray]) -> None:
    _, survey, errors = sounded
    flat = np.where(np.isfinite(survey.values), 7.0, np.nan)
    three = on_grid(np.stack([survey.values, flat, survey.values]))
    own = on_grid(np.stack([errors.values, errors.values, 2 * errors.values]))
    done = complete(three, with_errors(GIVEN, own))
    for band, scale in ((0, 1), (2, 2)):
        alone = complete(survey, with_errors(GIVEN, scale * errors))
        np.testing.assert_array_equal(done["mean"].values[band], alone["mean"].values[0])
    assert (done["mean"].values[1] == 7).all()
    shared = complete(three, with_errors(GIVEN, errors))
    np.testing.assert_array_equal(shared["mean"].values[0], shared["mean"].values[2])


def test_smoothing_filters_the_nugget_too(sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray]) -> None:
    _, survey, errors = sounded
    method = with_errors(GIVEN, errors)
    kept, smooth = complete(survey, method), complete(survey, method, keep_observed=False)
    seen = np.isfinite(survey.values)
    np.testing.assert_array_equal(kept["mean"].values[0][~seen], smooth["mean"].values[0][~seen])
    # Of what an observation differs from the smooth surface, the nugget's part stays.
    share = errors.values[seen] ** 2 / (errors.values[seen] ** 2 + MODEL.nugget)
    expected = survey.values[seen] + share * (smooth["mean"].values[0][seen] - survey.values[seen])
    np.testing.assert_allclose(kept["mean"].values[0][seen], expected, atol=1e-3)


def test_leaving_one_out_knows_them(sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray]) -> None:
    _, survey, errors = sounded
    field, places = as_field(survey), np.isfinite(survey.values)
    aware = leave_one_out(with_errors(Kriging(), errors), field, places)
    assert aware.variance is not None
    off = np.abs(aware.mean[0] - survey.values)[places] / np.sqrt(aware.variance[0][places])
    assert 0.85 < np.mean(off < 1.645) < 0.95
    bad = errors.values[places] > 5
    assert (aware.variance[0][places][bad] > 900).all()


def test_the_network_does_not_hear_what_tells_nothing(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray],
) -> None:
    _, survey, errors = sounded
    method = Flagship(orientations=1, insist=True, calibrate=False)
    bad = errors.values > 5
    endless = errors.copy(data=np.where(bad, 1e6, errors.values))
    without = survey.copy(data=np.where(bad, np.float32(np.nan), survey.values))
    one, other = (
        complete(survey, with_errors(method, endless)),
        complete(without, with_errors(method, errors)),
    )
    # Only the covariance is fitted to other observations.
    difference = (one["mean"] - other["mean"]).values[0] / np.sqrt(other["variance"].values[0])
    assert np.sqrt(np.mean(difference**2)) < 0.1


def test_the_accessor_takes_them(sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray]) -> None:
    _, survey, errors = sounded
    done = survey.geonp.complete(GIVEN, errors=errors)
    xr.testing.assert_equal(
        done["mean"].drop_vars("band", errors="ignore").squeeze(),
        geonp.complete(survey, geonp.with_errors(GIVEN, errors))["mean"]
        .drop_vars("band", errors="ignore")
        .squeeze(),
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [(-2.0, "is -2;"), (np.nan, "is missing;"), (np.inf, "is inf;")],
    ids=["negative", "nan", "inf"],
)
def test_errors_that_cannot_be_are_counted_and_placed(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray], value: float, told: str
) -> None:
    _, survey, errors = sounded
    wrong = errors.values.copy()
    places = np.argwhere(np.isfinite(survey.values))[[5, 9, 40]]
    wrong[tuple(places.T)] = value
    row, col = places[0]
    for method in (Kriging(), Flagship()):
        with pytest.raises(InputError, match=rf"3 of \d+ observations.*in row {row}, column {col}, {told}"):
            complete(survey, with_errors(method, on_grid(wrong)))


def test_errors_are_not_asked_for_where_nothing_was_observed(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray],
) -> None:
    _, survey, errors = sounded
    wild = errors.copy(data=np.where(np.isfinite(survey.values), errors.values, -1.0))
    xr.testing.assert_identical(
        complete(survey, with_errors(GIVEN, errors)), complete(survey, with_errors(GIVEN, wild))
    )


@pytest.mark.parametrize("number", [-1, np.nan, np.inf, "much"])
def test_a_number_is_zero_or_more(number: object) -> None:
    with pytest.raises(UsageError, match=r"an error of .* is impossible"):
        with_errors(GIVEN, number)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is impossible"):
        Kriging(errors=number)  # type: ignore[arg-type]


def test_methods_that_know_no_errors_say_so() -> None:
    with pytest.raises(UsageError, match="method 'nearest' takes no errors"):
        with_errors(Nearest(), 1.0)
    with pytest.raises(UsageError, match="--adapt"):
        with_errors(Flagship(adapt=1.0), 1.0)


@pytest.mark.parametrize(
    ("left", "crs", "match"),
    [
        (30.0, "EPSG:32616", r"another grid.*rio warp sigma errors.tif --like SURVEY"),
        (0.0, "EPSG:32617", "another grid"),
        (9000.0, "EPSG:32616", r"is missing"),
    ],
    ids=["shifted", "another crs", "elsewhere"],
)
def test_another_grid_is_refused(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray], left: float, crs: str, match: str
) -> None:
    _, survey, errors = sounded
    elsewhere = on_grid(errors.values, left=left, crs=crs).rename("sigma")
    with pytest.raises(InputError, match=match):
        complete(survey, with_errors(GIVEN, elsewhere))


def test_a_raster_without_coordinates_has_the_survey_s_pixels(
    sounded: tuple[np.ndarray, xr.DataArray, xr.DataArray],
) -> None:
    _, survey, errors = sounded
    bare, plain = (xr.DataArray(a.values, dims=("y", "x")) for a in (survey, errors))
    told = Errors.of(plain, as_field(bare))
    variances = told.variances(as_field(bare).values, Window.whole(bare.shape))
    np.testing.assert_allclose(variances[0], np.nan_to_num(errors.values) ** 2)
    with pytest.raises(InputError, match="without coordinates on both"):
        Errors.of(plain, as_field(survey))
    with pytest.raises(InputError, match="have 2 bands and the survey 1"):
        Errors.of(xr.concat([errors, errors], "band"), as_field(survey))


def test_a_survey_with_a_constant_band_keeps_it(jacksboro: np.ndarray) -> None:
    values = np.full((20, 20), np.nan)
    values[::3, ::3] = 5.0
    done = complete(on_grid(values), with_errors(GIVEN, 1.0))
    assert (done["mean"].values == 5).all()
    with pytest.warns(GeonpWarning, match="every pixel is observed"):
        complete(on_grid(np.arange(100.0).reshape(10, 10)), GIVEN)
