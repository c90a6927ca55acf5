"""Evaluation beside a truth: scored in the survey's own gaps."""

import numpy as np
import pytest

from geonp.errors import GeonpWarning
from geonp.evaluation import evaluate
from tests.scored import Flat, holey, noise


def test_a_truth_is_scored_in_the_gaps_of_the_survey_alone() -> None:
    truth, method = noise((2, 40, 50)), Flat()
    survey = holey(truth) + 7  # what is observed differs, and is never compared
    truth[0, :5] = np.nan
    row = evaluate(survey, [method], truth=truth).rows[0]
    np.testing.assert_array_equal(method.given[-1], survey.values)
    scored = survey.isnull().values & truth.notnull().values
    assert row.scores.count == scored.sum()
    level = np.nanmean(survey.values, axis=(1, 2), keepdims=True)
    error = np.broadcast_to(level.astype("f4"), truth.shape)[scored] - truth.values[scored].astype("f8")
    assert row.scores.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert row.filled == survey.isnull().sum()


def test_a_truth_that_is_known_nowhere_else_says_what_to_do() -> None:
    truth = noise()
    survey = holey(truth)
    for told in (evaluate(truth, [Flat()], truth=survey), evaluate(survey, [Flat()], truth=survey)):
        assert "no pixel is hidden" in told.rows[0].failure
        assert "--truth" in told.rows[0].failure


def test_truths_are_named_or_in_order() -> None:
    truths = {"b": noise(seed=2), "a": noise(seed=1)}
    surveys = {name: holey(truths[name]) for name in ("a", "b")}
    named = evaluate(surveys, [Flat()], truth=truths)
    ordered = evaluate(surveys, [Flat()], truth=[truths["a"], truths["b"]])
    assert [row.scores for row in named.rows] == [row.scores for row in ordered.rows]
    seen = sum(int(survey.notnull().sum()) for survey in surveys.values()) / 4000
    assert f"Scored in the survey's own gaps ({seen:.4g} of it is observed)" in named.to_markdown()


def test_a_truth_larger_than_the_survey_is_moved_onto_it() -> None:
    truth = noise()
    survey = holey(truth)[7:31, 12:44]
    cropped = evaluate(survey, [Flat()], truth=truth[7:31, 12:44])
    with pytest.warns(GeonpWarning, match="moved by -7 rows and -12 columns"):
        moved = evaluate(survey, [Flat()], truth=truth)
    assert moved.rows[0].scores == cropped.rows[0].scores


def test_windows_of_a_large_survey_lie_where_the_truth_is_known() -> None:
    truth = noise((1100, 1600))
    survey = holey(truth)
    truth[:, :1024] = np.nan
    done = evaluate(survey, [Flat()], truth=truth, most_windows=2)
    assert len(done.rows) == 2
    assert all(row.window.col == 1024 and row.scores.count > 1000 for row in done.rows)
