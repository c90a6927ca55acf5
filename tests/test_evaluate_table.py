"""What an evaluation tells: scores of all rasters together, ratios, as Markdown, CSV and JSON."""

import csv
import io
import json
import math

import pytest

from geonp.errors import UsageError
from geonp.evaluation import evaluate
from tests.scored import Broken, Flat, Silent, noise, two_rasters


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
