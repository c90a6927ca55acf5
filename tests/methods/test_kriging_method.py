import json

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

import geonp.methods.kriging as module
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import as_field
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.base import Place
from geonp.methods.kriging import Kriging
from geonp.predict import complete

MODEL = Covariance((Structure("matern32", 400.0, 600.0, angle=30.0, ratio=0.6),), 4.0)
GIVEN = Kriging(covariance=MODEL)


def crop(truth: np.ndarray, rows: int, cols: int, share: float = 0.15, seed: int = 0) -> np.ndarray:
    values = truth[:rows, :cols].astype("f4")
    return np.where(np.random.default_rng(seed).random(values.shape) < share, values, np.float32(np.nan))


def on_grid(values: np.ndarray, spacing: float = 90.0) -> xr.DataArray:
    rows, cols = values.shape[-2:]
    box = GeoBox.from_bbox((0, 0, cols * spacing, rows * spacing), "EPSG:32616", shape=(rows, cols))
    return as_field(wrap_xr(values, box, axis=values.ndim - 2))


def test_it_fits_and_fills(survey: xr.DataArray, jacksboro: np.ndarray) -> None:
    done = complete(survey, Kriging())
    truth, holes = jacksboro[100:196, 120:200], np.isnan(survey.values)
    error, std = (done["mean"].values[0] - truth)[holes], np.sqrt(done["variance"].values[0][holes])
    assert np.sqrt(np.mean(error**2)) < 15
    assert 0.85 < np.mean(np.abs(error) < 1.645 * std) < 0.95


def test_the_same_seed_gives_the_same_bytes(survey: xr.DataArray) -> None:
    one, two = complete(survey, Kriging(seed=3)), complete(survey, Kriging(seed=3))
    xr.testing.assert_identical(one, two)


@pytest.mark.parametrize("tile", [50, 64])
def test_windows_leave_no_trace(jacksboro: np.ndarray, tile: int) -> None:
    field = on_grid(crop(jacksboro, 130, 150))
    method = GIVEN.prepare(field)
    assert not method.bands[0].exact
    whole, tiled = (complete(field, GIVEN, tile=t) for t in (1024, tile))
    xr.testing.assert_identical(whole, tiled)


