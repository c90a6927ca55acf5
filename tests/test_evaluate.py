"""Evaluation: what is hidden, what is scored, and the table it makes."""

import csv
import io
import json
import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

import geonp
from geonp.errors import GeonpWarning, InputError, UsageError
from geonp.evaluation import evaluate
from geonp.field import Window
from geonp.methods.base import Completed, Method, Place, Values
from geonp.metrics import score
from geonp.predict import complete
from geonp.scoreboard import Evaluation, Row


@dataclass(frozen=True)
class Flat(Method):
    """The mean of what it sees, with the variance it is told; remembers what it was given."""

    name: ClassVar[str] = "flat"
    has_variance: ClassVar[bool] = True
    offset: float = 0.0
    variance: float = 4.0
    given: list = field(default_factory=list)

    @property
    def halo(self) -> int:
        return 10_000

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        self.given.append(values.copy())
        level = np.nanmean(values, axis=(1, 2), keepdims=True) + self.offset
        mean = np.broadcast_to(level, (len(values), *place.wanted.shape)).astype("f4")
        return Completed(mean, np.full_like(mean, self.variance))


@dataclass(frozen=True)
class Silent(Flat):
    name: ClassVar[str] = "silent"
    has_variance: ClassVar[bool] = False

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        return replace(super().complete(values, spacing, place), variance=None)


@dataclass(frozen=True)
class Broken(Flat):
    name: ClassVar[str] = "broken"

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        raise InputError("too steep") if self.offset else ZeroDivisionError("by zero")


def noise(
    shape: tuple[int, ...] = (40, 50), seed: int = 0, mean: float = 100.0, name: str | None = None
) -> xr.DataArray:
    values = np.random.default_rng(seed).normal(mean, 3, shape).astype("f4")
    coords = {"y": np.arange(shape[-2]) * -30.0, "x": np.arange(shape[-1]) * 30.0}
    dims = ("band", "y", "x")[-len(shape) :]
    return xr.DataArray(values, dims=dims, coords=coords, name=name).odc.assign_crs("EPSG:32611")


# --- what is hidden ---


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


# --- the rows ---


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


# --- the table ---


def two_rasters() -> Evaluation:
    rasters = {"low": noise(mean=0), "high|up": noise((30, 30), seed=1, mean=1000)}
    return evaluate(rasters, [Flat(), Flat(offset=4.0), Silent(offset=4.0)], context=0.5, reference="flat")


def test_overall_pools_values_and_compares_row_by_row() -> None:
    done = two_rasters()
    first, second, silent = done.overall()
    rows = [row for row in done.rows if row.method == "flat 2"]
    count = [row.scores.count for row in rows]
    by_hand = math.sqrt(sum(c * r.scores.rmse**2 for c, r in zip(count, rows, strict=True)) / sum(count))
    assert second.scores.rmse == pytest.approx(by_hand)
    assert second.scores.count == sum(count)
    assert second.scores.crps == pytest.approx(
        sum(c * r.scores.crps for c, r in zip(count, rows, strict=True)) / sum(count)
    )
    ratios = [b.scores.rmse / a.scores.rmse for a, b in zip(done.rows[::3], done.rows[1::3], strict=True)]
    assert second.rmse_ratio.value == pytest.approx(math.sqrt(ratios[0] * ratios[1]))
    assert second.rmse_ratio.low <= second.rmse_ratio.value <= second.rmse_ratio.high
    assert first.rmse_ratio.value == first.crps_ratio.value == 1
    assert silent.rmse_ratio.value == pytest.approx(second.rmse_ratio.value)
    assert silent.crps_ratio is None
    assert silent.scores.crps is None


def test_markdown_shows_a_dash_where_there_is_no_variance() -> None:
    lines = two_rasters().to_markdown().splitlines()
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    cells = {
        line.split("|")[1].strip(): [c.strip() for c in line.strip("|").split("|")] for line in lines[2:5]
    }
    assert cells["silent"][head.index("CRPS")] == "–"
    assert cells["silent"][head.index("RMSE")] == cells["flat 2"][head.index("RMSE")]
    assert float(cells["flat 2"][head.index("CRPS")]) > 0
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert any(line.startswith("| high/up |") for line in lines)
    assert "ratios to flat" in lines[-1]


