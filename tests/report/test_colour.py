"""Colours, shared limits, light, and how a raster lies on a page."""

import numpy as np
import pytest
import xarray as xr
from matplotlib import colormaps

from geonp.methods.base import Status
from geonp.report.colour import (
    DEVIATION,
    VALUES,
    Scale,
    limits,
    paint_status,
    scale_of_deviations,
    scale_of_errors,
    scale_of_values,
    shade,
)
from geonp.report.view import View, length_label, round_length
from tests.report.conftest import on_grid


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB in 0-1 (IEC 61966-2-1, CIE 15:2004)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


@pytest.mark.parametrize("name", [VALUES, DEVIATION])
def test_maps_rise_evenly_in_lightness(name: str) -> None:
    steps = np.diff(lightness(colormaps[name](np.linspace(0, 1, 33))[:, :3]))
    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.mean()


def test_paint_is_the_map_and_transparent_where_unknown() -> None:
    image = Scale(VALUES, 0, 10).paint([[0, 10, np.nan, 99]])
    ends = colormaps[VALUES]([0.0, 1.0], bytes=True)
    np.testing.assert_array_equal(image[0, [0, 1, 3]], ends[[0, 1, 1]])
    assert image[0, 2, 3] == 0


def test_limits_are_shared_and_robust() -> None:
    low, high = limits([[0.0, np.nan], [50.0], np.linspace(0, 100, 1001)])
    assert (low, high) == pytest.approx((0.5, 99.5), abs=0.2)
    assert limits([[np.nan]]) == (0, 1)
    assert limits([[7.0]]) == pytest.approx((6.93, 7.07))
    assert limits([[0.0]]) == (-0.5, 0.5)
    errors = scale_of_errors([-3.0, 1.0])
    assert errors.low == -errors.high
    assert scale_of_deviations([1.0, 2.0]).low == 0
    assert scale_of_deviations([0.0]).high > 0


def test_status_codes_have_colours_of_their_own() -> None:
    image = paint_status(np.array([list(Status)]))[0]
    assert len({tuple(pixel) for pixel in image}) == len(Status)


def test_light_comes_from_the_north_west() -> None:
    y, x = np.mgrid[:21, :21]
    scale = Scale(VALUES, -100.0, 100.0)
    middle = (10, 10)

    def brightness(surface: np.ndarray) -> float:
        shaded, flat = shade(surface, scale, (1, 1)), scale.paint(surface)
        return float(shaded[middle][:3].sum()) - float(flat[middle][:3].sum())

    assert brightness(1.0 * (x + y)) > 0  # rises to the south-east: faces north-west
    assert brightness(-1.0 * (x + y)) < 0
    assert abs(brightness(1.0 * (x - y))) < abs(brightness(1.0 * (x + y)))


def test_light_does_not_depend_on_units_and_passes_over_gaps() -> None:
    y, x = np.mgrid[:30, :30]
    hill = np.exp(-((x - 15) ** 2 + (y - 15) ** 2) / 60)
    one = shade(hill, scale_of_values(hill), (1, 1))
    other = shade(1000 * hill, scale_of_values(1000 * hill), (30, 30))
    assert np.abs(one.astype(int) - other).max() <= 1
    holey = np.where((x > 20) & (y > 20), np.nan, hill)
    assert (shade(holey, scale_of_values(holey), (1, 1))[25, 25, 3]) == 0
    flat = np.full((4, 4), 3.0)
    np.testing.assert_array_equal(
        shade(flat, scale_of_values(flat), (1, 1)), scale_of_values(flat).paint(flat)
    )
    assert shade([[5.0]], Scale(VALUES, 0, 10), (1, 1)).shape == (1, 1, 4)


def test_south_up_rasters_are_turned() -> None:
    values = np.arange(6.0).reshape(2, 3)
    up, down = View.of(on_grid(values)), View.of(on_grid(values, north_up=False))
    np.testing.assert_array_equal(up.turn(values), values)
    np.testing.assert_array_equal(down.turn(values), values[::-1])
    assert up.spacing == (90, 90)
    assert up.aspect == 1.5


def test_without_coordinates_lengths_are_pixels() -> None:
    view = View.of(xr.DataArray(np.zeros((4, 50)), dims=("y", "x")))
    assert view.scale_bar() == (10, "10 px")


@pytest.mark.parametrize(("most", "length"), [(9.9, 5), (10, 10), (0.3, 0.2), (4999, 2000), (1, 1)])
def test_scale_bars_are_round(most: float, length: float) -> None:
    assert round_length(most) == pytest.approx(length)


def test_kilometres_are_for_metres() -> None:
    assert length_label(2000, "m") == "2 km"
    assert length_label(2000, "units") == "2000 units"
    assert length_label(0.5, "m") == "0.5 m"
