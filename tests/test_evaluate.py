"""Evaluation: a row for every method and raster, whatever becomes of it, and calls that cannot be carried out."""

import json
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

import geonp
from geonp.errors import UsageError
from geonp.evaluation import evaluate
from geonp.metrics import score
from geonp.predict import complete
from geonp.scoreboard import Evaluation, Row
from tests.scored import Broken, Flat, Silent, noise


def test_a_method_that_fails_has_a_row_that_says_why() -> None:
    done = evaluate(noise(), [Broken(), Broken(offset=1.0), Flat()], reference="flat")
    assert [row.failure for row in done.rows] == ["ZeroDivisionError: by zero", "too steep", ""]
    assert [row.method for row in done.rows] == ["broken", "broken 2", "flat"]
    assert done.overall()[0].failed == 1
    text = done.to_markdown()
    assert "| broken (failed on 1 of 1) |" in text
    assert "- broken 2 on field: failed: too steep" in text


def test_a_raster_that_cannot_be_divided_fails_alone() -> None:
    lone = noise(name="lone").where(False)
    lone[3, 3] = 1.0
    done = evaluate({"lone": lone, "good": noise()}, [Flat()])
    assert done.rows[0].failure.startswith("a single pixel is observed")
    assert done.rows[1].scores is not None


def test_what_a_method_warns_of_is_noted() -> None:
    (row,) = evaluate(noise(), ["bicubic"]).rows
    assert "Clough-Tocher" in row.note
    assert "Clough-Tocher" in Evaluation((row,), "0.1", "random", 0, "bicubic").to_markdown()


def test_scores_are_those_of_the_metrics_module() -> None:
    """Through the public door: hide by hand what the evaluation hid, complete, score."""
    truth, spy = noise((2, 30, 30)), Flat()
    row = evaluate(truth, [spy], context=0.2, seed=3).rows[0]
    given = truth.copy(data=spy.given[-1])
    done = complete(given, Flat())
    assert row.scores == score(truth, done["mean"], done["variance"], np.isnan(given.values))


def test_progress_is_told_row_by_row() -> None:
    told: list[Row] = []
    done = evaluate([noise(), noise(seed=1)], [Flat(), Silent()], progress=told.append)
    assert tuple(told) == done.rows
    assert [(row.raster, row.method) for row in told] == [
        ("field", "flat"),
        ("field", "silent"),
        ("field 2", "flat"),
        ("field 2", "silent"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": "2.5"}, "2.5"),
        ({"holdout": "squares"}, "'squares'.*random, blocks, swaths, gaps, leave-one-out"),
        ({"reference": "kriging"}, "'kriging' is not among the methods: flat"),
        ({"methods": ["kubic"]}, "did you mean cubic"),
        ({"methods": []}, "a raster and a method"),
        ({"fields": {}}, "a raster and a method"),
        ({"holdout": "leave-one-out", "context": 0.5}, "leave out the context"),
        ({"truth": noise(), "context": 0.5}, "leave out the context and the hold-out, or the truth"),
        ({"truth": noise(), "holdout": "gaps"}, "leave out the context and the hold-out, or the truth"),
        ({"truth": [noise(), noise()]}, r"2 truth\(s\) for 1 raster"),
        ({"truth": {"other": noise()}}, "no truth for field"),
        ({"data_range": 0}, "data range of 0"),
        ({"side": 0}, "blocks of 0"),
        ({"most_windows": 0}, "0 windows"),
    ],
)
def test_calls_that_cannot_be_carried_out(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(**({"fields": noise(), "methods": [Flat()]} | change))


def test_all_observed_pixels_as_context_leave_nothing_to_score() -> None:
    assert "leaves none of 2000" in evaluate(noise(), [Flat()], context=2000).rows[0].failure


def test_kriging_is_the_reference_where_it_is_there() -> None:
    @dataclass(frozen=True)
    class Named(Flat):
        name: ClassVar[str] = "kriging"

    assert evaluate(noise((20, 20)), [Flat(), Named()]).reference == "kriging"
    assert evaluate(noise((20, 20)), [Flat(), Silent()]).reference == "flat"


def test_the_public_name_is_the_function() -> None:
    assert geonp.evaluate(noise((20, 20)), [Flat()]).rows[0].scores is not None
    assert geonp.evaluate(noise((20, 20)), [Flat()]).rows[0].scores is not None


def pixel(value: float) -> xr.DataArray:
    box = GeoBox((1, 1), Affine.translation(500_000, 4_000_000) * Affine.scale(30, -30), "EPSG:32611")
    return wrap_xr(np.full((1, 1), value, "f4"), box)


@pytest.mark.parametrize("holdout", ["random", "blocks", "swaths", "gaps", "leave-one-out"])
def test_a_raster_of_one_pixel_has_a_row_that_says_why(holdout: str) -> None:
    done = evaluate(pixel(5.0), ["kriging", "nearest"], holdout=holdout)
    assert all(row.scores is None for row in done.rows)
    assert all("observed" in row.failure or "observations" in row.failure for row in done.rows)
    assert json.loads(done.to_json())["overall"][0]["scores"] is None
    assert "failed on 1 of 1" in done.to_markdown()


def test_a_raster_of_one_pixel_with_a_truth() -> None:
    missing = evaluate(pixel(np.nan), ["kriging"], truth=pixel(5.0)).rows[0]
    assert "no pixel of 1 is observed" in missing.failure
    there = evaluate(pixel(5.0), ["kriging"], truth=pixel(5.0)).rows[0]
    assert "no pixel is hidden" in there.failure


def test_nothing_observed_says_so() -> None:
    row = evaluate(noise().where(False), [Flat()]).rows[0]
    assert row.failure.startswith("none of 2000 pixels is observed")


def test_two_observations_are_enough_to_score_one() -> None:
    two = noise((9, 9)).where(False)
    two[1, 1], two[7, 5] = 3.0, 5.0
    row = evaluate(two, ["nearest"], context=1).rows[0]
    assert (row.scores.count, row.scores.rmse) == (1, 2.0)


def test_the_peak_of_an_image_is_what_it_is_said_to_be() -> None:
    image = noise()
    own, byte = (evaluate(image, [Flat()], data_range=peak).rows[0].scores for peak in (None, 255))
    spread = float(image.max() - image.min())
    assert byte.psnr - own.psnr == pytest.approx(20 * math.log10(255 / spread))