def test_a_raster_beyond_what_is_kept_reads_its_windows(
    jacksboro: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = crop(jacksboro, 300, 350)
    values[80:200, 100:260] = np.nan
    field = on_grid(values)
    terrain = Kriging(covariance=Covariance((Structure("matern32", 1e4, 900.0, angle=30.0, ratio=0.6),), 4.0))
    everything = complete(field, terrain)
    monkeypatch.setattr(module, "_LEAST_KEPT", 1000)
    monkeypatch.setattr(module, "_KEPT", 1000)
    method = terrain.prepare(field)
    assert not method.bands[0].survey.complete
    thinned, tiled = (complete(field, terrain, tile=t) for t in (1024, 64))
    xr.testing.assert_identical(thinned, tiled)
    near = np.isnan(values)
    near[60:220, 80:280] = False
    near[:, :20] = near[:, -20:] = near[:20] = near[-20:] = False
    np.testing.assert_array_equal(thinned["mean"].values[0][near], everything["mean"].values[0][near])
    gap = np.s_[90:190, 110:250]
    difference = (thinned["mean"] - everything["mean"]).values[0][gap]
    assert np.sqrt(np.mean(difference**2)) < 0.5 * np.sqrt(everything["variance"].values[0][gap].mean())


def test_noise_and_smoothing(survey: xr.DataArray) -> None:
    field, seen = as_field(survey), np.isfinite(survey.values)[None]
    place = Place.whole(survey.shape)

    def run(**options: bool) -> tuple[np.ndarray, np.ndarray]:
        done = Kriging(covariance=MODEL, **options).prepare(field).complete(field.values, (90.0, 90.0), place)
        return done.mean, done.variance

    mean, variance = run()
    np.testing.assert_array_equal(mean[seen], field.values[seen])
    assert (variance[seen] == 0).all()
    latent = run(noise=False)
    np.testing.assert_array_equal(latent[0], mean)
    np.testing.assert_allclose((variance - latent[1])[~seen], 4.0, rtol=1e-4)
    smooth = run(smooth=True)
    assert (smooth[1] >= 4).all()
    np.testing.assert_array_equal(smooth[0][~seen], mean[~seen])
    off = np.abs(smooth[0] - mean)[seen]
    assert 0 < off.mean() < 4


def test_angles_are_those_of_the_map(jacksboro: np.ndarray) -> None:
    """A covariance has its major axis where the map has it, whichever way the rows run."""
    values = crop(jacksboro, 60, 60)
    north_up = on_grid(values)
    south_up = north_up.isel(y=slice(None, None, -1))
    done = [complete(field, GIVEN) for field in (north_up, south_up)]
    for name in ("mean", "variance"):
        np.testing.assert_allclose(done[1][name].values[:, ::-1], done[0][name].values, rtol=1e-4)
    mirrored = Covariance((Structure("matern32", 400.0, 600.0, angle=-30.0, ratio=0.6),), 4.0)
    other = complete(north_up, Kriging(covariance=mirrored))
    assert np.abs(other["mean"] - done[0]["mean"]).max() > 1


def test_stripes_are_followed_along_their_direction() -> None:
    """Stripes to the north-east: a covariance that is long to the north-east beats its mirror image."""
    y, x = np.mgrid[60:0:-1, :60]
    truth = (10 * np.sin((x - y) / 4)).astype("f4")
    values = np.where(np.random.default_rng(1).random(truth.shape) < 0.08, truth, np.float32(np.nan))
    error = {}
    for angle in (45.0, -45.0):
        model = Covariance((Structure("matern32", 50.0, 3000.0, angle=angle, ratio=0.1),), 0.01)
        done = complete(on_grid(values), Kriging(covariance=model))
        error[angle] = float(np.sqrt(np.mean((done["mean"].values[0] - truth) ** 2)))
    assert error[45.0] < 0.3 * error[-45.0]


def test_every_band_is_fitted_alone(jacksboro: np.ndarray) -> None:
    first = crop(jacksboro, 50, 50)
    second = 3 * crop(jacksboro, 50, 50, seed=1) + 7
    both, alone = (
        complete(on_grid(np.stack([first, second])), Kriging()),
        complete(on_grid(second), Kriging()),
    )
    np.testing.assert_allclose(both["mean"].values[1], alone["mean"].values[0], rtol=1e-6)
    np.testing.assert_allclose(both["variance"].values[1], alone["variance"].values[0], rtol=1e-5)


def test_many_bands_share_a_few_fits(jacksboro: np.ndarray) -> None:
    scale = np.arange(1, 10, dtype="f4")
    values = crop(jacksboro, 40, 40)[None] * scale[:, None, None]
    method = Kriging().prepare(on_grid(values))
    assert sum(fit is not None for fit in method.fits) == 3
    sills = np.array([band.solver.covariance.total_sill for band in method.bands])
    np.testing.assert_allclose(sills / scale**2, sills[1] / scale[1] ** 2, rtol=0.02)


def test_kinds_differ_and_are_named(survey: xr.DataArray) -> None:
    ordinary, simple, universal = (
        complete(survey, Kriging(covariance=MODEL, kind=kind)) for kind in ("ordinary", "simple", "universal")
    )
    holes = np.isnan(survey.values)[None]
    # With the mean of least squares, simple kriging differs in its variance alone.
    np.testing.assert_allclose(simple["mean"], ordinary["mean"], rtol=1e-5)
    assert 0 < np.abs(universal["mean"] - ordinary["mean"]).values[holes].mean() < 5
    low, middle, high = (d["variance"].values[holes] for d in (simple, ordinary, universal))
    assert (low <= middle).all()
    assert (middle <= high * (1 + 1e-6)).all()
    assert low.mean() < middle.mean() < high.mean()


def test_universal_kriging_carries_a_slope_across() -> None:
    y, x = np.mgrid[:40, :80].astype("f4")
    truth = 2 * x - y
    values = np.where(np.random.default_rng(0).random(truth.shape) < 0.3, truth, np.float32(np.nan))
    values[:, 50:] = np.nan
    model = Covariance((Structure("exponential", 1.0, 300.0),), 0.01)
    done = complete(on_grid(values), Kriging(covariance=model, kind="universal"))
    np.testing.assert_allclose(done["mean"].values[0], truth, atol=0.05)


def test_the_description_repeats_the_result(survey: xr.DataArray) -> None:
    first = Kriging(seed=2).prepare(as_field(survey))
    told = first.describe()
    assert told["method"] == "kriging"
    assert told["nugget"] == "in"
    covariance = Covariance.from_json(told["covariance_1"])
    assert json.loads(told["covariance_1"])["metric"] == "euclidean"
    xr.testing.assert_identical(
        complete(survey, Kriging(covariance=covariance)), complete(survey, Kriging(seed=2))
    )


def test_single_precision_is_close(survey: xr.DataArray) -> None:
    double, single = complete(survey, GIVEN), complete(survey, Kriging(covariance=MODEL, dtype="float32"))
    deviation = np.sqrt(double["variance"].values) + 1e-3
    assert (np.abs(single["mean"] - double["mean"]).values < 0.02 * deviation).all()


@pytest.mark.filterwarnings("ignore:band 1:geonp.errors.GeonpWarning")
@pytest.mark.parametrize("count", [3, 12])
def test_few_observations_suffice(count: int) -> None:
    rng = np.random.default_rng(count)
    values = np.full((30, 30), np.nan, "f4")
    values.flat[rng.permutation(900)[:count]] = rng.normal(100, 5, count)
    done = complete(on_grid(values), Kriging())
    assert np.isfinite(done["mean"].values).all()
    assert 80 < done["mean"].values.min() < done["mean"].values.max() < 120
    assert (done["variance"].values[0][np.isnan(values)] > 0).all()


def test_alarms_of_the_fit_are_warnings() -> None:
    rng = np.random.default_rng(12)
    values = np.full((30, 30), np.nan, "f4")
    values.flat[rng.permutation(900)[:12]] = rng.normal(100, 5, 12)
    with pytest.warns(GeonpWarning, match="^band 1: "):
        Kriging().prepare(on_grid(values))


def test_memory_is_foretold_and_does_not_show(jacksboro: np.ndarray) -> None:
    field = on_grid(crop(jacksboro, 130, 150))
    frugal = Kriging(covariance=MODEL, memory=1 << 22)
    assert frugal.prepare(field).bytes_needed() < GIVEN.prepare(field).bytes_needed()
    assert GIVEN.bytes_needed() == 0
    xr.testing.assert_identical(complete(field, GIVEN), complete(field, frugal))


def test_a_small_survey_too_large_for_the_memory_is_kriged_in_tiles(survey: xr.DataArray) -> None:
    field = as_field(survey)
    assert GIVEN.prepare(field).bands[0].exact
    assert not Kriging(covariance=MODEL, memory=1 << 22).prepare(field).bands[0].exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cokriging"}, "unknown kind of kriging 'cokriging'"),
        ({"neighbours": 0}, "0 neighbours is impossible"),
        ({"dtype": "float16"}, "dtype is 'float64' or 'float32'"),
        ({"memory": 10}, "10 bytes of memory are too few"),
        (
            {"covariance": Covariance((Structure("exponential", 1.0, 1e5),), 0.0, metric="great-circle")},
            "rasters are kriged in metres",
        ),
        (
            {"covariance": Covariance((Structure("power", 1.0, 1e5, exponent=1.0),), 0.0), "kind": "simple"},
            "no sill",
        ),
    ],
)
def test_impossible_parameters_are_refused_at_once(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Kriging(**options)


def test_a_missing_device_is_named(survey: xr.DataArray) -> None:
    with pytest.raises(UsageError, match="there is no device 'tpu'"):
        Kriging(covariance=MODEL, device="tpu").prepare(as_field(survey))


def test_it_must_be_prepared_for_the_bands_it_is_given(survey: xr.DataArray) -> None:
    field = as_field(survey)
    with pytest.raises(UsageError, match=r"prepared for 0 band\(s\) and was given 1; call prepare"):
        GIVEN.complete(field.values, (90.0, 90.0), Place.whole(survey.shape))


def test_a_band_without_observations_is_refused() -> None:
    with pytest.raises(InputError, match="no pixel is observed"):
        GIVEN.prepare(on_grid(np.full((8, 8), np.nan, "f4")))


def test_a_range_in_degrees_is_not_taken_for_metres(survey: xr.DataArray) -> None:
    degrees = Covariance((Structure("exponential", 400.0, 0.01),), 4.0)
    with pytest.warns(GeonpWarning, match="a degree of latitude is 111 km"):
        Kriging(covariance=degrees).prepare(as_field(survey))


def test_covariances_are_given_one_a_band(jacksboro: np.ndarray) -> None:
    bands = np.stack([crop(jacksboro, 60, 50), crop(jacksboro, 60, 50, seed=1)])
    other = Covariance((Structure("spherical", 100.0, 900.0),), 1.0)
    both = complete(on_grid(bands), Kriging(covariance=(MODEL, other)))
    for i, model in enumerate((MODEL, other)):
        alone = complete(on_grid(bands[i : i + 1]), Kriging(covariance=model))
        np.testing.assert_array_equal(both["mean"].values[i], alone["mean"].values[0])
    with pytest.raises(UsageError, match=r"2 covariances are given for 1 band"):
        Kriging(covariance=(MODEL, other)).prepare(on_grid(bands[:1]))


def test_a_covariance_that_is_given_is_turned(jacksboro: np.ndarray) -> None:
    field = on_grid(crop(jacksboro, 60, 50))
    plain = Covariance((Structure("matern32", 400.0, 600.0),), 4.0)
    turned = complete(field, Kriging(covariance=plain, anisotropy=(30.0, 0.6)))
    xr.testing.assert_identical(turned, complete(field, GIVEN))
