"""What an evaluation hides, of which raster, and where of a large one."""

import numpy as np
import pytest

from geonp.evaluation import evaluate
from geonp.field import Window
from tests.scored import Flat, noise


@pytest.mark.parametrize("holdout", ["random", "blocks", "swaths"])
def test_hidden_pixels_are_not_seen_and_alone_are_scored(holdout: str) -> None:
    truth, method = noise(), Flat()
    row = evaluate(truth, [method], context=0.25, holdout=holdout).rows[0]
    given = method.given[-1][0]
    hidden = np.isnan(given)
    assert 0.7 < hidden.mean() < 0.9
    if holdout == "random":
        assert hidden.sum() == 1500
    np.testing.assert_array_equal(given[~hidden], truth.values[~hidden])
    error = truth.values[hidden].astype("f8") - np.float32(np.nanmean(given))
    assert row.scores.count == hidden.sum() == row.filled
    assert row.scores.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert row.scores.mae == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert row.scores.bias == pytest.approx(-error.mean(), rel=1e-4)
    assert row.scores.coverage90 == pytest.approx(np.mean(np.abs(error) <= 1.6448536 * 2))


def test_missing_pixels_are_filled_but_not_scored() -> None:
    truth = noise()
    truth[:20] = np.nan
    row = evaluate(truth, [Flat()], context=100).rows[0]
    assert row.scores.count == 20 * 50 - 100
    assert row.filled == 40 * 50 - 100


def test_what_stays_follows_from_how_much_is_observed_unless_it_is_said() -> None:
    dense, sparse = noise(), noise().where(np.random.default_rng(1).random((40, 50)) < 0.3)
    few = int(sparse.notnull().sum())
    done = evaluate({"dense": dense, "sparse": sparse}, [Flat()])
    assert [row.scores.count for row in done.rows] == [2000 - 250, few - round(0.8 * few)]
    assert done.context == "0.125 or 0.8"
    blocks = evaluate(dense, [Flat()], holdout="blocks", side=5)
    assert blocks.context == "0.8"
    assert 0.2 <= blocks.rows[0].scores.count / 2000 < 0.25
    assert evaluate(sparse, [Flat()], context=0.5).rows[0].scores.count == few - round(0.5 * few)


def test_a_survey_without_a_truth_is_scored_on_its_own_observations_alone() -> None:
    truth, method = noise(), Flat()
    survey = truth.where(np.random.default_rng(1).random((40, 50)) < 0.3)
    survey[10:20, 10:20] = np.nan
    for holdout in ("random", "blocks", "swaths", "gaps"):
        row = evaluate(survey, [method], holdout=holdout, side=4).rows[0]
        hidden = np.isnan(method.given[-1][0]) & survey.notnull().values
        assert 0.1 < hidden.sum() / survey.notnull().sum() < 0.4, holdout
        assert row.scores.count == hidden.sum()
        error = truth.values[hidden].astype("f8") - np.float32(np.nanmean(method.given[-1]))
        assert row.scores.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)


def test_gaps_are_shaped_like_the_rasters_own() -> None:
    truth, method = noise(), Flat()
    truth[5:15, 10:20] = np.nan
    row = evaluate(truth, [method], context=0.9, holdout="gaps").rows[0]
    assert row.scores.count == 190
    full = noise()
    assert "no gaps" in evaluate(full, [method], context=0.9, holdout="gaps").rows[0].failure


def test_bands_are_hidden_together() -> None:
    method = Flat()
    evaluate(noise((3, 20, 20)), [method], context=0.3)
    given = np.isnan(method.given[-1])
    assert (given == given[:1]).all()


def test_every_method_gets_the_same_and_the_seed_decides() -> None:
    methods = [Flat(), Flat(offset=1.0), Flat()]
    for method, seed in zip(methods, (0, 0, 1), strict=True):
        evaluate(noise(), [method], context=0.1, seed=seed)
    together = [Flat(), Flat(offset=1.0)]
    evaluate(noise(), together, context=0.1)
    np.testing.assert_array_equal(methods[0].given[-1], methods[1].given[-1])
    np.testing.assert_array_equal(methods[0].given[-1], together[1].given[-1])
    assert not np.array_equal(methods[0].given[-1], methods[2].given[-1], equal_nan=True)


def test_a_large_raster_is_scored_on_seeded_windows_with_observations() -> None:
    truth = noise((1100, 1600))
    truth[:, :1024] = np.nan
    runs = [evaluate(truth, [Flat()], context=0.1, seed=seed, most_windows=2) for seed in (0, 0, 1)]
    places = [[row.window for row in run.rows] for run in runs]
    assert places[0] == places[1]
    assert [len(p) for p in places] == [2, 2, 2]
    assert all(window.col == 1024 and window.shape == (512, 512) for window in places[0])
    assert runs[0].rows[0].place.endswith("1024:1536]")


def test_a_large_sparse_raster_is_scored_where_it_is_fullest() -> None:
    truth = noise((1100, 600)).where(False)
    truth[700:706, 3] = 5.0
    truth[20, 20] = 1.0
    (row,) = evaluate(truth, [Flat()], context=3).rows
    assert row.window == Window(512, 0, 512, 512)
    assert row.scores.count == 3