def test_csv_has_a_line_a_row() -> None:
    done = two_rasters()
    records = list(csv.DictReader(io.StringIO(done.to_csv())))
    assert [(r["raster"], r["method"]) for r in records] == [(row.raster, row.method) for row in done.rows]
    assert float(records[1]["rmse"]) == done.rows[1].scores.rmse
    assert records[2]["crps"] == ""
    assert float(records[0]["rmse_ratio"]) == 1


def test_json_is_strict_and_whole() -> None:
    certain = evaluate(noise(), [Flat(variance=0.0), Broken()])  # its log score is infinite
    content = json.loads(certain.to_json(), parse_constant=pytest.fail)
    assert content["overall"][0]["scores"]["nll"] is None
    assert content["overall"][0]["scores"]["rmse"] == certain.rows[0].scores.rmse
    assert content["rows"][1]["failure"] == "ZeroDivisionError: by zero"
    assert (content["context"], content["holdout"], content["reference"]) == ("0.125", "random", "flat")


# --- bad calls ---


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


# --- a truth ---


def holey(truth: xr.DataArray, share: float = 0.3) -> xr.DataArray:
    return truth.where(np.random.default_rng(5).random(truth.shape[-2:]) < share)


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


# --- degenerate ---


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


# --- one raster, in blocks ---


def test_the_ratio_on_one_raster_is_that_of_its_scores_and_has_an_interval() -> None:
    done = evaluate(noise((96, 96)), [Flat(), Flat(offset=1.0), Silent(offset=1.0)], reference="flat")
    first, second, silent = done.overall()
    a, b = (done.rows[i].scores for i in (1, 0))
    assert second.rmse_ratio.value == pytest.approx(a.rmse / b.rmse)
    assert second.crps_ratio.value == pytest.approx(a.crps / b.crps)
    assert second.rmse_ratio.low < second.rmse_ratio.value < second.rmse_ratio.high
    assert second.rmse_ratio.pairs == 64
    assert (first.rmse_ratio.low, first.rmse_ratio.high) == (1, 1)
    assert silent.rmse_ratio == second.rmse_ratio
    assert silent.crps_ratio is None
    assert "blocks of 12 pixels a side" in done.to_markdown()


def test_windows_of_one_raster_are_scored_together() -> None:
    done = evaluate(noise((1100, 1100)), [Flat(), Flat(offset=1.0)], most_windows=2, reference="flat")
    rows = [row for row in done.rows if row.method == "flat 2"]
    other = [row for row in done.rows if row.method == "flat"]
    sums = [sum(r.scores.count * r.scores.rmse**2 for r in group) for group in (rows, other)]
    ratio = done.overall()[1].rmse_ratio
    assert ratio.value == pytest.approx(math.sqrt(sums[0] / sums[1]))
    assert ratio.pairs == 128


def test_a_table_shows_the_scores_it_is_asked_for() -> None:
    done = two_rasters()
    lines = done.to_markdown(scores=["psnr", "ssim"]).splitlines()
    assert lines[0].startswith("| method | PSNR (dB) | SSIM | RMSE ratio |")
    assert any("PSNR (dB) on each" in line for line in lines)
    with pytest.raises(UsageError, match=r"'psnrr'.*rmse, mae"):
        done.to_markdown(scores=["psnrr"])
    with pytest.raises(UsageError, match="no score is named"):
        done.to_markdown(scores=[])


def test_the_peak_of_an_image_is_what_it_is_said_to_be() -> None:
    image = noise()
    own, byte = (evaluate(image, [Flat()], data_range=peak).rows[0].scores for peak in (None, 255))
    spread = float(image.max() - image.min())
    assert byte.psnr - own.psnr == pytest.approx(20 * math.log10(255 / spread))
