"""A truth on the survey's pixels: shifted by whole ones, never resampled, refused with the command that warps."""

import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.align import beside
from geonp.errors import GeonpWarning, InputError
from geonp.field import Window

CRS = "EPSG:32616"
TURNED = Affine.translation(500_000, 4_000_000) * Affine.rotation(30) * Affine.scale(30, -20)
NORTH_UP = Affine.translation(500_000, 4_000_000) * Affine.scale(30, -20)


def on(affine: Affine, rows: int = 20, cols: int = 26, crs: str | None = CRS, seed: int = 0) -> xr.DataArray:
    values = np.random.default_rng(seed).normal(size=(rows, cols)).astype("f4")
    return wrap_xr(values, GeoBox((rows, cols), affine, crs))


@pytest.mark.parametrize("affine", [NORTH_UP, TURNED], ids=["north up", "rotated"])
@pytest.mark.parametrize(("row", "col"), [(0, 0), (3, 5), (-4, 2), (-2, -3)])
def test_pixels_fall_onto_each_other(affine: Affine, row: int, col: int) -> None:
    """Every truth pixel is found where its centre lies on the survey."""
    survey = on(affine)
    truth = on(affine * Affine.translation(col, row), 17, 19, seed=1)
    with pytest.warns(GeonpWarning, match=f"moved by {row} rows and {col} columns"):
        placed = beside(truth, survey)
    got = placed.load(Window.whole((20, 26)))[0]
    for r in range(20):
        for c in range(26):
            inside = 0 <= r - row < 17 and 0 <= c - col < 19
            expected = float(truth[r - row, c - col]) if inside else np.nan
            np.testing.assert_equal(float(got[r, c]), expected)
    part = placed.load(Window(4, 6, 9, 11))[0]
    np.testing.assert_array_equal(part, got[4:13, 6:17])


def test_the_same_grid_needs_no_note() -> None:
    placed = beside(on(NORTH_UP, seed=1), on(NORTH_UP))
    assert (placed.row, placed.col) == (0, 0)


@pytest.mark.parametrize(
    ("affine", "crs"),
    [
        (NORTH_UP * Affine.scale(2, 2), CRS),
        (NORTH_UP * Affine.translation(0.5, 0), CRS),
        (NORTH_UP * Affine.scale(1, -1), CRS),
        (TURNED, CRS),
        (NORTH_UP, "EPSG:32617"),
        (NORTH_UP * Affine.scale(1.001, 1), CRS),
    ],
    ids=["coarser", "half a pixel", "south up", "rotated", "another CRS", "stretched"],
)
def test_other_grids_are_refused_with_the_command_that_warps(affine: Affine, crs: str) -> None:
    with pytest.raises(InputError, match=r"rio warp truth\.tif .* --like survey\.tif"):
        beside(on(affine, crs=crs), on(NORTH_UP))


def test_the_two_must_overlap_and_have_the_same_bands() -> None:
    with pytest.raises(InputError, match="40 rows and 0 columns away"):
        beside(on(NORTH_UP * Affine.translation(0, 40)), on(NORTH_UP))
    with pytest.raises(InputError, match=r"2 band\(s\), the survey 1"):
        beside(xr.concat([on(NORTH_UP)] * 2, "band"), on(NORTH_UP))


def test_without_coordinates_the_shape_decides() -> None:
    bare = xr.DataArray(np.zeros((20, 26), "f4"), dims=("y", "x"))
    assert beside(bare, bare).row == 0
    with pytest.warns(GeonpWarning, match="pixel by pixel"):
        beside(bare, on(NORTH_UP))
    with pytest.raises(InputError, match=r"20 x 26.*10 x 26"):
        beside(bare, bare[:10])
    with pytest.warns(GeonpWarning, match="truth has no CRS"):
        beside(on(NORTH_UP, crs=None), on(NORTH_UP))


def test_one_pixel() -> None:
    """A grid of one pixel has a size and a place too."""
    survey = on(NORTH_UP)[3:4, 5:6]
    with pytest.warns(GeonpWarning, match="moved by -3 rows and -5 columns"):
        placed = beside(on(NORTH_UP, seed=1), survey)
    assert placed.load(Window.whole((1, 1))).item() == float(on(NORTH_UP, seed=1)[3, 5])


def test_one_system_in_two_wordings_is_one() -> None:
    """As ESRI writes it, and as EPSG does."""
    from pyproj import CRS as System

    esri = System.from_epsg(32616).to_wkt("WKT1_ESRI")
    assert esri != System.from_epsg(32616).to_wkt()
    assert beside(on(NORTH_UP, crs=esri), on(NORTH_UP)).row == 0
