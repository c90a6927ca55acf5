"""Figures: what they draw, and where."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

mpl.use("agg")
import matplotlib.pyplot as plt

from geonp.errors import InputError, MethodError
from geonp.report import figures
from geonp.report.charts import svg
from geonp.report.hidden import Hidden
from tests.report.test_hidden import drawn


@pytest.fixture(autouse=True)
def _closed() -> None:
    yield
    plt.close("all")


def bare(name: str = "cubic") -> Hidden:
    one = drawn(200)
    return Hidden(name, one.truth, one.mean, None, one.distance, one.row, one.col)


def test_matplotlib_is_not_imported_with_the_package() -> None:
    code = (
        "import sys, xarray, geonp.report; assert not [m for m in sys.modules if m.startswith('matplotlib')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_maps_draw_on_the_axes_given_and_keep_the_ground_s_proportions(truth: xr.DataArray) -> None:
    _, axes = plt.subplots()
    drawn_on = figures.raster(truth, axes, hillshade=True, title="dem")
    assert drawn_on is axes
    (image,) = axes.images
    left, right, bottom, top = image.get_extent()
    assert (right - left, bottom - top) == (80 * 90, 64 * 90)
    assert "2 km" in [text.get_text() for text in axes.texts]
    assert axes.figure.axes[1].get_xlabel() == "elevation (m)"


def test_shared_limits_paint_the_same_value_alike(truth: xr.DataArray) -> None:
    _, (one, two) = plt.subplots(1, 2)
    figures.raster(truth, one, vmin=200, vmax=600)
    figures.raster(truth[:32], two, vmin=200, vmax=600)
    np.testing.assert_array_equal(one.images[0].get_array()[:32], two.images[0].get_array())


def test_a_map_is_of_one_band(truth: xr.DataArray) -> None:
    with pytest.raises(InputError, match="isel"):
        figures.raster(truth.expand_dims("band"))


def test_status_has_a_legend_of_what_there_is() -> None:
    codes = xr.DataArray(np.array([[1, 2], [2, 2]], "u1"), dims=("y", "x"))
    told = [t.get_text() for t in figures.status(codes).get_legend().get_texts()]
    assert told == ["observed", "interpolated"]


def test_scatter_has_truth_upwards_and_at_most_so_many_points() -> None:
    one = drawn(500)
    axes = figures.scatter(one, most=100)
    line, points = axes.lines
    x, y = points.get_data()
    assert len(x) == 100
    assert set(zip(x, y, strict=True)) <= set(zip(one.mean, one.truth, strict=True))
    assert list(line.get_xdata()) == list(line.get_ydata())


def test_qq_and_coverage_of_right_deviations_lie_on_the_diagonal() -> None:
    for draw, within in ((figures.qq, 0.15), (figures.coverage, 0.02)):
        line = draw(drawn()).lines[-1]
        assert np.abs(line.get_xdata() - line.get_ydata()).max() < (
            within if draw is figures.coverage else 0.5
        )
        middle = np.abs(line.get_xdata() - np.median(line.get_xdata())) < 1
        assert np.abs(line.get_xdata() - line.get_ydata())[middle].max() < within


def test_pit_is_a_density() -> None:
    (step,) = figures.pit(drawn(), bins=10).patches
    values, edges, _ = step.get_data()
    assert (values * np.diff(edges)).sum() == pytest.approx(1)


def test_error_by_distance_draws_what_was_found() -> None:
    one = drawn(1000)
    error, std = figures.error_by_distance(one, classes=5).lines
    np.testing.assert_allclose(error.get_ydata(), one.by_distance(5).rmse)
    np.testing.assert_allclose(std.get_ydata(), 2)


@pytest.mark.parametrize("draw", [figures.qq, figures.pit, figures.coverage])
def test_methods_without_a_variance_are_left_out_and_alone_an_error(draw) -> None:
    axes = draw([bare(), drawn(200)])
    assert len(axes.lines) + len(axes.patches) == 2
    with pytest.raises(MethodError, match=r"cubic, linear.*bundled"):
        draw([bare(), bare("linear")])


def test_methods_keep_their_colours_whoever_is_left_out() -> None:
    axes = figures.coverage([bare(), drawn(200)])
    assert axes.lines[-1].get_color() == figures.colour_of(1)


def test_a_completion_is_drawn_in_three_panels_or_five(sparse: xr.DataArray, truth: xr.DataArray) -> None:
    done = xr.Dataset({"mean": truth + 1, "variance": truth * 0 + 4})
    titles = [a.get_title() for a in figures.completion(truth, sparse, done).axes if a.get_title()]
    assert titles[-1] == "error (RMSE 1.0)"
    assert len(titles) == 5
    assert len([a for a in figures.completion(None, sparse, done).axes if a.get_title()]) == 3
    titles = [a.get_title() for a in figures.methods(truth, sparse, {"m": truth + 2}).axes]
    assert titles == ["truth", "m (RMSE 2.0)"]


def test_charts_follow_the_page_and_tell_what_they_show() -> None:
    one = svg(lambda ax: figures.coverage(drawn(100), ax), key="k", alternative='says "so" & <b>')
    assert one.startswith("<svg ")
    assert 'role="img"' in one
    assert "says &quot;so&quot; &amp; &lt;b&gt;" in one
    assert "currentColor" in one
    assert "var(--m1)" in one
    assert "#010203" not in one
    again = svg(lambda ax: figures.coverage(drawn(100), ax), key="k", alternative='says "so" & <b>')
    assert one == again
    import xml.etree.ElementTree as ET

    names = [e.get("id") for e in ET.fromstring(one).iter() if e.get("id")]
    assert all(name.startswith("k-") for name in names)
    assert len(names) == len(set(names))
