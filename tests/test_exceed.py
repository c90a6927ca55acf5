"""Probabilities, quantiles and areal statistics, against theory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import shapely
import torch
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.exceedance import areas, blocks, exceed, pixel_areas, probability, quantile, table
from geonp.field import as_field
from geonp.io.zones import polygons
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.kriging import Kriging
from geonp.predict import complete

COVARIANCE = Covariance((Structure("matern32", 2500.0, 900.0),), 9.0)
KRIGED = Kriging(covariance=COVARIANCE)


def write(path: Path, shapes: list[shapely.Geometry], names: list[str], crs: str = "EPSG:32616") -> Path:
    geometry = np.array([shapely.to_wkb(s) for s in shapes], object)
    kind = shapes[0].geom_type
    pyogrio.raw.write(
        path, geometry, [np.array(names, object)], ["name"], geometry_type=kind, crs=crs, driver="GPKG"
    )
    return path


def corner_of(survey: xr.DataArray) -> tuple[float, float]:
    affine = survey.odc.geobox.affine
    return affine.c, affine.f


def test_probabilities_are_those_of_the_normal_distribution() -> None:
    mean, variance = np.array([0.0, 1.0, 5.0, 5.0, np.nan]), np.array([1.0, 4.0, 0.0, 0.0, np.nan])
    found = probability(mean, variance, 1.0)
    np.testing.assert_allclose(found[:3], [0.5 * math.erfc(1 / math.sqrt(2)), 0.5, 1.0], rtol=1e-6)
    assert np.isnan(found[4])
    assert probability(np.array([1.0]), np.array([0.0]), 1.0)[0] == 0  # more than, not as much as
    assert probability(np.array([0.0]), np.array([1.0]), 8.0)[0] == pytest.approx(0.5 * math.erfc(8 / 2**0.5))
    assert quantile(np.array([3.0]), np.array([4.0]), 0.9)[0] == pytest.approx(3 + 2 * 1.2815516)
    for q in (0.0, 1.0, -1.0):
        with pytest.raises(UsageError, match="between 0 and 1"):
            quantile(mean, variance, q)


def test_the_probability_raster(survey: xr.DataArray) -> None:
    field = survey[:40, :40]
    found = exceed(field, 850.0, KRIGED).values[0]
    done = complete(field, KRIGED)
    seen = np.isfinite(field.values)
    np.testing.assert_array_equal(found[seen], field.values[seen] > 850)
    at = (7, 9) if not seen[7, 9] else (7, 10)
    z = (float(done["mean"][0][at]) - 850) / float(done["variance"][0][at]) ** 0.5
    assert found[at] == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)), abs=1e-5)


def test_the_deviation_of_a_block_is_that_of_block_kriging(survey: xr.DataArray) -> None:
    field = survey[:24, :24]
    n = 400
    found = areas(field, blocks((24, 24), 12), KRIGED, n=n, seed=2)
    assert [report.zone for report in found] == ["1,1", "1,2", "2,1", "2,2"]
    places = np.stack(np.meshgrid(np.arange(24) * 90.0, np.arange(24) * 90.0, indexing="ij"), -1).reshape(
        -1, 2
    )
    c = COVARIANCE(torch.from_numpy(places), torch.from_numpy(places)).numpy()
    seen = np.isfinite(field.values).ravel()
    z = field.values.ravel()[seen].astype(float)
    a = np.block([[c[np.ix_(seen, seen)] + 9 * np.eye(seen.sum()), np.ones((seen.sum(), 1))]])
    a = np.vstack([a, np.append(np.ones(seen.sum()), 0)])
    b = np.vstack([c[np.ix_(seen, ~seen)], np.ones((~seen).sum())])
    weights = np.linalg.solve(a, b)
    mean, errors = np.zeros(576), np.zeros((576, 576))
    mean[seen], mean[~seen] = z, weights[:-1].T @ z
    errors[np.ix_(~seen, ~seen)] = c[np.ix_(~seen, ~seen)] - b.T @ weights + 9 * np.eye((~seen).sum())
    for report, row, col in zip(found, (0, 0, 12, 12), (0, 12, 0, 12), strict=True):
        inside = np.zeros((24, 24), bool)
        inside[row : row + 12, col : col + 12] = True
        own = inside.ravel()
        spread = math.sqrt(errors[np.ix_(own, own)].mean())
        assert report.mean.std == pytest.approx(spread, rel=4.5 / math.sqrt(2 * n))
        assert report.mean.mean == pytest.approx(mean[own].mean(), abs=4.5 * spread / math.sqrt(n))
        assert report.volume.mean == pytest.approx(report.mean.mean * 144 * 8100, rel=1e-9)
        # An average of variances would be far too wide, the mean's variance over n far too narrow.
        assert spread < 0.5 * math.sqrt(errors.diagonal()[own].mean())
        assert spread > 1.3 * math.sqrt(errors.diagonal()[own].mean() / 144)


def test_areas_above_agree_with_the_probabilities(survey: xr.DataArray) -> None:
    field = survey[:40, :40]
    (found,) = areas(field, blocks((40, 40), 40), KRIGED, threshold=850.0, n=200)
    expected = float(exceed(field, 850.0, KRIGED).sum()) * 8100
    assert found.above is not None
    assert found.volume_above is not None
    assert found.above.mean == pytest.approx(expected, abs=5 * found.above.std / math.sqrt(200))
    assert found.above.low < found.above.mean < found.above.high
    assert 0 < found.volume_above.mean < found.volume.mean
    assert found.pixels == 1600


def test_tables(survey: xr.DataArray) -> None:
    found = areas(survey[:20, :20], blocks((20, 20), 10), KRIGED, n=5)
    lines = table(found).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("| zone | band | pixels | area | mean | mean_std |")
    assert "area_above" not in lines[0]
    assert table(found, "csv").splitlines()[1].startswith('"1,1",1,100,810000,')


def test_polygons_become_pixels(survey: xr.DataArray, tmp_path: Path) -> None:
    field = as_field(survey)
    x0, y1 = corner_of(survey)
    square = shapely.box(x0 + 900, y1 - 2700, x0 + 1800, y1 - 900)
    speck = shapely.box(x0 + 10, y1 - 20, x0 + 20, y1 - 10)
    found = polygons(write(tmp_path / "a.gpkg", [square, speck], ["pit", "speck"]), field)
    assert [area.name for area in found] == ["pit", "speck"]
    assert (found[0].window.row, found[0].window.col) == (10, 10)
    assert found[0].inside.shape == (20, 10)
    assert found[0].inside.all()
    assert found[1].inside.sum() == 1
    reports = areas(survey, found, KRIGED, n=3, tile=16)
    whole = areas(survey, found, KRIGED, n=3)
    assert reports[0].mean.mean == pytest.approx(whole[0].mean.mean, rel=1e-5)
    assert reports[0].area == pytest.approx(200 * 8100)


def test_polygons_in_another_crs_and_over_the_edge(survey: xr.DataArray, tmp_path: Path) -> None:
    from pyproj import Transformer

    onto = Transformer.from_crs("EPSG:32616", "EPSG:4326", always_xy=True)
    x0, y1 = corner_of(survey)
    corners = [(x0 + 900, y1 - 900), (x0 + 1800, y1 - 900), (x0 + 1800, y1 - 2700), (x0 + 900, y1 - 2700)]
    turned = shapely.Polygon([onto.transform(*corner) for corner in corners])
    (found,) = polygons(write(tmp_path / "b.gpkg", [turned], ["b"], "EPSG:4326"), as_field(survey))
    assert abs(int(found.inside.sum()) - 200) <= 2
    half = write(tmp_path / "c.gpkg", [shapely.box(x0 - 900, y1 - 1800, x0 + 900, y1)], ["half"])
    with pytest.warns(GeonpWarning, match="50% of polygon 'half'"):
        (found,) = polygons(half, as_field(survey))
    assert found.inside.sum() == 200


def test_polygons_that_cannot_be_used(survey: xr.DataArray, tmp_path: Path) -> None:
    field = as_field(survey)
    far = write(tmp_path / "far.gpkg", [shapely.box(0, 0, 10, 10)], ["lost lake"])
    with pytest.raises(InputError, match="polygon 'lost lake' lies outside the raster"):
        polygons(far, field)
    points = write(tmp_path / "points.gpkg", [shapely.Point(500_100, 4_000_100)], ["p"])
    with pytest.raises(InputError, match="polygons are needed"):
        polygons(points, field)
    with pytest.raises(UsageError, match="no attribute 'title'; it has name"):
        polygons(far, field, label="title")
    with pytest.raises(InputError, match="there is no such file"):
        polygons(tmp_path / "none.gpkg", field)
    with pytest.raises(UsageError, match="--blocks 16"):
        polygons(far, as_field(xr.DataArray(np.zeros((4, 4), "f4"), dims=("y", "x"))))


def test_degrees_are_measured_row_by_row() -> None:
    box = GeoBox.from_bbox((10, 40, 11, 60), "EPSG:4326", shape=(200, 10))
    found = pixel_areas(as_field(wrap_xr(np.zeros((200, 10), "f4"), box)))
    assert found[0] / found[-1] == pytest.approx(
        math.cos(math.radians(59.95)) / math.cos(math.radians(40.05)), rel=5e-3
    )
    # A sphere of the same area: the belt between two parallels is 2 pi R^2 (sin - sin).
    belt = math.radians(1) * 6_371_007.2**2 * (math.sin(math.radians(60)) - math.sin(math.radians(40)))
    assert found.sum() * 10 == pytest.approx(belt, rel=5e-3)


def test_a_threshold_outside_the_data_is_answered_with_a_note(survey: xr.DataArray) -> None:
    with pytest.warns(GeonpWarning, match="above everything that was observed"):
        (found,) = areas(survey[:20, :20], blocks((20, 20), 20), KRIGED, threshold=9000.0, n=3)
    assert found.above is not None
    assert found.above.mean == 0
