"""Terrain of any size, surveys of it, and how completions of them are scored."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from geonp.benchmarks.speed.scene import Scene, side_of
from geonp.benchmarks.speed.score import score, strips
from geonp.field import Window
from geonp.metrics import crps


def test_a_window_is_what_the_whole_has_there() -> None:
    scene = Scene(900, bands=3)
    whole = scene.elevation(Window.whole((900, 900)))
    part = Window(380, 500, 40, 333)
    np.testing.assert_array_equal(scene.elevation(part), whole[:, *part.within(Window.whole((900, 900)))])


def test_terrain_has_no_seams_and_is_no_copy() -> None:
    values = Scene(1300).elevation(Window.whole((1300, 1300)))[0]
    steps = np.abs(np.diff(values, axis=0)).max(1)
    inside = np.delete(steps, [343, 687, 1031])
    assert steps[[343, 687, 1031]].max() < inside.max()
    # The DEM comes back after 688 rows, on a slope and with a relief that do not.
    assert np.abs(values[:300, :300] - values[688:988, :300]).mean() > 10


def test_bands_differ() -> None:
    one, two, three = Scene(50, bands=3).elevation(Window.whole((50, 50)))
    assert np.abs(one - two).mean() > 1
    assert np.abs(two - three).mean() > 1


def test_a_survey_shows_the_truth_at_some_pixels(tmp_path: Path) -> None:
    scene = Scene(600, 0.2, bands=2)
    path = tmp_path / "survey.tif"
    count = scene.write(path)
    with rasterio.open(path) as file:
        values = file.read()
        assert file.res == (30, 30)
        assert np.isnan(file.nodata)
    seen = np.isfinite(values)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert seen[0].sum() == count
    assert count == pytest.approx(0.2 * 600**2, rel=0.02)
    truth = scene.elevation(Window.whole((600, 600)))
    np.testing.assert_array_equal(values[seen], truth[seen])
    again = tmp_path / "again.tif"
    scene.write(again)
    assert again.read_bytes() == path.read_bytes()


def test_sizes() -> None:
    assert side_of(1e8) == 10_000
    assert Scene(316).pixels == 99_856


@pytest.mark.parametrize(
    ("side", "bands"), [(100, 1), (1000, 1), (3162, 1), (10_000, 1), (500, 8), (20_000, 8)]
)
def test_strips_lie_inside_apart_and_are_a_million_pixels_at_most(side: int, bands: int) -> None:
    found = strips(Scene(side, bands=bands))
    rows = [row for w in found for row in range(w.row, w.stop[0])]
    assert len(rows) == len(set(rows))
    assert min(rows) == 0
    assert max(rows) == side - 1
    assert len(rows) * side * bands <= max(10**6, side * bands)
    assert len(rows) * side * bands > 0.3 * min(10**6, side**2 * bands)


def test_scores_are_those_of_hidden_pixels_with_a_value(tmp_path: Path) -> None:
    scene = Scene(80, 0.25)
    survey, mean, variance = (tmp_path / f"{name}.tif" for name in ("survey", "mean", "variance"))
    count = scene.write(survey)
    with rasterio.open(survey) as file:
        profile, values = file.profile, file.read()
    truth = scene.elevation(Window.whole((80, 80)))
    hidden = np.isnan(values)
    rng = np.random.default_rng(1)
    told = np.where(hidden, truth + rng.normal(0, 3, truth.shape), 1e6).astype("f4")
    told[hidden & (rng.random(truth.shape) < 0.1)] = np.nan
    for path, layer in ((mean, told), (variance, np.full_like(told, 9))):
        with rasterio.open(path, "w", **profile) as file:
            file.write(layer)
    scored = hidden & np.isfinite(told)
    error = (told - truth)[scored].astype(float)
    found = score(scene, survey, mean, variance)
    assert found.scored == 6400 - count
    assert found.unfilled == pytest.approx(1 - scored.sum() / hidden.sum())
    assert found.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found.crps == pytest.approx(
        crps(truth[scored], told[scored], np.full(scored.sum(), 9.0)), rel=1e-5
    )
    assert found.coverage90 == pytest.approx(np.mean(np.abs(error) <= 1.6449 * 3), abs=2e-3)
    bare = score(scene, survey, mean, None)
    assert bare.crps == bare.mae == pytest.approx(np.abs(error).mean())
    assert bare.coverage90 is None


def test_a_completion_without_any_value_has_no_score(tmp_path: Path) -> None:
    scene = Scene(80, 0.25)
    survey = tmp_path / "survey.tif"
    count = scene.write(survey)
    mean = tmp_path / "mean.tif"
    with rasterio.open(survey) as file:
        profile = file.profile
    with rasterio.open(mean, "w", **profile) as file:
        file.write(np.full((1, 80, 80), np.nan, "f4"))
    found = score(scene, survey, mean, None)
    assert (found.scored, found.unfilled, found.rmse) == (6400 - count, 1.0, None)
