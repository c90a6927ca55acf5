"""What every method keeps to, whatever it computes."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import cache

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.errors import UsageError
from geonp.methods import METHODS, method_class, with_variance
from geonp.methods.base import Method
from geonp.methods.flagship import Flagship
from geonp.methods.inr import Inr
from geonp.predict import complete

# A network has no weights of its own to be tested with; its tests are beside its training.
# `neural` needs a model; `imagery` is `bundled` with other weights.
NAMES = [name for name in METHODS if name not in ("neural", "imagery")]
NORTH_UP = Affine(90, 0, 500_000, 0, -90, 4_000_000)
WITH_DEFAULTS = pytest.mark.parametrize("name", NAMES)

pytestmark = [
    pytest.mark.filterwarnings("ignore:bicubic needs:geonp.errors.GeonpWarning"),
    pytest.mark.filterwarnings("ignore:band 1. all observations have the same:geonp.errors.GeonpWarning"),
]

# Share of pixels that may differ between a raster completed in windows and at once: those in slivers of
# triangles along the edge of the observations, which no halo can hold.
SLIVERS = {"linear": 0.01, "cubic": 0.02, "bicubic": 0.02}

# Kriging searches for its anisotropy by compass direction: a mirrored grid is fitted by another path.
MIRRORED = {"kriging": 0.01}

Run = Callable[[str], xr.Dataset]


def build(name: str) -> Method:
    # From eight sides the network takes eight times as long, and is held to nothing more here.
    if name == "bundled":
        return Flagship(orientations=1)
    if name == "inr":
        return Inr(frequencies=48, width=48, steps=150)
    return method_class(name)()


def run(name: str, field: xr.DataArray, tile: int = 1024) -> xr.Dataset:
    method = build(name)
    return complete(field, method, variance=method.has_variance, tile=tile)


@pytest.fixture(scope="module")
def values(jacksboro: np.ndarray) -> np.ndarray:
    """A window of a real DEM, metres, 12.5 % observed."""
    truth = jacksboro[100:180, 120:190]
    seen = np.random.default_rng(0).random(truth.shape) < 0.125
    return np.where(seen, truth, np.float32(np.nan))


@pytest.fixture(scope="module")
def once(values: np.ndarray) -> Run:
    """Complete that window on a 90 m grid: once for each method, however many tests look at it."""
    return cache(lambda name: run(name, on_grid(values, NORTH_UP)))


def on_grid(values: np.ndarray, affine: Affine, crs: str = "EPSG:32616") -> xr.DataArray:
    return wrap_xr(values, GeoBox(values.shape[-2:], affine, crs), axis=values.ndim - 2)


@pytest.mark.parametrize("name", METHODS)
def test_the_registry_tells_the_truth(name: str) -> None:
    found = method_class(name)
    assert found.name == name
    assert found.has_variance == METHODS[name].has_variance == (name in with_variance())
    assert issubclass(found, Method)
    assert is_dataclass(found)
    assert found.__dataclass_params__.frozen
    assert "Gives up:" in inspect.getdoc(found) or found.has_variance
    assert not inspect.isabstract(found)


def test_an_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(
        UsageError, match=r"no method 'krigging'; did you mean kriging.*methods are: .*nearest"
    ):
        method_class("krigging")
    with pytest.raises(UsageError, match="no method 'zzz'; the methods are"):
        method_class("zzz")


def test_naming_the_methods_imports_none_of_them() -> None:
    heavy = "torch", "scipy", "pykrige", "rasterio", "xarray", "numpy"
    code = f"import geonp.methods, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@WITH_DEFAULTS
def test_finite_everywhere_float32_and_observations_kept(name: str, values: np.ndarray, once: Run) -> None:
    done, field = once(name), on_grid(values, NORTH_UP)
    seen = np.isfinite(values)
    for layer in done.values():
        assert layer.dtype == np.float32
        assert layer.dims == ("band", "y", "x")
        assert np.isfinite(layer.values).all()
        xr.testing.assert_identical(layer.y, field.y)
        xr.testing.assert_identical(layer.x, field.x)
    np.testing.assert_array_equal(done["mean"].values[0][seen], values[seen])
    if METHODS[name].has_variance:
        assert (done["variance"].values[0][seen] == 0).all()
        assert (done["variance"].values[0][~seen] > 0).all()


@WITH_DEFAULTS
def test_it_has_learnt_something(name: str, values: np.ndarray, jacksboro: np.ndarray, once: Run) -> None:
    truth, hole = jacksboro[100:180, 120:190], np.isnan(values)
    error = once(name)["mean"].values[0][hole] - truth[hole]
    assert np.sqrt(np.mean(error**2)) < 0.35 * truth.std()


@WITH_DEFAULTS
def test_where_the_grid_lies_does_not_matter(name: str, values: np.ndarray, once: Run) -> None:
    """Elsewhere, the same bytes; south up, mirrored, rotated: the same pixels get the same values."""
    if name == "bundled":
        pytest.skip(
            "from one side the network sees a mirrored grid as other terrain; from eight it is tested apart"
        )
    plain = once(name)
    elsewhere = run(name, on_grid(values, Affine(90, 0, 123_450, 0, -90, 7_654_321)))
    for layer in plain:
        np.testing.assert_array_equal(elsewhere[layer], plain[layer].values)
    tolerance = MIRRORED.get(name, 1e-5)
    for affine in (
        Affine(90, 0, 500_000, 0, 90, 4_000_000),
        Affine(-90, 0, 500_000, 0, -90, 4_000_000),
        Affine.translation(500_000, 4_000_000) * Affine.rotation(30) * Affine.scale(90, -90),
    ):
        turned = run(name, on_grid(values, affine))["mean"]
        np.testing.assert_allclose(turned, plain["mean"].values, atol=tolerance * np.nanstd(values))


@WITH_DEFAULTS
def test_a_constant_stays_that_constant(name: str, values: np.ndarray) -> None:
    flat = on_grid(np.where(np.isnan(values), np.nan, 7).astype("f4"), NORTH_UP)
    np.testing.assert_array_equal(run(name, flat)["mean"], 7)
    # And without the gate that keeps such bands away from the methods:
    field = flat.expand_dims("band")
    np.testing.assert_allclose(build(name).prepare(field).predict(field)["mean"], 7, rtol=1e-5)


@WITH_DEFAULTS
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_the_field_does_not_matter(
    name: str, factor: float, values: np.ndarray, once: Run
) -> None:
    if name == "pykrige":
        pytest.skip("PyKrige's own fit of the variogram depends on the unit: its loss is not scale-free")
    metres, other = once(name), run(name, on_grid(values * np.float32(factor), NORTH_UP))
    deviation = float(np.nanstd(values))
    # The network computes in bfloat16, of 8 bits, where the processor does: a rounding more is 2^-8.
    close = 2**-8 if name == "bundled" else 2e-3
    np.testing.assert_allclose(other["mean"] / factor, metres["mean"], atol=close * deviation, rtol=1e-5)
    if METHODS[name].has_variance:
        np.testing.assert_allclose(other["variance"] / factor**2, metres["variance"], rtol=0.02, atol=1e-6)


@WITH_DEFAULTS
def test_distances_are_metric(name: str, values: np.ndarray, once: Run) -> None:
    """The same survey on pixels a third as wide is completed alike; taken for square, it is not."""
    if name == "fillnodata":
        pytest.skip("GDAL counts distances in pixels, and fillnodata says so")
    if name == "bundled":
        pytest.skip(
            "its kriging is metric; the network corrects patterns of pixels, and the model card says so"
        )
    wide = np.full((values.shape[0], 3 * values.shape[1] - 2), np.nan, "f4")
    wide[:, ::3] = values
    square = once(name)["mean"].values[0]
    right = run(name, on_grid(wide, Affine(30, 0, 5e5, 0, -90, 4e6)))["mean"].values[0, :, ::3]
    wrong = run(name, on_grid(wide, Affine(90, 0, 5e5, 0, -90, 4e6)))["mean"].values[0, :, ::3]
    off = np.sqrt(np.mean((right - square) ** 2))
    assert off < 0.25 * np.sqrt(np.mean((wrong - square) ** 2))


@WITH_DEFAULTS
def test_windows_leave_no_trace(name: str, jacksboro: np.ndarray) -> None:
    seen = np.random.default_rng(3).random(jacksboro[:200, :180].shape) < 0.125
    seen[60:90, 70:110] = False
    field = on_grid(
        np.where(seen, jacksboro[:200, :180], np.nan).astype("f4"), Affine(90, 0, 5e5, 0, -90, 4e6)
    )
    whole, tiled = run(name, field), run(name, field, tile=64)
    deviation = float(field.std())
    off = np.abs(tiled["mean"] - whole["mean"]).values > 1e-4 * deviation
    assert off.mean() <= SLIVERS.get(name, 0)
    if METHODS[name].has_variance:
        np.testing.assert_allclose(tiled["variance"], whole["variance"], atol=1e-4 * deviation**2)


@WITH_DEFAULTS
def test_bands_are_independent(name: str, values: np.ndarray, once: Run) -> None:
    turned = values[::-1, ::-1].copy()
    both = run(name, on_grid(np.stack([values, turned]), NORTH_UP))
    for layer, alone in once(name).items():
        np.testing.assert_allclose(both[layer][0], alone[0], rtol=1e-4, atol=1e-3)
