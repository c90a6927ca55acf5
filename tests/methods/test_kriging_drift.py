"""Kriging of rasters whose mean follows other rasters."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy.ndimage import gaussian_filter

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.field import Window, as_field
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.points import Observations
from geonp.kriging.scattered import PointKriging
from geonp.methods.drift import Drift
from geonp.methods.kriging import Kriging
from geonp.predict import complete

MODEL = Covariance((Structure("matern32", 4.0, 400.0),), 0.02)
CRS = "EPSG:32616"


def smooth(shape: tuple[int, int], width: float, seed: int) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width, mode="wrap")
    return field / field.std()


def on_grid(
    values: np.ndarray, spacing: float = 30.0, corner: tuple[float, float] = (500_000.0, 4_000_000.0)
) -> xr.DataArray:
    box = GeoBox(values.shape, Affine(spacing, 0, corner[0], 0, -spacing, corner[1]), CRS)
    return as_field(wrap_xr(values.astype("f4"), box))


def scene(
    shape: tuple[int, int] = (96, 80), share: float = 0.06
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the drift, the field that is three times it and a smooth rest, and what is seen of that."""
    terrain = smooth(shape, 2.0, 1) * 10 + 500
    truth = 3 * terrain + 2 * smooth(shape, 12.0, 2)
    rng = np.random.default_rng(3)
    truth += 0.3 * rng.standard_normal(shape)
    seen = rng.random(shape) < share
    return terrain, truth, np.where(seen, truth, np.nan)


def rmse(done: xr.Dataset, truth: np.ndarray, seen: np.ndarray) -> float:
    return float(np.sqrt(np.mean((done["mean"].values[0] - truth)[np.isnan(seen)] ** 2)))


def test_a_field_that_follows_terrain_is_recovered_far_better() -> None:
    terrain, truth, seen = scene()
    plain = complete(on_grid(seen), Kriging())
    drifting = complete(on_grid(seen), Kriging(drift=on_grid(terrain)))
    assert rmse(drifting, truth, seen) < 0.1 * rmse(plain, truth, seen)
    holes = np.isnan(seen)
    error = (drifting["mean"].values[0] - truth)[holes] / np.sqrt(drifting["variance"].values[0][holes])
    assert 0.9 < np.sqrt(np.mean(error**2)) < 1.1


@pytest.mark.parametrize("share", [0.03, 0.4])
def test_windows_leave_no_trace(share: float) -> None:
    terrain, _, seen = scene((150, 140), share)
    seen[40:110, 50:120] = np.nan  # a gap, which is filled from far neighbours
    method = Kriging(covariance=MODEL, drift=on_grid(terrain))
    assert method.prepare(on_grid(seen)).bands[0].exact == (share < 0.1)
    whole, tiled = (complete(on_grid(seen), method, tile=t) for t in (1024, 50))
    xr.testing.assert_identical(whole, tiled)


def test_a_small_survey_is_that_of_scattered_points() -> None:
    terrain, _, seen = scene((40, 30))
    done = complete(on_grid(seen), Kriging(covariance=MODEL, drift=on_grid(terrain)))
    rows, cols = np.nonzero(np.isfinite(seen))
    place = np.stack([rows, cols], 1) * [-30.0, 30.0]
    values, heights = (a.astype("f4").astype("f8")[rows, cols] for a in (seen, terrain))
    ready = PointKriging.of(place, values, MODEL, drift=heights)
    targets = np.argwhere(np.isnan(seen))
    mean, variance = ready.predict(targets * [-30.0, 30.0], terrain.astype("f4")[tuple(targets.T)])
    np.testing.assert_allclose(done["mean"].values[0][tuple(targets.T)], mean, rtol=1e-6)
    np.testing.assert_allclose(done["variance"].values[0][tuple(targets.T)], variance + 0.02, rtol=1e-4)
    assert isinstance(ready.observations, Observations)


def test_several_drifts_and_bands_of_one_raster_are_the_same() -> None:
    terrain, truth, seen = scene()
    other = smooth(terrain.shape, 3.0, 8)
    truth, seen = truth - 20 * other, seen - 20 * other
    rasters = (on_grid(terrain), on_grid(other))
    apart = complete(on_grid(seen), Kriging(covariance=MODEL, drift=rasters))
    stacked = as_field(xr.concat([r.isel(band=0) for r in rasters], "band"))
    together = complete(on_grid(seen), Kriging(covariance=MODEL, drift=stacked))
    xr.testing.assert_identical(apart, together)
    alone = complete(on_grid(seen), Kriging(covariance=MODEL, drift=rasters[0]))
    assert rmse(apart, truth, seen) < 0.1 * rmse(alone, truth, seen)


def test_scale_and_origin_of_a_drift_do_not_matter() -> None:
    terrain, _, seen = scene()
    one, two = (
        complete(on_grid(seen), Kriging(covariance=MODEL, drift=on_grid(d)))
        for d in (terrain, 8 * terrain - 64)
    )
    np.testing.assert_allclose(one["mean"], two["mean"], rtol=1e-6)
    np.testing.assert_allclose(one["variance"], two["variance"], rtol=1e-3)


def test_a_drift_on_another_grid_is_interpolated_at_the_pixels() -> None:
    y, x = np.mgrid[3_990_000:4_003_000:45, 498_000:510_000:45] + 22.5
    plane = on_grid((0.01 * x - 0.02 * y)[::-1], 45.0, (498_000.0, float(y.max()) + 22.5))
    survey = on_grid(np.zeros((96, 80)))
    with pytest.warns(GeonpWarning, match=r"the drift raster 1 is interpolated on the survey's grid"):
        found = Drift.of([plane], survey)
    window = Window(7, 9, 20, 30)
    rows, cols = np.mgrid[7:27, 9:39]
    expected = 0.01 * (500_000 + 30 * (cols + 0.5)) - 0.02 * (4_000_000 - 30 * (rows + 0.5))
    np.testing.assert_allclose(found.window(window)[0], expected, atol=0.02)
    inner = found.window(Window(10, 12, 5, 6))
    np.testing.assert_array_equal(inner, found.window(window)[:, 3:8, 3:9])


def test_a_finer_drift_is_averaged_and_one_in_degrees_is_found() -> None:
    fine = np.random.default_rng(0).standard_normal((400, 400)) + np.arange(400)
    survey = on_grid(np.zeros((90, 80)))
    with pytest.warns(GeonpWarning, match="averaged"):
        found = Drift.of([on_grid(fine, 7.5)], survey).window(Window(0, 0, 90, 80))[0]
    blocks = fine[:360, :320].astype("f4").reshape(90, 4, 80, 4).mean((1, 3))
    np.testing.assert_allclose(found, blocks, atol=1e-3)
    rows, cols = np.mgrid[:400, :400]
    lon, lat = -87.05 + (cols + 0.5) * 5e-4, 36.2 - (rows + 0.5) * 5e-4
    box = GeoBox((400, 400), Affine(5e-4, 0, -87.05, 0, -5e-4, 36.2), "EPSG:4326")
    with pytest.warns(GeonpWarning, match="interpolated"):
        at = Drift.of([as_field(wrap_xr((lon + 10 * lat).astype("f8"), box))], survey).window(
            Window(0, 0, 1, 1)
        )
    from pyproj import Transformer

    here = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(500_015, 3_999_985)
    assert at[0, 0, 0] == pytest.approx(here[0] + 10 * here[1], abs=1e-3)


def test_what_cannot_be_followed_is_explained() -> None:
    terrain, _, seen = scene((40, 30))
    field = on_grid(seen)

    def failing(*drift: xr.DataArray, **options: object) -> None:
        Kriging(covariance=MODEL, drift=drift, **options).prepare(field)

    holey = terrain.copy()
    holey[20, 10] = np.nan
    with pytest.raises(InputError, match=r"not known at 1 of 1200 pixels.*row 20, column 10"):
        failing(on_grid(holey))
    with pytest.raises(InputError, match="is constant at the observations"):
        failing(on_grid(np.full((40, 30), 7.0)))
    with pytest.raises(InputError, match="must cover the whole survey"), pytest.warns(GeonpWarning):
        failing(on_grid(terrain[:20]))
    with pytest.raises(InputError, match="must cover the whole survey"), pytest.warns(GeonpWarning):
        failing(on_grid(terrain, corner=(900_000.0, 4_000_000.0)))
    with pytest.raises(InputError, match="without coordinates"):
        failing(as_field(xr.DataArray(terrain, dims=("y", "x"))))
    with pytest.raises(InputError, match="has no CRS"):
        failing(_without_crs(terrain[:20]))
    with pytest.raises(UsageError, match="takes no drift"):
        failing(on_grid(terrain), kind="simple")


def _without_crs(values: np.ndarray) -> xr.DataArray:
    rows, cols = values.shape
    coords = {"y": 4_000_000 - 30 * (np.arange(rows) + 0.5), "x": 500_000 + 30 * (np.arange(cols) + 0.5)}
    return as_field(xr.DataArray(values, coords, ("y", "x")))


def test_arrays_without_coordinates_are_followed_pixel_by_pixel() -> None:
    terrain, truth, seen = scene((40, 30))
    bare = as_field(xr.DataArray(seen.astype("f4"), dims=("y", "x")))
    drift = as_field(xr.DataArray(terrain.astype("f4"), dims=("y", "x")))
    model = Covariance((Structure("matern32", 4.0, 12.0),), 0.02)
    with pytest.warns(GeonpWarning, match="no coordinate reference system"):
        done = complete(bare, Kriging(covariance=model, drift=drift))
    assert rmse(done, truth, seen) < 1.0


def test_the_accessor_takes_a_method_with_a_drift() -> None:
    terrain, truth, seen = scene((40, 30))
    done = on_grid(seen).geonp.complete(Kriging(drift=on_grid(terrain).rename("terrain")))
    assert rmse(done, truth, seen) < 1.0
    ready = Kriging(covariance=MODEL, drift=on_grid(terrain).rename("terrain")).prepare(on_grid(seen))
    assert ready.describe()["drift"] == "terrain"
